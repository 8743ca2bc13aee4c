"""What code and tensor placement alone adds to a comparison of two libraries with equal work.

Usage: python benchmarks/gate_placement.py [EPOCHS]      (default 60, for each model and way)

The two libraries differ in the names of their kernels only. Each epoch is the median of 15 pairs.
Three ways: everything stays where it is; each epoch loads fresh copies and places everything anew,
with tensors shared by both sides (what the gate does); the same, but each side has tensors of its
own. Prints the epochs' median and standard deviation (robust): what the second and third have
beyond the first is placement's.
"""

from __future__ import annotations

import gc
import os
import random
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from gate_models import CHAINS, UNITS
from gate_power import build_chain

from pytest_tvmtune.core.gating.confidence_sequence import Epoch, spread
from pytest_tvmtune.processes.job import Job, WorkerContext
from pytest_tvmtune.relax.measuring.epochs import (
    ComparedArtifacts,
    interleave,
    open_measurement,
    warm_up,
)

PAIRS = 15
WAYS = ("stays", "anew, shared", "anew, own")


def main() -> None:
    from gate_placement import Request, measure_way  # by the name that the child imports it by

    from pytest_tvmtune.processes.run_job import run_job
    from pytest_tvmtune.stages.job_context import entry_call, job_context

    epochs = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    # The child imports this file.
    os.environ["PYTHONPATH"] = str(Path(__file__).parent)
    print(f"load average {os.getloadavg()[0]:.1f}, {epochs} epochs of {PAIRS} pairs")
    with tempfile.TemporaryDirectory() as folder:
        for model in CHAINS:
            case, old = build_chain(Path(folder), model, UNITS, "kernel")
            _, new = build_chain(Path(folder), model, UNITS, "renamed")
            for way in WAYS:
                request = Request(
                    compared=ComparedArtifacts(
                        baseline=old, now=new, call=entry_call(case), cold_cache=False, seed=0
                    ),
                    way=way,
                    epochs=epochs if "20 ms" not in model else epochs // 4,
                )
                context = job_context(case, "gate", timeout_s=600, where="new interpreter")
                taken = run_job(Job(run=measure_way), request, context)
                middle = median(epoch.log_ratio for epoch in taken)
                print(f"{model:15} {way:13} {middle:+.2%}  sd {spread(taken):.2%}", flush=True)


@dataclass(frozen=True, kw_only=True, eq=False)
class Request:
    """What is measured, in one of WAYS."""

    compared: ComparedArtifacts
    way: str
    epochs: int


def measure_way(request: Request, context: WorkerContext[None]) -> list[Epoch]:
    """Job: take epochs in one of WAYS."""
    from pytest_tvmtune.relax.measuring.placement import open_copies, place

    rng = random.Random(request.compared.seed)
    measurement = open_measurement(request.compared, context)
    if request.way == "anew, own":
        alone = [(tensor,) for group in measurement.groups for tensor in group]
        apart = [
            (tuple(index if side == own else None for own, index in enumerate(tensor)),)
            for (tensor,) in alone
            for side in (0, 1)
            if tensor[side] is not None
        ]
        measurement = replace(measurement, groups=tuple(apart))
    copies = open_copies(measurement, context.folder)
    gc.disable()
    number, _ = warm_up(measurement, copies, rng)
    arrangements = place(measurement, copies, rng)
    taken = []
    for _ in range(request.epochs):
        if request.way != "stays":
            arrangements = place(measurement, copies, rng)
        with measurement.machine.fixed_affinity():
            taken += interleave(arrangements, rng, number=number, pairs=PAIRS)
    return taken


if __name__ == "__main__":
    main()

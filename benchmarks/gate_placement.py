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
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from gate_models import CHAINS, UNITS
from gate_power import build_chain

from pytest_tvmtune.core.gating.confidence_sequence import Epoch, spread

PAIRS = 15
WAYS = ("stays", "anew, shared", "anew, own")


def main() -> None:
    from pytest_tvmtune.processes.jobs import run_job

    epochs = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    # The child imports this file.
    os.environ["PYTHONPATH"] = str(Path(__file__).parent)
    print(f"load average {os.getloadavg()[0]:.1f}, {epochs} epochs of {PAIRS} pairs")
    with tempfile.TemporaryDirectory() as folder:
        for model in CHAINS:
            case, old = build_chain(Path(folder), model, UNITS, "kernel")
            _, new = build_chain(Path(folder), model, UNITS, "renamed")
            for way in WAYS:
                told = run_job(
                    "gate_placement:measure_way",
                    {
                        "baseline": {
                            "library": str(old.library),
                            "manifest": old.manifest.to_json(),
                        },
                        "now": {"library": str(new.library), "manifest": new.manifest.to_json()},
                        "entry": "main",
                        "target": case.target_json,
                        "cold_cache": False,
                        "way": way,
                        "epochs": epochs if "20 ms" not in model else epochs // 4,
                    },
                    arrays={"params": case.model.params, "inputs": case.model.inputs},
                    fresh=True,
                    scratch=case.store.scratch,
                    log_path=case.log_path("placement"),
                    timeout_s=600,
                    num_threads=1,
                )
                taken = [Epoch(baseline_s=tuple(a), now_s=tuple(b)) for a, b in told]
                middle = median(epoch.log_ratio for epoch in taken)
                print(f"{model:15} {way:13} {middle:+.2%}  sd {spread(taken):.2%}", flush=True)


def measure_way(request: dict[str, Any]) -> list[tuple[tuple[float, ...], tuple[float, ...]]]:
    """Job: take epochs in one of WAYS."""
    from pytest_tvmtune.relax.measuring.measure_pair_job import (
        open_measurement,
        take_epoch,
        warm_up,
    )
    from pytest_tvmtune.relax.measuring.placement import open_copies, place

    rng = random.Random(0)
    measurement = open_measurement(request)
    if request["way"] == "anew, own":
        measurement = replace(measurement, shared=(), traded=())
    copies = open_copies(measurement, request["folder"])
    gc.disable()
    number, _ = warm_up(measurement, copies, rng)
    arrangements = place(measurement, copies, rng)
    taken = []
    for _ in range(request["epochs"]):
        if request["way"] != "stays":
            arrangements = place(measurement, copies, rng)
        epoch = take_epoch(arrangements, rng, number=number, pairs=PAIRS)
        taken.append((epoch.baseline_s, epoch.now_s))
    return taken


if __name__ == "__main__":
    main()

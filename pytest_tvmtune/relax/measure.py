"""Job of the latency gate: both artifacts side by side, in epochs, in a short-lived child."""

from __future__ import annotations

import gc
import hashlib
import random
import shutil
import time
from collections.abc import Sequence
from typing import Any

from pytest_tvmtune.core.gate import Epoch
from pytest_tvmtune.relax.child import enter_stage
from pytest_tvmtune.relax.session import (
    Session,
    calls_per_sample,
    make_timer,
    num_threads_used,
    open_session,
)
from pytest_tvmtune.store.artifacts import Manifest

EPOCHS = 20
MAX_PAIRS = 6
MIN_SAMPLE_S = 0.004


def measure_pair(request: dict[str, Any]) -> dict[str, Any]:
    """Job: time `baseline` and `now` in interleaved pairs.

    request: for each side a library path and its manifest's JSON; entry, target, params, inputs,
    max_time_s, seed. The number of epochs is fixed, so that the interval at the end is valid;
    what `max_time_s` shortens is the pairs within an epoch, down to one.
    Returns {"epochs": [(baseline seconds, now seconds), ...], "num_threads", "spent_s"}.
    """
    import tvm

    from pytest_tvmtune.relax.targets import device_of

    started = time.perf_counter()
    enter_stage(request["folder"], "measuring against the baseline")
    device = device_of(tvm.target.Target(request["target"]))
    rng = random.Random(request["seed"])  # noqa: S311  an order, not a secret
    gc.disable()
    epochs = []
    pairs = MAX_PAIRS
    for index in range(EPOCHS):
        epoch_started = time.perf_counter()
        sessions = _place(request, device, index)
        epoch, pairs_s = _epoch(sessions, pairs, rng)
        epochs.append((epoch.baseline_s, epoch.now_s))
        if index == 0:
            now = time.perf_counter()
            left_s = request["max_time_s"] - (now - started)
            pairs = _affordable_pairs(now - epoch_started, pairs_s, left_s)
    return {
        "epochs": epochs,
        "num_threads": num_threads_used(),
        "spent_s": time.perf_counter() - started,
    }


def _place(request: dict[str, Any], device: Any, index: int) -> tuple[Session, Session]:
    """Load fresh copies of both libraries and place all tensors anew.

    Tensors that are bit-equal on both sides are shared: with a copy for each side their
    placement alone makes epochs differ by 2 to 3 %.
    """
    sides = []
    for side in ("baseline", "now"):
        # TVM maps one path once and never unmaps it: only a new path moves the code.
        copy = request["folder"] / f"{side}-{index}.so"
        shutil.copy2(request[side]["library"], copy)
        point = Manifest.from_json(request[side]["manifest"]).entries[request["entry"]]
        sides.append(
            open_session(
                copy,
                request["entry"],
                point,
                params=request["params"],
                inputs=request["inputs"],
                device=device,
            )
        )
        copy.unlink()
    baseline, now = sides
    shared = Session(
        vm=now.vm,
        entry=now.entry,
        device=now.device,
        inputs=baseline.inputs,
        params=_share(baseline.params, now.params),
        transform_s=now.transform_s,
        transform_extra_bytes=now.transform_extra_bytes,
    )
    return baseline, shared


def _share(baseline: Sequence[Any], now: Sequence[Any]) -> tuple[Any, ...]:
    """Return `now` with each tensor replaced by a bit-equal one of the baseline."""
    unused = {index: _bits(tensor) for index, tensor in enumerate(baseline)}
    chosen = []
    for tensor in now:
        bits = _bits(tensor)
        match = next((index for index, other in unused.items() if other == bits), None)
        if match is not None:
            del unused[match]
        chosen.append(tensor if match is None else baseline[match])
    return tuple(chosen)


def _bits(tensor: Any) -> tuple[tuple[int, ...], str, str]:
    digest = hashlib.sha256(tensor.numpy().tobytes()).hexdigest()
    return tuple(int(size) for size in tensor.shape), str(tensor.dtype), digest


def _epoch(
    sessions: tuple[Session, Session], pairs: int, rng: random.Random
) -> tuple[Epoch, float]:
    """Return an epoch of `pairs` pairs, each in random order, and the seconds the pairs took."""
    timers = [make_timer(session) for session in sessions]
    number = max(calls_per_sample(timer(1), MIN_SAMPLE_S) for timer in timers)
    taken: tuple[list[float], list[float]] = ([], [])
    started = time.perf_counter()
    for _ in range(pairs):
        for side in rng.sample((0, 1), 2):
            taken[side].append(timers[side](number))
    spent_s = time.perf_counter() - started
    return Epoch(baseline_s=tuple(taken[0]), now_s=tuple(taken[1])), spent_s


def _affordable_pairs(epoch_s: float, pairs_s: float, left_s: float) -> int:
    """Return how many pairs each further epoch can have, at least one.

    epoch_s, pairs_s: what the first epoch took, with MAX_PAIRS pairs, and its pairs alone.
    """
    pair_s = pairs_s / MAX_PAIRS
    affordable = (left_s / (EPOCHS - 1) - (epoch_s - pairs_s)) / pair_s
    return max(1, min(MAX_PAIRS, int(affordable)))

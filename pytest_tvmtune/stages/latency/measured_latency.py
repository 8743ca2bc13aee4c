"""Stage: the verdict on a measurement, in words and numbers."""

from __future__ import annotations

import math

from pytest_tvmtune.core.errors import counted
from pytest_tvmtune.core.gating.confidence_sequence import (
    MIN_EPOCHS,
    decide,
    evidence_of,
    resolvable_ratio,
    spread,
)
from pytest_tvmtune.core.gating.ratio_text import gate_words
from pytest_tvmtune.core.results.latency_result import LatencyResult
from pytest_tvmtune.core.settings.quantities import Threshold
from pytest_tvmtune.machine.timing_hindrances import timing_hindrances
from pytest_tvmtune.relax.measuring import gate_job


def same_code(threshold: Threshold) -> LatencyResult:
    """Return the verdict on the same code, for which nothing is measured."""
    return LatencyResult(
        verdict="PASS", message="same code", threshold=threshold.text, same_code=True
    )


def latency_of(
    measured: gate_job.Result,
    threshold: Threshold,
    *,
    alpha: float,
    is_remote: bool = False,
) -> LatencyResult:
    """Return the decision on a measurement.

    alpha: of this one decision. is_remote: whether it was taken on a device.
    """
    epochs = measured.epochs
    evidence = evidence_of(epochs, alpha)
    verdict = decide(evidence, threshold, final=True)
    _, limit = threshold.limits(evidence.baseline_median_s)
    resolvable = (
        resolvable_ratio(evidence_of(measured.noise, alpha)) if measured.noise else math.inf
    )
    interval = (evidence.low, evidence.high) if math.isfinite(evidence.high) else None
    message = gate_words(evidence.ratio, interval, 1 - 2 * alpha, limit)
    if verdict == "INCONCLUSIVE":
        message += f"; undecided after {measured.spent_s:.1f} s"
        message += f"; {_noise_words(resolvable, is_remote=is_remote)}" if measured.noise else ""
    placements = min(measured.placements, evidence.epochs)
    if placements < min(MIN_EPOCHS, evidence.epochs):
        message += (
            f"; a side was placed in memory only {counted(placements, 'time')}, and the "
            "effect of its placement is not averaged out"
        )
    return LatencyResult(
        verdict=verdict,
        message=message,
        median_s=evidence.now_median_s,
        baseline_median_s=evidence.baseline_median_s,
        slowdown_ratio=evidence.ratio,
        interval=interval,
        confidence=1 - 2 * alpha,
        threshold=threshold.text,
        limit_ratio=limit,
        epochs=evidence.epochs,
        pairs=evidence.pairs,
        placements=placements,
        spent_s=measured.spent_s,
        noise=spread(epochs),
        resolvable_ratio=resolvable if math.isfinite(resolvable) else None,
        num_threads=measured.num_threads,
        epoch_ratios=tuple(math.exp(epoch.log_ratio) for epoch in epochs),
        samples_s=tuple(s for epoch in epochs for s in epoch.now_s),
        baseline_samples_s=tuple(s for epoch in epochs for s in epoch.baseline_s),
    )


def _noise_words(resolvable: float, *, is_remote: bool) -> str:
    """Say which slowdowns the machine can decide now, and name disturbances of measurements."""
    if not math.isfinite(resolvable):
        words = "a comparison of the baseline with itself was undecided, too"
    else:
        words = (
            f"a comparison of the baseline with itself shows that "
            f"{'the device' if is_remote else 'this machine'} can now decide "
            f"slowdowns of {100 * (resolvable - 1):.1f} % or more"
        )
    if not is_remote and (found := timing_hindrances()):
        words += f" (possible disturbances: {', '.join(found)})"
    return words

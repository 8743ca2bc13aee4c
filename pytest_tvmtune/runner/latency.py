"""Stage: time the artifact beside the accepted baseline, and say what follows."""

from __future__ import annotations

import time
from statistics import median
from typing import TYPE_CHECKING

from pytest_tvmtune.core.baseline import Baseline, Identity
from pytest_tvmtune.core.environment import fingerprint, installed_version
from pytest_tvmtune.core.errors import BaselineError, StoreError
from pytest_tvmtune.core.results import LatencyResult
from pytest_tvmtune.relax.child import run_job
from pytest_tvmtune.runner.building import Built
from pytest_tvmtune.runner.case import Case, tuning_key
from pytest_tvmtune.store import artifacts
from pytest_tvmtune.store.locks import exclusive_cores
from pytest_tvmtune.store.records import target_key

if TYPE_CHECKING:
    from pytest_tvmtune.relax.session import Session

GATE_GRACE_S = 300.0
DEFAULT_MAX_TIME_S = 10.0
ADVISORY_S = 0.3
ADVISORY_SAMPLES = 20
ADVISORY_SAMPLE_S = 0.004


def judge_latency(
    case: Case, built: Built, session: Session, baseline: Baseline | BaselineError | None
) -> tuple[LatencyResult, list[float]]:
    """Return the latency verdict against a baseline, and this artifact's samples in seconds.

    Without anything to compare: NEW, or INCOMPARABLE with the reason.
    """
    if baseline is None:
        return _without_comparison(
            case, session, "NEW", "nothing accepted yet; accept this run with --tvm-update-new"
        )
    try:
        accepted = _comparable(case, baseline)
    except BaselineError as error:
        return _without_comparison(
            case, session, "INCOMPARABLE", f"{error}; accept this run with --tvm-update"
        )
    assert isinstance(baseline, Baseline)
    if _is_same_code(case, accepted, built.artifact, baseline):
        samples, threads = _advisory(session)
        now_s = median(samples)
        latency = LatencyResult(
            verdict="PASS",
            message="same code as the baseline",
            median_s=now_s,
            baseline_median_s=baseline.median_s,
            same_code=True,
            threshold=case.options.threshold.text,
            num_threads=threads,
        )
        return latency, samples
    return _measure(case, accepted, built.artifact, baseline.median_s)


def make_baseline(case: Case, identity: Identity, built: Built, latency: LatencyResult) -> Baseline:
    """Return the baseline that accepts this case's artifact."""
    assert latency.median_s is not None
    return Baseline(
        identity=identity,
        artifact=built.artifact.sha256,
        signature=case.model.signature.to_json(),
        target=case.target_json,
        median_s=latency.median_s,
        num_threads=case.num_threads,
        fingerprint=fingerprint().to_json(),
        accepted_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    )


def _without_comparison(
    case: Case, session: Session, verdict: str, message: str
) -> tuple[LatencyResult, list[float]]:
    samples, threads = _advisory(session)
    latency = LatencyResult(
        verdict=verdict,
        message=message,
        median_s=median(samples),
        threshold=case.options.threshold.text,
        num_threads=threads,
    )
    return latency, samples


def _advisory(session: Session) -> tuple[list[float], int]:
    """Return a few samples that decide nothing, and the threads they ran with."""
    from pytest_tvmtune.relax.session import num_threads_used, sample

    taken = sample(
        session, samples=ADVISORY_SAMPLES, min_sample_s=ADVISORY_SAMPLE_S, budget_s=ADVISORY_S
    )
    return taken, num_threads_used()


def _comparable(case: Case, baseline: Baseline | BaselineError) -> artifacts.Artifact:
    """Return the baseline's artifact. Raises BaselineError with the reason it can't be used."""
    if isinstance(baseline, BaselineError):
        raise baseline
    if baseline.signature != case.model.signature.to_json():
        raise BaselineError("the model's interface changed since the baseline was accepted")
    if target_key(baseline.target, installed_version("apache-tvm")) != tuning_key(case):
        raise BaselineError(f"the baseline was made for another target, {baseline.target}")
    try:
        return artifacts.find(case.store, baseline.artifact)
    except StoreError as error:
        raise BaselineError(f"the baseline's {error}") from error


def _is_same_code(
    case: Case, old: artifacts.Artifact, new: artifacts.Artifact, baseline: Baseline
) -> bool:
    versions = installed_version("apache-tvm"), installed_version("apache-tvm-ffi")
    return (
        old.sha256 == new.sha256
        and baseline.num_threads == case.num_threads
        and versions == (baseline.fingerprint["tvm"], baseline.fingerprint["tvm_ffi"])
    )


def _measure(
    case: Case, old: artifacts.Artifact, new: artifacts.Artifact, expected_s: float
) -> tuple[LatencyResult, list[float]]:
    from pytest_tvmtune.core.gate import Epoch, decide, weigh

    max_time_s = case.options.max_time_s or DEFAULT_MAX_TIME_S
    with exclusive_cores():
        measured = run_job(
            "pytest_tvmtune.relax.measure:measure_pair",
            {
                "baseline": {"library": str(old.library), "manifest": old.manifest.to_json()},
                "now": {"library": str(new.library), "manifest": new.manifest.to_json()},
                "entry": case.model.signature.entry,
                "target": case.target_json,
                "max_time_s": max_time_s,
                "seed": case.options.seed,
            },
            arrays={"params": case.model.params, "inputs": case.model.inputs},
            scratch=case.store.scratch,
            log_path=case.log_path("gate"),
            # At least 160 calls are made, however slow the model is.
            timeout_s=GATE_GRACE_S + 10 * max_time_s + 1600 * expected_s,
            num_threads=case.num_threads,
        )
    epochs = [
        Epoch(baseline_s=tuple(before), now_s=tuple(now)) for before, now in measured["epochs"]
    ]
    evidence = weigh(epochs)
    threshold = case.options.threshold
    verdict = decide(evidence, threshold)
    limit = 1 + threshold.slowdown_ratio(evidence.baseline_median_s)
    latency = LatencyResult(
        verdict=verdict,
        message=(
            f"{_ratio_words(evidence.ratio)} ({evidence.confidence:.0%} CI "
            f"{evidence.low:.3f} to {evidence.high:.3f}), limit {limit:.3f}x"
        ),
        median_s=evidence.now_median_s,
        baseline_median_s=evidence.baseline_median_s,
        slowdown_ratio=evidence.ratio,
        interval=(evidence.low, evidence.high),
        confidence=evidence.confidence,
        threshold=threshold.text,
        epochs=evidence.epochs,
        pairs=evidence.pairs,
        spent_s=measured["spent_s"],
        num_threads=measured["num_threads"],
    )
    return latency, [s for epoch in epochs for s in epoch.now_s]


def _ratio_words(ratio: float) -> str:
    return f"{ratio:.3f}x slower" if ratio >= 1 else f"{1 / ratio:.3f}x faster"

"""Stage: why an artifact is slower or faster than the accepted one, and which kernels are."""

from __future__ import annotations

from dataclasses import replace

from pytest_tvmtune.core.errors import TvmTuneError
from pytest_tvmtune.core.gating.accepted_baseline import Baseline
from pytest_tvmtune.core.gating.confidence_sequence import evidence_of, item_alpha
from pytest_tvmtune.core.gating.ratio_text import ratio_words
from pytest_tvmtune.core.gating.slowdown_cause import ArtifactOrigin, Cause, find_cause
from pytest_tvmtune.core.results.latency_result import LatencyResult
from pytest_tvmtune.stages.accepted_versions import versions_of_both
from pytest_tvmtune.stages.case import Case
from pytest_tvmtune.stages.compiling import BuiltModel, build
from pytest_tvmtune.stages.paired_measurement import measure, time_kernels
from pytest_tvmtune.stages.tuning_tasks import workloads_of
from pytest_tvmtune.store import artifacts

_UNTUNED_S = 2.0


def explain_change(
    case: Case,
    built: BuiltModel,
    baseline: Baseline,
    accepted: artifacts.Artifact,
    latency: LatencyResult,
) -> LatencyResult:
    """Return a REGRESSION or IMPROVEMENT with its cause; other verdicts as they are.

    Of a REGRESSION the kernels of both artifacts are timed as well, into the case's result. What
    can't be found out is a warning: the verdict stands.
    """
    if latency.verdict not in {"REGRESSION", "IMPROVEMENT"}:
        return latency
    try:
        latency = replace(latency, cause=_cause(case, built, baseline, accepted))
        if latency.verdict == "REGRESSION" and accepted.sha256 != built.artifact.sha256:
            case.result.kernels = time_kernels(case, built.artifact, accepted)
    except TvmTuneError as error:
        what = "its kernels could not be timed" if latency.cause else "its cause can't be told"
        case.result.warnings.append(f"{case.label}: {what}: {error}")
    return latency


def _cause(
    case: Case, built: BuiltModel, baseline: Baseline, accepted: artifacts.Artifact
) -> Cause:
    before, here = versions_of_both(case.store, baseline)
    old = ArtifactOrigin(
        library=accepted.sha256,
        kernels=accepted.manifest.kernels,
        versions=before,
        num_threads=baseline.num_threads,
    )
    now = ArtifactOrigin(
        library=built.artifact.sha256,
        kernels=built.artifact.manifest.kernels,
        versions=here,
        num_threads=case.num_threads,
    )
    untuned = "" if old.versions == now.versions else _without_tuning(case, baseline)
    return find_cause(old, now, known_records=_known_records(case), untuned=untuned)


def _known_records(case: Case) -> set[str]:
    stored = workloads_of(case, prepack=case.options.prepack)
    return {record.digest for workload in stored.values() for record in workload.records}


def _without_tuning(case: Case, baseline: Baseline) -> str:
    """Return how today's untuned code compares with the baseline's, as a clause."""
    try:
        old = artifacts.find(case.store, baseline.untuned)
        now = build(case, prepack=case.options.prepack, records={}).artifact
        if old.sha256 == now.sha256:
            return "whose untuned code is the same: the search found something else"
        measured = measure(
            case,
            old,
            now,
            alpha=item_alpha(1),
            expected_s=baseline.median_s,
            max_time_s=_UNTUNED_S,
            tell_noise=False,
        )
    except TvmTuneError as error:
        return f"untuned code can't be compared ({error})"
    ratio = evidence_of(measured.epochs, item_alpha(1)).ratio
    return f"untuned against untuned {ratio_words(ratio)}: so much is code generation's"

"""Stage: the cause of a slowdown or speed-up, and the kernels that became slower."""

from __future__ import annotations

from dataclasses import replace

from pytest_tvmtune.core.errors import TvmTuneError
from pytest_tvmtune.core.gating.accepted_baseline import Baseline
from pytest_tvmtune.core.gating.confidence_sequence import evidence_of, item_alpha
from pytest_tvmtune.core.gating.ratio_text import ratio_words
from pytest_tvmtune.core.gating.slowdown_cause import ArtifactOrigin, Cause, find_cause
from pytest_tvmtune.core.results.latency_result import LatencyResult
from pytest_tvmtune.stages.case import Case
from pytest_tvmtune.stages.compiling import BuiltModel, build
from pytest_tvmtune.stages.explaining.accepted_versions import versions_of_both
from pytest_tvmtune.stages.latency.paired_measurement import measure, time_kernels
from pytest_tvmtune.stages.outcomes import LatencyOutcome
from pytest_tvmtune.stages.tuning_tasks import stored_workloads
from pytest_tvmtune.store import artifacts

_UNTUNED_S = 2.0


def explain_change(
    case: Case,
    built: BuiltModel,
    baseline: Baseline,
    accepted: artifacts.Artifact,
    latency: LatencyResult,
) -> LatencyOutcome:
    """Return a REGRESSION or IMPROVEMENT with its cause; other verdicts as they are.

    For a REGRESSION, the kernels of both artifacts are timed as well. Anything that can't be found
    out is a warning: the verdict stays.
    """
    outcome = LatencyOutcome(latency=latency)
    if latency.verdict not in {"REGRESSION", "IMPROVEMENT"}:
        return outcome
    try:
        cause, compiled_s = _cause(case, built, baseline, accepted)
        latency = replace(latency, cause=cause)
        outcome = LatencyOutcome(latency=latency, compiled_s=compiled_s)
        if latency.verdict == "REGRESSION" and accepted.sha256 != built.artifact.sha256:
            kernels = time_kernels(case, built.artifact, accepted)
            outcome = replace(outcome, kernels=kernels)
    except TvmTuneError as error:
        unknown = (
            "its kernels could not be measured"
            if latency.cause
            else "the cause of the change could not be found"
        )
        outcome = replace(outcome, warnings=(f"{case.label}: {unknown}: {error}",))
    return outcome


def _cause(
    case: Case, built: BuiltModel, baseline: Baseline, accepted: artifacts.Artifact
) -> tuple[Cause, float | None]:
    """Return the cause, and the seconds of compiling for it."""
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
    same = old.versions == now.versions
    untuned, compiled_s = ("", None) if same else _without_tuning(case, built, baseline)
    stored = stored_workloads(case, built.plan)
    known = {record.digest for workload in stored.values() for record in workload.records}
    return find_cause(old, now, known_records=known, untuned=untuned), compiled_s


def _without_tuning(case: Case, built: BuiltModel, baseline: Baseline) -> tuple[str, float | None]:
    """Return how today's untuned code compares with the baseline's, and seconds of compiling.

    The comparison is a clause of a sentence.
    """
    compiled_s = None
    try:
        old = artifacts.find(case.store, baseline.untuned)
        now = build(case, built.plan, {})
        compiled_s = now.compiled_s
        if old.sha256 == now.artifact.sha256:
            same = "the untuned code is the same, so the search found other schedules"
            return same, compiled_s
        measured = measure(
            case,
            old,
            now.artifact,
            alpha=item_alpha(1),
            expected_s=baseline.median_s,
            max_time_s=_UNTUNED_S,
            tell_noise=False,
        )
    except TvmTuneError as error:
        return f"the untuned code can't be compared ({error})", compiled_s
    ratio = evidence_of(measured.epochs, item_alpha(1)).ratio
    clause = (
        f"the untuned code is {ratio_words(ratio)} (untuned against untuned), because of code "
        "generation"
    )
    return clause, compiled_s

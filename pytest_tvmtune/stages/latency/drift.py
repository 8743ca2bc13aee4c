"""Stage: the latency next to the anchor, to which slowdowns below the threshold add up.

The gate measures the anchor together with the baseline. Where it measures nothing, the anchor is
measured alone.
"""

from __future__ import annotations

from dataclasses import replace

from pytest_tvmtune.core.errors import BaselineError, ChildError
from pytest_tvmtune.core.gating.accepted_baseline import Baseline
from pytest_tvmtune.core.gating.confidence_sequence import item_alpha
from pytest_tvmtune.core.job_stage import LOADING_BASELINE
from pytest_tvmtune.core.results.latency_comparison import ANCHOR, LatencyComparison
from pytest_tvmtune.core.results.latency_result import LatencyResult
from pytest_tvmtune.relax.measuring import gate_job
from pytest_tvmtune.relax.measuring.gate_job import Limit
from pytest_tvmtune.report.comparison_lines import slower_lines
from pytest_tvmtune.stages.case import Case
from pytest_tvmtune.stages.compiling import BuiltModel
from pytest_tvmtune.stages.latency.accepted_artifact import AcceptedArtifact
from pytest_tvmtune.stages.latency.measured_latency import latency_of, same_code
from pytest_tvmtune.stages.latency.paired_measurement import Anchor, Measure, kernels_of_both

REPAIR = (
    "import the anchor with `tvmtune baselines import FILE`, or accept this run as the new anchor "
    "with --tvm-update-anchor"
)


def open_anchor(
    case: Case, opened: AcceptedArtifact | BaselineError, *, gated_before: int
) -> Anchor | LatencyComparison:
    """Return the anchor of a case; if there is nothing to measure, the result of the comparison.

    Args:
        case: The case.
        opened: The anchor, or why that can't be used.
        gated_before: How many decisions the test item makes before that on drift.
    """
    if isinstance(opened, BaselineError):
        return _incomparable(case, opened)
    if opened.same_code:
        return _comparison(same_code(case.options.max_drift), _accepted(opened.baseline))
    alpha = item_alpha(case.run_context.gated_items, gated_before)
    # How much faster the model has become, nobody limits.
    limit = Limit(threshold=case.options.max_drift, alpha=alpha, only_slower=True)
    return Anchor(accepted=opened, limit=limit)


def drift_of(
    case: Case,
    built: BuiltModel,
    anchor: Anchor,
    measured: gate_job.Result | None,
    *,
    measure: Measure,
) -> LatencyComparison:
    """Return how the latency of a case compares with that of its anchor.

    Args:
        case: The case.
        built: Its build.
        anchor: The anchor.
        measured: What the gate measured, which may not include the anchor.
        measure: Takes the samples otherwise.

    Raises:
        ChildError: The case's own artifact crashes or hangs.
    """
    limit, artifact = anchor.limit, anchor.accepted.artifact
    if measured is not None and measured.other_epochs:
        measured = replace(measured, epochs=measured.other_epochs[0], noise=[])
    else:
        try:
            measured = measure(
                replace(case, options=replace(case.options, threshold=limit.threshold)),
                artifact,
                built.artifact,
                alpha=limit.alpha,
                expected_s=anchor.accepted.baseline.median_s,
            )
        except ChildError as error:
            if error.stage.kind != LOADING_BASELINE.kind:
                raise
            problem = BaselineError(f"the anchor's artifact can't be run: {error}")
            return _incomparable(case, problem)
    latency = latency_of(
        measured, limit.threshold, alpha=limit.alpha, is_remote=case.remote is not None
    )
    found = _comparison(latency, _accepted(anchor.accepted.baseline))
    if latency.verdict != "REGRESSION" or artifact.sha256 == built.artifact.sha256:
        return found
    kernels, problems = kernels_of_both(case, built.artifact, artifact)
    return replace(found, kernels=kernels, notes=(*problems, *found.notes))


def drift_finding(case: Case, drift: LatencyComparison) -> str:
    """Return what fails the test if it has become slower than its anchor; "" if it hasn't."""
    if drift.verdict != "REGRESSION":
        return ""
    first = f"{case.label}: drift from the anchor: {drift.latency.message}"
    return "\n  ".join((first, *slower_lines(drift), "accept with --tvm-update-anchor"))


def _accepted(anchor: Baseline) -> str:
    return f"the anchor was accepted at {anchor.accepted_at} with TVM {anchor.fingerprint['tvm']}"


def _incomparable(case: Case, error: BaselineError) -> LatencyComparison:
    latency = LatencyResult(
        verdict="INCOMPARABLE",
        message=f"{error}; {REPAIR}",
        threshold=case.options.max_drift.text,
    )
    return _comparison(latency)


def _comparison(latency: LatencyResult, *notes: str) -> LatencyComparison:
    return LatencyComparison(compared_with=ANCHOR, latency=latency, notes=notes, asked=True)

"""Stage: the latency of a case next to another variant, measured alternately, and decided."""

from __future__ import annotations

import tempfile
from pathlib import Path

from pytest_tvmtune.core.errors import ChildError, StoreError
from pytest_tvmtune.core.results.latency_comparison import LatencyComparison
from pytest_tvmtune.relax.measuring import gate_job
from pytest_tvmtune.report.comparison_lines import slower_lines
from pytest_tvmtune.stages.case import Case
from pytest_tvmtune.stages.compiling import BuiltModel
from pytest_tvmtune.stages.devices.loaded_model import LoadedModel
from pytest_tvmtune.stages.latency.measured_latency import latency_of, same_code
from pytest_tvmtune.stages.latency.paired_measurement import kernels_of_both, measure, rough_s
from pytest_tvmtune.stages.latency.turns import measure_in_turns
from pytest_tvmtune.stages.latency.variants import Variant, library_side
from pytest_tvmtune.stages.stage_progress import held, under_way
from pytest_tvmtune.store.locks import exclusive_cores

_LEAST_EXPECTED_S = 0.5


def compare_with_variant(
    case: Case,
    built: BuiltModel,
    loaded: LoadedModel,
    variant: Variant,
    *,
    alpha: float,
    max_time_s: float | None = None,
) -> LatencyComparison:
    """Return how the latency of a case compares with a variant.

    Args:
        case: The case; its threshold is the slowdown that fails.
        built: Its build.
        loaded: The same, loaded.
        variant: What it is compared with.
        alpha: Of this one decision.
        max_time_s: For a library of TVM; None for the case's own.

    Raises:
        ChildError: A side crashes or hangs.
    """
    library, threshold = variant.library, case.options.threshold
    if library is not None and library.sha256 == built.artifact.sha256:
        latency = same_code(threshold)
        return LatencyComparison(compared_with=variant.name, latency=latency, notes=variant.notes)
    try:
        measured = _measured(case, built, loaded, variant, alpha=alpha, max_time_s=max_time_s)
    except ChildError as error:
        error.add(f"This happened in a comparison with {variant.name}, as the baseline.")
        raise
    latency = latency_of(measured, threshold, alpha=alpha)
    kernels, notes = None, variant.notes
    if library is not None and latency.verdict == "REGRESSION":
        kernels, problems = kernels_of_both(case, built.artifact, library)
        notes = (*notes, *problems)
    return LatencyComparison(
        compared_with=variant.name, latency=latency, kernels=kernels, notes=notes
    )


def _measured(
    case: Case,
    built: BuiltModel,
    loaded: LoadedModel,
    variant: Variant,
    *,
    alpha: float,
    max_time_s: float | None,
) -> gate_job.Result:
    if variant.library is None:
        return _in_turns(case, built, variant, alpha=alpha)
    return measure(
        case,
        variant.library,
        built.artifact,
        alpha=alpha,
        # The other side may be much slower.
        expected_s=max(_LEAST_EXPECTED_S, rough_s(case, loaded)),
        max_time_s=max_time_s,
        tell_noise=False,
    )


def comparison_finding(case: Case, comparison: LatencyComparison) -> str:
    """Return what fails a test that must not be slower than a variant; "" if it isn't."""
    if comparison.verdict != "REGRESSION":
        return ""
    first = f"{case.label}: slower than {comparison.compared_with}: {comparison.latency.message}"
    return "\n  ".join((first, *slower_lines(comparison)))


def _in_turns(case: Case, built: BuiltModel, variant: Variant, *, alpha: float) -> gate_job.Result:
    assert variant.process is not None
    observer, scratch = case.run_context.on_progress, case.store.scratch
    try:
        scratch.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=scratch, prefix="turns-") as name:
            other, this = Path(name, "other"), Path(name, "this")
            other.mkdir()
            this.mkdir()
            sides = (
                variant.process(other),
                library_side(case, built.artifact, case.label, this),
            )
            timing = under_way(observer, case.label, f"measuring next to {variant.name}")
            with held(case, exclusive_cores()), timing:
                return measure_in_turns(
                    sides,
                    max_time_s=case.options.max_time_s,
                    alpha=alpha,
                    threshold=case.options.threshold,
                    cold_cache=case.options.cold_cache,
                    memory_folder=Path(name),
                )
    except OSError as error:
        raise StoreError(f"can't compare in {scratch}: {error.strerror or error}") from error

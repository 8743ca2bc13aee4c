"""Stage: a new tuned build measured next to the same model without records."""

from __future__ import annotations

from dataclasses import replace

from pytest_tvmtune.core.error_text import cause_of
from pytest_tvmtune.core.errors import TvmTuneError
from pytest_tvmtune.core.gating.confidence_sequence import decide, evidence_of, item_alpha
from pytest_tvmtune.core.gating.ratio_text import ratio_words
from pytest_tvmtune.report.kernel_lines import slower_kernels_line
from pytest_tvmtune.stages.case import Case
from pytest_tvmtune.stages.compiling import BuiltModel, build, load
from pytest_tvmtune.stages.devices.device_job import exclusive_machine
from pytest_tvmtune.stages.devices.loaded_model import LoadedModel
from pytest_tvmtune.stages.latency.paired_measurement import measure, time_kernels
from pytest_tvmtune.stages.outcomes import UntunedOutcome
from pytest_tvmtune.stages.stage_progress import held, running
from pytest_tvmtune.store import builds

_MOST_S = 2.0
# Beyond it, a confidence sequence isn't needed: the tuned build is faster.
_CLEARLY = 1.5


def compare_with_untuned(case: Case, built: BuiltModel, loaded: LoadedModel) -> UntunedOutcome:
    """Return how a tuned build compares with the untuned one, in time.

    It is measured when the build is new to the store, or was measured with another CPU model or
    number of threads. The ratio is kept with the build: later runs report the same without
    measuring. A ratio that can't be measured is reported as unknown.

    Args:
        case: What was tuned.
        built: Its tuned build.
        loaded: The same, loaded.
    """
    known = built.build
    if not known.applied or case.model.is_ready:
        return UntunedOutcome()
    here = f"{case.machine.cpu}, {case.num_threads} threads"
    if case.remote is not None:
        here += f", {case.remote.libraries}"
    compiled_s = None
    if known.untuned_ratio is None or known.untuned_on != here:
        try:
            twin = build(case, built.plan, {})
            compiled_s = twin.compiled_s
            known = replace(_measured(case, built, loaded, twin), untuned_on=here)
        except TvmTuneError as error:
            unknown = f"whether tuning made the model faster is not known: {error}"
            return UntunedOutcome(warning=unknown, compiled_s=compiled_s)
        builds.write_build(case.store, built.key, known)
    if known.untuned_ratio is None or not known.slower_kernels:
        return UntunedOutcome(ratio=known.untuned_ratio, compiled_s=compiled_s)
    slower = (
        f"the tuned model is {ratio_words(known.untuned_ratio)} than the untuned model "
        f"({known.slower_kernels}); tune it with more trials (--tvm-trials=N), or test it untuned "
        "with --tvm-trials=0 --tvm-dir=untuned-store"
    )
    return UntunedOutcome(ratio=known.untuned_ratio, warning=slower, compiled_s=compiled_s)


def _measured(case: Case, built: BuiltModel, loaded: LoadedModel, twin: BuiltModel) -> builds.Build:
    """Return the build with its time relative to the untuned build."""
    with running(case):
        untuned = load(case, twin)
    rough = _rough_s(case, untuned), _rough_s(case, loaded)
    if rough[0] > _CLEARLY * rough[1]:
        return replace(built.build, untuned_ratio=rough[1] / rough[0], slower_kernels="")
    alpha = item_alpha(1)
    measured = measure(
        case,
        twin.artifact,
        built.artifact,
        alpha=alpha,
        expected_s=rough[0],
        max_time_s=_MOST_S,
        tell_noise=False,
    )
    evidence = evidence_of(measured.epochs, alpha)
    is_slower = decide(evidence, case.options.threshold, final=True) == "REGRESSION"
    return replace(
        built.build,
        untuned_ratio=evidence.ratio,
        slower_kernels=_slower_kernels(case, built, twin) if is_slower else "",
    )


def _slower_kernels(case: Case, built: BuiltModel, twin: BuiltModel) -> str:
    try:
        return slower_kernels_line(time_kernels(case, built.artifact, twin.artifact))
    except TvmTuneError as error:
        return f"its kernels could not be measured: {cause_of(error)}"


def _rough_s(case: Case, loaded: LoadedModel) -> float:
    """Return the seconds of one call, of very few."""
    with held(case, exclusive_machine(case.remote)):
        return min(loaded.sample(samples=3, min_sample_s=0.0, budget_s=0.05))

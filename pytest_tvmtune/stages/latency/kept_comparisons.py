"""Stage: a new build next to the untuned build, and next to the plain build if it's prepacked.

A test doesn't have to ask for it. A build is measured once with each, and keeps the result.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from pytest_tvmtune.core.errors import TvmTuneError
from pytest_tvmtune.core.gating.confidence_sequence import MOST_BIAS, item_alpha
from pytest_tvmtune.core.gating.ratio_text import ratio_words
from pytest_tvmtune.core.results.latency_comparison import PLAIN, UNTUNED, LatencyComparison
from pytest_tvmtune.core.results.latency_result import LatencyResult
from pytest_tvmtune.report.kernel_lines import slower_kernels_line
from pytest_tvmtune.stages.case import Case, with_prepack
from pytest_tvmtune.stages.compiling import BuiltModel, build, load
from pytest_tvmtune.stages.devices.loaded_model import LoadedModel
from pytest_tvmtune.stages.latency.paired_measurement import rough_s
from pytest_tvmtune.stages.latency.variant_comparison import compare_with_variant
from pytest_tvmtune.stages.latency.variants import Variant
from pytest_tvmtune.stages.outcomes import KeptComparisons
from pytest_tvmtune.stages.stage_progress import running
from pytest_tvmtune.stages.tuned_build import counterpart_build, recall_outcome
from pytest_tvmtune.stages.tuning_tasks import extract_tasks
from pytest_tvmtune.store import builds

_MOST_S = 2.0
# Beyond it, a confidence sequence isn't needed: this build is faster.
_CLEARLY = 1.5
# An undecided comparison is measured again in later runs, so often.
_MOST_ATTEMPTS = 3


@dataclass(frozen=True, kw_only=True, eq=False)
class _Twin:
    """What a build is compared with. case: whose build it is. on: as in a KeptComparison."""

    name: str
    case: Case
    on: str
    build: Callable[[], BuiltModel]


def compare_once(case: Case, built: BuiltModel, loaded: LoadedModel) -> KeptComparisons:
    """Return how a build compares with its twins, in time.

    It is measured if the build is new to the store, or was measured with another CPU model or
    number of threads. Later runs report the same without measuring. What can't be measured is
    reported as unknown.

    Args:
        case: The case.
        built: Its build.
        loaded: The same, loaded.
    """
    if case.model.is_ready:
        return KeptComparisons(built=built)
    # An acceptance is one of the baseline's latency.
    limit = replace(case.options.threshold, accepted_ratio=0.0)
    case = replace(case, options=replace(case.options, threshold=limit))
    comparisons: list[LatencyComparison] = []
    warnings: list[str] = []
    compiled_s: list[float] = []
    for name, make in ((UNTUNED, _untuned), (PLAIN, _plain)):
        try:
            twin = make(case, built)
            if twin is None:
                continue
            kept = _known(built, twin)
            if kept is None:
                other = twin.build()
                compiled_s += [] if other.compiled_s is None else [other.compiled_s]
                kept = _measured(case, built, loaded, twin, other)
                built = _with_comparison(case, built, kept)
        except TvmTuneError as error:
            warnings.append(_unknown(name, error))
            continue
        comparisons.append(kept.comparison)
        if kept.comparison.verdict == "REGRESSION":
            warnings.append(_slower(kept.comparison))
    return KeptComparisons(
        built=built,
        comparisons=tuple(comparisons),
        warnings=tuple(warnings),
        compiled_s=sum(compiled_s) if compiled_s else None,
    )


def _untuned(case: Case, built: BuiltModel) -> _Twin | None:
    if not built.build.applied:
        return None
    return _Twin(
        name=UNTUNED, case=case, on=_setting(case), build=lambda: build(case, built.plan, {})
    )


def _plain(case: Case, _built: BuiltModel) -> _Twin | None:
    """Return the plain build with records of the same settings; None if it has yet to be tuned."""
    if not case.options.prepack:
        return None
    plain = with_prepack(case, prepack=False)
    if case.options.trials and case.options.tuning != "never":
        outcome = recall_outcome(plain, extract_tasks(plain))
        if outcome is None:
            return None
        twin = outcome.built
    else:
        twin = counterpart_build(case)
    on = f"{_setting(case)}, {twin.artifact.sha256}"
    return _Twin(name=PLAIN, case=plain, on=on, build=lambda: twin)


def _setting(case: Case) -> str:
    """Return what a comparison depends on, in addition to the two libraries."""
    options = case.options
    return ", ".join(
        (
            case.machine.cpu,
            case.remote.libraries if case.remote else "here",
            f"{case.num_threads} threads",
            f"threshold {options.threshold.text}",
            f"margin {MOST_BIAS:.4f}",
            *(("cold caches",) if options.cold_cache else ()),
        )
    )


def _known(built: BuiltModel, twin: _Twin) -> builds.KeptComparison | None:
    """Return what the build has kept; None if that was undecided, and may be decided today."""
    for one in built.build.compared:
        if (one.name, one.on) == (twin.name, twin.on):
            undecided = one.comparison.verdict == "INCONCLUSIVE"
            return None if undecided and one.attempts < _MOST_ATTEMPTS else one
    return None


def _with_comparison(case: Case, built: BuiltModel, kept: builds.KeptComparison) -> BuiltModel:
    """Return the build with a comparison, and store that; another process may have added to it."""
    known = builds.read_build(case.store, built.key) or built.build
    others = [one for one in known.compared if one.name != kept.name]
    known = replace(known, compared=(*others, kept))
    builds.write_build(case.store, built.key, known)
    return replace(built, build=known)


def _unknown(name: str, error: TvmTuneError) -> str:
    if name == UNTUNED:
        return f"whether tuning made the model faster is not known: {error}"
    return f"whether prepacking made the model faster is not known: {error}"


def _slower(comparison: LatencyComparison) -> str:
    ratio, kernels = ratio_words(comparison.ratio), "; ".join(comparison.notes)
    if comparison.compared_with == UNTUNED:
        return (
            f"the tuned model is {ratio} than the untuned model ({kernels}); tune it with more "
            "trials (--tvm-trials=N), or test it untuned with --tvm-trials=0 "
            "--tvm-dir=untuned-store"
        )
    return (
        f"the prepacked model is {ratio} than the model without prepack ({kernels}); tune it with "
        "more trials (--tvm-trials=N), or deploy it without prepack"
    )


def _measured(
    case: Case, built: BuiltModel, loaded: LoadedModel, twin: _Twin, other: BuiltModel
) -> builds.KeptComparison:
    before = next((one for one in built.build.compared if one.name == twin.name), None)
    attempts = before.attempts + 1 if before is not None and before.on == twin.on else 1
    return builds.KeptComparison(
        name=twin.name,
        on=twin.on,
        comparison=_compared(case, built, loaded, twin, other),
        attempts=attempts,
    )


def _compared(
    case: Case, built: BuiltModel, loaded: LoadedModel, twin: _Twin, other: BuiltModel
) -> LatencyComparison:
    if other.artifact.sha256 != built.artifact.sha256 and not case.options.cold_cache:
        with running(case):
            other_loaded = load(twin.case, other)
        rough = rough_s(twin.case, other_loaded), rough_s(case, loaded)
        if rough[0] > _CLEARLY * rough[1]:
            return _roughly(twin.name, *rough)
    found = compare_with_variant(
        case,
        built,
        loaded,
        Variant(name=twin.name, library=other.artifact),
        alpha=item_alpha(1),
        max_time_s=_MOST_S,
    )
    kernels = () if found.kernels is None else (slower_kernels_line(found.kernels),)
    # The store keeps no samples: a build would be larger than its library.
    latency = replace(found.latency, samples_s=(), baseline_samples_s=(), epoch_ratios=())
    return replace(found, latency=latency, kernels=None, notes=(*kernels, *found.notes))


def _roughly(name: str, other_s: float, now_s: float) -> LatencyComparison:
    """Return a comparison of a few calls, which is enough for a large difference."""
    ratio = now_s / other_s
    return LatencyComparison(
        compared_with=name,
        latency=LatencyResult(
            verdict="IMPROVEMENT",
            message=f"{ratio_words(ratio)}, by a few calls",
            median_s=now_s,
            baseline_median_s=other_s,
            slowdown_ratio=ratio,
        ),
    )

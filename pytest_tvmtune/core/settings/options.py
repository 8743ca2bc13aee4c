"""The options of a run and of a test, resolved from the settings.

The marker takes precedence over the option, the option over the ini file, and the ini file over the
default. A value that isn't set is None. The target is an exception, see settings.target_spec. All
code below the plugin sees only the frozen values of this module.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pytest_tvmtune.core.settings import parsing
from pytest_tvmtune.core.settings.accepted_slowdown import Acceptance, acceptance_of
from pytest_tvmtune.core.settings.dimension_sizes import Dims
from pytest_tvmtune.core.settings.latency_budget import LatencyBudget
from pytest_tvmtune.core.settings.parsing import Layer, first_set
from pytest_tvmtune.core.settings.quantities import Threshold
from pytest_tvmtune.core.settings.rpc_address import RpcAddress
from pytest_tvmtune.core.settings.target_spec import TargetSpec


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """The options of the whole run, and the layers that a test's own are resolved from.

    asked_targets: None when only the default applies. dims: the sizes of dimensions, by name, that
    this run sets in every model that has them. collect: None where the default rule applies.
    """

    layers: tuple[Layer, ...]
    store_dir: Path
    update: bool
    update_new: bool
    update_anchor: bool
    asked_targets: tuple[TargetSpec, ...] | None
    dims: Mapping[str, int]
    tuning: parsing.Tuning
    store_fallback: tuple[Path, ...]
    setup: tuple[str | Path, ...]
    collect: tuple[str, ...] | None
    strict: bool
    json: Path | None
    html: Path | None
    markdown: Path | None
    bmf: Path | None
    openmetrics: Path | None
    badge: Path | None
    issues: Path | None
    step_summary: parsing.OnOff

    @property
    def unpinned_targets(self) -> tuple[TargetSpec, ...]:
        """The targets of a test that isn't pinned to any."""
        return self.asked_targets or parsing.TARGET.default

    def case_options(self, marker: Layer, *, target: TargetSpec, prepack: bool) -> CaseOptions:
        """Return one item's options: its marker first, then this run's layers."""
        layers = (marker, *self.layers)
        acceptance = acceptance_of(
            first_set(parsing.ACCEPT, layers),
            first_set(parsing.UNTIL, layers),
            first_set(parsing.REASON, layers),
        )
        accepted = 0.0 if acceptance is None or acceptance.expired else acceptance.ratio
        return CaseOptions(
            target=target,
            prepack=prepack,
            trials=first_set(parsing.TRIALS, layers),
            max_trials_per_task=first_set(parsing.MAX_TRIALS_PER_TASK, layers),
            max_tuning_time_s=first_set(parsing.MAX_TUNING_TIME, layers),
            work_dir=first_set(parsing.WORK_DIR, layers),
            dims=Dims(sizes=_merged_dims(layers), own=frozenset(_merged_dims([marker]))),
            seed=first_set(parsing.SEED, layers),
            rtol=first_set(parsing.RTOL, layers),
            atol=first_set(parsing.ATOL, layers),
            threshold=replace(first_set(parsing.THRESHOLD, layers), accepted_ratio=accepted),
            acceptance=acceptance,
            max_drift=first_set(parsing.MAX_DRIFT, layers),
            max_latency=first_set(parsing.MAX_LATENCY, layers),
            only_on=first_set(parsing.ONLY_ON, layers),
            max_size_growth=first_set(parsing.MAX_SIZE_GROWTH, layers),
            max_memory_growth=first_set(parsing.MAX_MEMORY_GROWTH, layers),
            max_kernel_growth=first_set(parsing.MAX_KERNEL_GROWTH, layers),
            max_compile_time_growth=first_set(parsing.MAX_COMPILE_TIME_GROWTH, layers),
            max_tuning_time_growth=first_set(parsing.MAX_TUNING_TIME_GROWTH, layers),
            max_time_s=first_set(parsing.MAX_TIME, layers),
            peak_memory=first_set(parsing.PEAK_MEMORY, layers),
            max_peak_memory_growth=first_set(parsing.MAX_PEAK_MEMORY_GROWTH, layers),
            roofline=first_set(parsing.ROOFLINE, layers),
            cold_cache=first_set(parsing.COLD_CACHE, layers),
            num_threads=first_set(parsing.NUM_THREADS, layers),
            timeout_s=first_set(parsing.TIMEOUT, layers),
            rpc=first_set(parsing.RPC, layers),
            cross_compiler=first_set(parsing.CROSS_COMPILER, layers),
            tuning=self.tuning,
        )


@dataclass(frozen=True, kw_only=True)
class CaseOptions:
    """The options of one test item: one target, prepacked or not. Times in seconds.

    threshold: including today's acceptance. max_drift: from the anchor. max_latency: budgets;
    only_on: a part of the name of the CPU that they are for, None for any. max_size_growth and
    other limits of growth: shares of the baseline's value, 0.1 = 10 %. rpc: the device, None for
    this machine. cross_compiler: the command that links for it, None to find one by the target's
    triple.
    """

    target: TargetSpec
    prepack: bool
    trials: int
    max_trials_per_task: int | None
    max_tuning_time_s: float | None
    work_dir: Path | None
    dims: Dims
    seed: int
    rtol: float | None
    atol: float | None
    threshold: Threshold
    acceptance: Acceptance | None
    max_drift: Threshold
    max_latency: tuple[LatencyBudget, ...]
    only_on: str | None
    max_size_growth: float | None
    max_memory_growth: float | None
    max_kernel_growth: float | None
    max_compile_time_growth: float | None
    max_tuning_time_growth: float | None
    max_time_s: float
    peak_memory: bool
    max_peak_memory_growth: float | None
    roofline: bool
    cold_cache: bool
    num_threads: int | None
    timeout_s: float
    rpc: RpcAddress | None
    cross_compiler: str | None
    tuning: parsing.Tuning


def resolve_run(
    *layers: Layer,
    store_dir: Path,
    update: bool = False,
    update_new: bool = False,
    update_anchor: bool = False,
) -> RunOptions:
    """Return the options of a run.

    Args:
        layers: Parsed values by the names of their settings, of the levels above the default. The
            first layer that sets a value counts.
        store_dir: The store's folder, absolute.
        update: Whether this run's artifacts are accepted as baselines.
        update_new: The same, where there is no baseline.
        update_anchor: Whether this run's artifacts are accepted as anchors.
    """
    return RunOptions(
        layers=layers,
        store_dir=store_dir,
        update=update,
        update_new=update_new,
        update_anchor=update_anchor,
        asked_targets=next((one["target"] for one in layers if one.get("target")), None),
        dims=_merged_dims(layers),
        tuning=first_set(parsing.TUNING, layers),
        store_fallback=first_set(parsing.STORE_FALLBACK, layers),
        setup=first_set(parsing.SETUP, layers),
        collect=first_set(parsing.COLLECT, layers),
        strict=first_set(parsing.STRICT, layers),
        json=first_set(parsing.JSON, layers),
        html=first_set(parsing.HTML, layers),
        markdown=first_set(parsing.MARKDOWN, layers),
        bmf=first_set(parsing.BMF, layers),
        openmetrics=first_set(parsing.OPENMETRICS, layers),
        badge=first_set(parsing.BADGE, layers),
        issues=first_set(parsing.ISSUES, layers),
        step_summary=first_set(parsing.STEP_SUMMARY, layers),
    )


def _merged_dims(layers: Sequence[Layer]) -> Mapping[str, int]:
    sizes: dict[str, int] = {}
    for layer in reversed(layers):
        sizes |= layer.get("dims") or {}
    return sizes

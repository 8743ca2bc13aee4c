"""What a run and a test were told, resolved from the settings.

Marker beats option beats ini beats default; unset is None. The target is the one exception
(settings.target_spec). Everything below the plugin sees only the frozen values made here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pytest_tvmtune.core.settings.accepted_slowdown import Acceptance, acceptance_of
from pytest_tvmtune.core.settings.dimension_sizes import Dims
from pytest_tvmtune.core.settings.parsing import default_of
from pytest_tvmtune.core.settings.quantities import Threshold
from pytest_tvmtune.core.settings.table import BY_NAME
from pytest_tvmtune.core.settings.target_spec import TargetSpec

Prepack = Literal["off", "on", "both"]
Tuning = Literal["missing", "never", "refresh"]
Layer = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """What holds for the whole run, and the layers a test's own options are resolved from."""

    layers: tuple[Layer, ...]
    store_dir: Path
    update: bool = False
    update_new: bool = False

    @staticmethod
    def first_set(name: str, layers: tuple[Layer, ...]) -> Any:
        """Return the value of the first layer that sets `name`, else the default."""
        for layer in layers:
            if layer.get(name) is not None:
                return layer[name]
        return default_of(name)

    def __getattr__(self, name: str) -> Any:
        """Return a run-wide setting (`run.strict`, `run.tuning`) by its name."""
        if name in BY_NAME:
            return self.first_set(name, self.layers)
        raise AttributeError(name)

    @property
    def asked_targets(self) -> tuple[TargetSpec, ...] | None:
        """The targets this run was told to do, or None when only the default applies."""
        for layer in self.layers:
            if layer.get("target"):
                targets: tuple[TargetSpec, ...] = layer["target"]
                return targets
        return None

    @property
    def unpinned_targets(self) -> tuple[TargetSpec, ...]:
        """The targets of a test that isn't pinned to any."""
        default: tuple[TargetSpec, ...] = default_of("target")
        return self.asked_targets or default

    @property
    def dims(self) -> dict[str, int]:
        """The sizes of dimensions, by name, that this run sets in every model that has them."""
        return self._merged_dims(self.layers)

    @staticmethod
    def _merged_dims(layers: tuple[Layer, ...]) -> dict[str, int]:
        sizes: dict[str, int] = {}
        for layer in reversed(layers):
            sizes |= layer.get("dims") or {}
        return sizes

    def case_options(self, marker: Layer, *, target: TargetSpec, prepack: bool) -> CaseOptions:
        """Return one item's options: its marker first, then this run's layers."""
        layers = (marker, *self.layers)

        def value(name: str) -> Any:
            return self.first_set(name, layers)

        acceptance = acceptance_of(value("accept"), value("until"), value("reason"))
        accepted = 0.0 if acceptance is None or acceptance.expired else acceptance.ratio
        return CaseOptions(
            target=target,
            prepack=prepack,
            trials=value("trials"),
            max_trials_per_task=value("max_trials_per_task"),
            work_dir=value("work_dir"),
            dims=Dims(sizes=self._merged_dims(layers), own=frozenset(self._merged_dims((marker,)))),
            seed=value("seed"),
            rtol=value("rtol"),
            atol=value("atol"),
            threshold=replace(value("threshold"), accepted_ratio=accepted),
            acceptance=acceptance,
            max_size_growth=value("max_size_growth"),
            max_memory_growth=value("max_memory_growth"),
            max_time_s=value("max_time"),
            cold_cache=value("cold_cache"),
            num_threads=value("num_threads"),
            timeout_s=value("timeout"),
            tuning=self.tuning,
        )


@dataclass(frozen=True, kw_only=True)
class CaseOptions:
    """Everything one test item was told: one target, prepacked or not. Times in seconds.

    threshold: with what is accepted today. max_size_growth, max_memory_growth: shares of the
    baseline's, 0.1 = 10 %.
    """

    target: TargetSpec
    prepack: bool
    trials: int
    max_trials_per_task: int | None
    work_dir: Path | None
    dims: Dims
    seed: int
    rtol: float | None
    atol: float | None
    threshold: Threshold
    acceptance: Acceptance | None
    max_size_growth: float | None
    max_memory_growth: float | None
    max_time_s: float
    cold_cache: bool
    num_threads: int | None
    timeout_s: float
    tuning: Tuning

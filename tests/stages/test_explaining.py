"""Why an artifact is slower than the accepted one, on real artifacts with real records."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pytest_tvmtune.core.errors import StoreError
from pytest_tvmtune.core.gating.accepted_baseline import Baseline
from pytest_tvmtune.core.gating.slowdown_cause import Cause
from pytest_tvmtune.core.results.latency_result import LatencyResult
from pytest_tvmtune.stages.case import Case
from pytest_tvmtune.stages.compiling import BuiltModel, build_untuned
from pytest_tvmtune.stages.explaining import slowdown_explanation
from pytest_tvmtune.stages.explaining.slowdown_explanation import explain_change
from pytest_tvmtune.stages.outcomes import LatencyOutcome
from pytest_tvmtune.store import artifacts
from pytest_tvmtune.store.layout import Store, open_store
from tests.support.cases import accept, build_with_records, opener
from tests.support.modules import TwoLayers

RNG = np.random.default_rng(2)
GIVEN = {
    "params": [RNG.standard_normal((48, 48)).astype("float32") / 6 for _ in range(2)],
    "inputs": [RNG.standard_normal((4, 48)).astype("float32")],
}
SLOWER = LatencyResult(verdict="REGRESSION", message="1.2x slower")


@dataclass(frozen=True, kw_only=True, eq=False)
class Accepted:
    """A store with a tuned baseline, and how to open the case again."""

    store: Store
    open_case: Callable[..., Case]
    built: BuiltModel
    baseline: Baseline

    def cause(self, case: Case, built: BuiltModel, **changes: Any) -> Cause:
        """Return the cause of a REGRESSION."""
        cause = self.explained(case, built, **changes).latency.cause
        assert cause is not None
        return cause

    def explained(self, case: Case, built: BuiltModel, **changes: Any) -> LatencyOutcome:
        """Return a REGRESSION, having seen that only that has a cause, and its kernels' times."""
        baseline = replace(self.baseline, **changes)
        artifact = artifacts.find(self.store, baseline.artifact)
        passed = replace(SLOWER, verdict="PASS")
        unchanged = LatencyOutcome(latency=passed)
        assert explain_change(case, built, baseline, artifact, passed) == unchanged
        found = explain_change(case, built, baseline, artifact, SLOWER)
        assert (found.kernels is None) == (built.artifact.sha256 == artifact.sha256)
        return found


@pytest.fixture(scope="module")
def accepted(tmp_path_factory: pytest.TempPathFactory) -> Accepted:
    store = open_store(tmp_path_factory.mktemp("accepted") / "store")

    def open_case(seed: int) -> Case:
        case: Case = opener(store)(TwoLayers, settings={"trials": 4, "seed": str(seed)}, **GIVEN)
        return case

    case = open_case(0)
    built = build_with_records(case)
    return Accepted(store=store, open_case=open_case, built=built, baseline=accept(case, built))


def test_the_same_library_has_only_its_surroundings_to_blame(accepted: Accepted) -> None:
    threads = accepted.baseline.num_threads
    cause = accepted.cause(accepted.open_case(0), accepted.built, num_threads=threads + 1)
    assert cause == Cause(
        kind="environment", message=f"same code; threads {threads + 1} -> {threads}"
    )


def test_what_was_tuned_and_is_not_comes_first(accepted: Accepted) -> None:
    case = accepted.open_case(0)
    found = accepted.explained(case, build_untuned(case))
    assert found.latency.cause == Cause(
        kind="schedule", message="now untuned, tuned in the baseline: fused_matmul_relu"
    )
    assert found.kernels is not None
    rows = {row.name: row for row in found.kernels.rows}
    kernel = rows["fused_matmul_relu"]
    assert (kernel.calls, kernel.tuned, kernel.code_differs) == (2, False, True)
    assert kernel.baseline_s
    assert kernel.now_s > 0


def test_what_can_not_be_told_leaves_the_verdict(
    accepted: Accepted, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise StoreError("disk full")

    case = accepted.open_case(0)
    artifact = artifacts.find(accepted.store, accepted.baseline.artifact)
    untuned = build_untuned(case)
    monkeypatch.setattr(slowdown_explanation, "time_kernels", fail)
    found = explain_change(case, untuned, accepted.baseline, artifact, SLOWER)
    assert found.latency.cause is not None
    assert found.warnings == ("it[llvm]: its kernels could not be measured: disk full",)
    monkeypatch.setattr(slowdown_explanation, "find_cause", fail)
    assert explain_change(case, untuned, accepted.baseline, artifact, SLOWER) == LatencyOutcome(
        latency=SLOWER,
        warnings=("it[llvm]: the cause of the change could not be found: disk full",),
    )


def test_another_tvm_is_told_apart_from_its_search(accepted: Accepted) -> None:
    case = accepted.open_case(0)
    old = {**accepted.baseline.fingerprint, "tvm": "0.26.0"}
    untuned = build_untuned(case)
    cause = accepted.cause(case, untuned, fingerprint=old)
    assert cause.kind == "tvm"
    assert "TVM 0.26.0 / ffi" in cause.message
    assert "the untuned code is the same, so the search found other schedules" in cause.message
    other = accepted.built.artifact.sha256
    cause = accepted.cause(accepted.open_case(0), untuned, fingerprint=old, untuned=other)
    assert "the untuned code is " in cause.message


@pytest.mark.parametrize("trials", [(0, 4), (4, 0)], ids=["tuned now", "untuned now"])
def test_tuning_a_prepacked_model_is_no_change_of_it(
    tmp_path: Path, trials: tuple[int, int]
) -> None:
    """Though its kernel is split into one that lays out the weights and one that takes them."""
    store = open_store(tmp_path / "store")
    before, now = (
        opener(store)(
            TwoLayers,
            prepack=True,
            settings={"trials": count, "tuning": "missing" if count else "never"},
            **GIVEN,
        )
        for count in trials
    )
    untuned_first = sorted((before, now), key=lambda case: case.options.trials)
    builts = {case.options.trials: build_with_records(case) for case in untuned_first}
    tuned = set(builts[4].artifact.manifest.kernels)
    assert tuned == {"fused_matmul_relu1_prepacked", "fused_matmul_relu1_weight_prepack"}
    old, new = (builts[count] for count in trials)
    baseline = accept(before, old)
    artifact = artifacts.find(store, baseline.artifact)
    faster = replace(SLOWER, verdict="IMPROVEMENT")
    latency = explain_change(now, new, baseline, artifact, faster).latency
    assert latency.cause is not None
    assert latency.cause.kind == "schedule"
    assert latency.cause.message.startswith(
        "schedule changed: now tuned, untuned in the baseline: fused_matmul_relu1_prepacked"
        if trials[1]
        else "now untuned, tuned in the baseline: fused_matmul_relu1"
    )


def test_a_lost_cache_is_said_to_be_one(accepted: Accepted) -> None:
    shutil.rmtree(accepted.store.tuning)
    shutil.rmtree(accepted.store.cached_outcomes)
    for seed in range(1, 6):
        case = accepted.open_case(seed)
        built = build_with_records(case)
        if built.artifact.sha256 != accepted.built.artifact.sha256:
            break
        shutil.rmtree(accepted.store.tuning)
    cause = accepted.cause(case, built)
    assert cause.kind == "schedule"
    assert cause.message == (
        "schedule changed: another record is applied to fused_matmul_relu; "
        "the store had lost the baseline's records, so the tasks were tuned again"
    )

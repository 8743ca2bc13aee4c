"""Case results: plain values that travel between processes as JSON."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, fields, replace
from typing import Any

import pytest

from pytest_tvmtune.core.comparing.divergence import ArgumentStats, Divergence
from pytest_tvmtune.core.comparing.output_error import ElementError, OutputError
from pytest_tvmtune.core.gating.slowdown_cause import Cause
from pytest_tvmtune.core.json_codec import finite, from_json_values, to_json_values
from pytest_tvmtune.core.kernels.kernel_table import KernelTable, KernelTime
from pytest_tvmtune.core.kernels.roofline import Bandwidth, MachinePeak
from pytest_tvmtune.core.results.budget_result import BudgetResult
from pytest_tvmtune.core.results.case_label import without_group
from pytest_tvmtune.core.results.case_result import CaseResult
from pytest_tvmtune.core.results.comparison_result import ErrorResult, GoldenResult
from pytest_tvmtune.core.results.failure import Failure
from pytest_tvmtune.core.results.final_in_model import FinalInModel
from pytest_tvmtune.core.results.latency_comparison import LatencyComparison
from pytest_tvmtune.core.results.latency_result import LatencyResult
from pytest_tvmtune.core.results.task_result import TaskResult
from pytest_tvmtune.core.settings.accepted_slowdown import Acceptance
from pytest_tvmtune.core.tuning.tuning_curve import TuningPoint

TASKS = [
    TaskResult(
        name="fused_matmul",
        shash="0123456789abcdef",
        weight=2,
        state="tuned",
        trials=8,
        valid_trials=7,
        best_s=1.5e-6,
        measured_on_other_cpu=True,
        reason="budget",
        untuned_s=2e-6,
        replayed_from="0.26",
    ),
    TaskResult(name="relu", shash="f" * 16, weight=1, state="untuned"),
    TaskResult(name="sum", shash="e" * 16, weight=1, state="failed", trials=4),
]
WORST = ElementError(index=(0, 1), got="nan", expected="1.0", error=math.inf)
OUTPUT = OutputError(
    path="output[1]",
    dtype="float32",
    shape=(2, 3),
    size=6,
    passed=False,
    rtol=1e-4,
    atol=1e-5,
    statistic="mean",
    error=0.5,
    limit=0.1,
    mismatches=3,
    unexpected_nan=1,
    unexpected_inf=1,
    missing_nan=1,
    missing_inf=1,
    worst_abs=WORST,
    worst_rel=WORST,
    worst_ulp=WORST,
    worst=(WORST, WORST),
    name="logits",
    problem="shape",
    shape_expected=(3, 2),
    dtype_expected="float16",
    expected_rms=0.5,
)
ARGUMENT = ArgumentStats(
    index=1,
    dtype="float32",
    shape=(2, 3),
    minimum=-1.0,
    maximum=2.0,
    mean=0.5,
    nan=1,
    inf=2,
    max_abs_error=0.1,
    agrees=False,
)
CRASH = Failure(
    kind="crash", operators={"LSTM": 2}, stage="compiling", signal="SIGSEGV", kernel="lstm"
)  # no real one has all of it
TABLE = KernelTable(
    rows=(
        KernelTime(
            name="fused_matmul",
            calls=2,
            now_s=3e-6,
            share=0.5,
            tuned=True,
            baseline_calls=1,
            baseline_s=2e-6,
            code_differs=True,
            flop=1000,
            traffic_bytes=400,
            possible_s=1e-6,
            bound="memory",
        ),
        KernelTime(name="vm.builtin", calls=9, now_s=3e-6, share=0.5),
    ),
    end_to_end_s=7e-6,
    overhead_s=1e-6,
    baseline_end_to_end_s=6e-6,
    peak=MachinePeak(
        flop_per_s=1e11,
        bandwidths=(Bandwidth(name="memory", capacity_bytes=None, bytes_per_s=4e8),),
        num_threads=2,
        instructions="NEON",
    ),
)
ACCEPTED = Acceptance(ratio=0.05, until="2027-01-31", reason="safer", expired=True)
FULL = CaseResult(
    name="mlp[llvm]",
    nodeid="test_mlp.py::test_mlp[llvm]",
    entry="main",
    target_name="llvm",
    target='{"kind": "llvm"}',
    prepack=True,
    params="8-relu",
    device="Cortex-A72 [rasp4b]",
    baseline="test_mlp-mlp-0123456789ab.json",
    attempts=2,
    earlier_findings=["mlp[8-relu-llvm-prepack]: slower"],
    dims={"batch": 2},
    tuning_trials=64,
    trials_spent=16,
    tuning_ended_by="convergence",
    tasks=TASKS,
    tasks_left_out=["relu"],
    tasks_restored=["fused_matmul"],
    tuned_now=True,
    compiled_now=True,
    tuning_s=1.5,
    trial_s=0.09375,
    baseline_trial_s=0.0625,
    tuning_curve=[TuningPoint(trial=3, task="fused_matmul", best_s=1e-6, together_s=2e-6)],
    finals_in_model=[
        FinalInModel(
            task="fused_matmul", is_untuned=False, ratio=0.9, interval=(0.8, 0.95), chosen=True
        ),
        FinalInModel(task="relu", is_untuned=True, ratio=1.1, interval=None, chosen=False),
    ],
    compile_s=2.5,
    library_compile_s=1.25,
    baseline_library_compile_s=1.0,
    transform_s=0.25,
    transform_extra_bytes=1024,
    library_bytes=4096,
    baseline_library_bytes=4000,
    workspace_bytes=2048,
    baseline_workspace_bytes=2000,
    kernel_calls=5,
    baseline_kernel_calls=4,
    peak_memory_asked=True,
    peak_memory_bytes=9000,
    baseline_peak_memory_bytes=8000,
    artifact="ab" * 32,
    untuned_ratio=0.5,
    errors=[
        ErrorResult(
            against="numpy",
            passed=False,
            max_abs_error=math.inf,
            max_rel_error=0.1,
            message="bad",
            outputs=(OUTPUT,),
        ),
        ErrorResult(against="plain", passed=True, max_abs_error=0.0, max_rel_error=0.0),
    ],
    divergences=[
        Divergence(
            kind="kernel",
            against="the untuned, unpacked build",
            kernel="fused_matmul1_prepacked",
            other="fused_matmul",
            call=4,
            calls=10,
            compared=9,
            output=OUTPUT,
            arguments=(ARGUMENT,),
            record="ab" * 32,
            trace="b0 = sch.get_sblock(...)",
            cause="it was not transformed",
            reproducer="reproducers/mlp",
            no_reproducer="disk full",
        )
    ],
    anchored=True,
    latency_comparisons=[
        LatencyComparison(
            compared_with="not prepacked",
            latency=LatencyResult(
                verdict="REGRESSION",
                message="1.2x slower",
                median_s=1.2e-3,
                baseline_median_s=1e-3,
                slowdown_ratio=1.2,
                interval=(1.1, 1.3),
            ),
            kernels=TABLE,
            notes=("not prepacked: 1 of 2 tasks is untuned",),
            asked=True,
        )
    ],
    latency_budgets=[
        BudgetResult(
            verdict="INCONCLUSIVE",
            message="p99 1 ms",
            statistic="p99",
            limit_s=1e-3,
            value_s=1e-3,
            interval=(9e-4, math.inf),
            confidence=0.99,
            calls=100,
            cpu="Cortex-A72",
        )
    ],
    kernels=TABLE,
    golden=GoldenResult(path="tvmtune_golden/it.npz", state="written"),
    latency=LatencyResult(
        verdict="REGRESSION",
        message="1.2x slower",
        median_s=1.2e-3,
        baseline_median_s=1e-3,
        slowdown_ratio=1.2,
        interval=(1.1, 1.3),
        confidence=0.997,
        threshold="3%",
        epochs=20,
        pairs=60,
        placements=20,
        spent_s=4.5,
        noise=0.004,
        resolvable_ratio=1.015,
        num_threads=4,
        accepted_median_s=1.1e-3,
        accepted_on={"cpu": "a CPU", "usable_cores": 8, "at": "2024-01-01T00:00:00Z"},
        same_code=True,
        accepted=True,
        cause=Cause(kind="schedule", message="another record"),
        acceptance=ACCEPTED,
        limit_ratio=1.03,
        epoch_ratios=(1.19, 1.21),
        samples_s=(1.2e-3, 1.21e-3),
        baseline_samples_s=(1e-3, 1.01e-3),
    ),
    logs={"tune": "logs/mlp-tune.log"},
    findings=["1.2x slower"],
    failure=CRASH,
    warnings=["1 task untuned"],
    outcome="failed",
)
EMPTY = CaseResult(
    name="a", nodeid="t.py::a", entry="other", target_name="host", target="{}", prepack=False
)


@pytest.mark.parametrize(
    ("full", "bare"),
    [
        (FULL, EMPTY),
        (FULL.latency, LatencyResult(verdict="NEW", message="")),
        (TASKS[0], TaskResult(name="", shash="", weight=1, state="failed")),
        (
            OUTPUT,
            OutputError(
                path="", dtype="", shape=(), size=0, passed=True, rtol=0, atol=0, statistic=""
            ),
        ),
        (FULL.errors[0], ErrorResult(against="", passed=True, max_abs_error=0, max_rel_error=0)),
        (
            ARGUMENT,
            ArgumentStats(index=0, dtype="", shape=(), minimum=0, maximum=0, mean=0),
        ),
        (FULL.divergences[0], Divergence(kind="none", against="")),
        (TABLE.rows[0], KernelTime(name="", calls=0, now_s=0, share=0)),
        (FULL.tuning_curve[0], TuningPoint(trial=0, task="", best_s=0)),
        (CRASH, Failure(kind="error")),
    ],
    ids=[
        "case",
        "latency",
        "task",
        "output",
        "error",
        "argument",
        "divergence",
        "kernel",
        "curve",
        "crash",
    ],
)
def test_each_field_differs_from_its_default(full: Any, bare: Any) -> None:
    """So that below none can get lost unseen."""
    assert [f.name for f in fields(full) if getattr(full, f.name) == getattr(bare, f.name)] == []


def test_a_full_case_survives_json_text() -> None:
    back = from_json_values(json.loads(json.dumps(to_json_values(FULL))), CaseResult)
    assert back == FULL
    assert back.latency is not None
    assert isinstance(back.latency.interval, tuple)


def test_an_empty_case_survives_json_text() -> None:
    assert from_json_values(json.loads(json.dumps(to_json_values(EMPTY))), CaseResult) == EMPTY


def test_a_case_that_was_timed_without_a_baseline() -> None:
    timed = from_json_values(
        {**to_json_values(EMPTY), "latency": {"verdict": "NEW", "message": "", "interval": None}},
        CaseResult,
    )
    assert timed.latency == LatencyResult(verdict="NEW", message="")


def test_a_case_written_before_there_were_these_fields() -> None:
    loaded = json.loads(json.dumps(to_json_values(FULL)))
    del loaded["tasks_restored"]
    for name in ("noise", "resolvable_ratio", "accepted_median_s", "accepted_on"):
        del loaded["latency"][name]
    old = from_json_values(loaded, CaseResult)
    assert old.tasks_restored == []
    assert old.latency is not None
    assert (old.latency.noise, old.latency.resolvable_ratio) == (None, None)
    assert (old.latency.accepted_median_s, old.latency.accepted_on) == (None, {})


def test_cases_share_no_list_or_dict() -> None:
    one, other = (
        CaseResult(name="", nodeid="", entry="", target_name="", target="", prepack=False)
        for _ in range(2)
    )
    one.tasks_restored.append("relu")
    assert other.tasks_restored == []
    first, second = (LatencyResult(verdict="NEW", message="") for _ in range(2))
    first.accepted_on["cpu"] = "a CPU"
    assert second.accepted_on == {}


def test_what_hooks_added_is_left_out_and_what_json_can_not_hold_is_nan() -> None:
    added = {"added": 1, "tasks": [{**asdict(TASKS[0]), "added": 1}]}
    loaded = json.loads(json.dumps(finite({**to_json_values(FULL), **added})))
    loaded["latency"]["added"] = 1
    back = from_json_values(loaded, CaseResult)
    assert back.tasks == [TASKS[0]]
    assert back.latency == FULL.latency
    # A field that may be None stays so.
    assert [math.isnan(back.errors[0].max_abs_error), back.tasks[0].best_s] == [True, 1.5e-6]


def test_reading_a_case_leaves_its_json_alone() -> None:
    loaded = json.loads(json.dumps(to_json_values(FULL)))
    before = json.dumps(loaded)
    from_json_values(loaded, CaseResult)
    assert json.dumps(loaded) == before


def test_what_one_line_reports_ask() -> None:
    assert FULL.tuned_tasks == 1
    assert FULL.reference_error is FULL.errors[0]
    assert (EMPTY.tuned_tasks, EMPTY.reference_error) == (0, None)


def test_a_label_shows_the_parameters_of_its_test() -> None:
    case = replace(FULL, name="operator", params="relu-8", target_name="llvm", prepack=False)
    assert case.label == "operator[relu-8-llvm]"
    assert replace(case, params="", prepack=True).label == "operator[llvm-prepack]"
    long = replace(case, params="x" * 500).label
    assert len(long) < 90
    assert long.endswith("...-llvm]")


@pytest.mark.parametrize(
    ("nodeid", "without"),
    [
        ("t.py::test_it[a-llvm]@group", "t.py::test_it[a-llvm]"),
        ("t.py::test_it[a@b-llvm]", "t.py::test_it[a@b-llvm]"),
        ("t.py::test_it[a@b-llvm]@c", "t.py::test_it[a@b-llvm]"),
    ],
)
def test_xdists_group_is_no_part_of_an_id(nodeid: str, without: str) -> None:
    assert without_group(nodeid) == without

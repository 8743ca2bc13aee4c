"""Reports of made-up cases of every kind, as full as real ones; no two runs differ."""

from __future__ import annotations

import math
import random
from statistics import median
from typing import Any

from pytest_tvmtune.core.comparing.divergence import ArgumentStats, Divergence
from pytest_tvmtune.core.comparing.output_error import ElementError, OutputError
from pytest_tvmtune.core.gating.confidence_sequence import Epoch, Evidence, evidence_of
from pytest_tvmtune.core.gating.ratio_text import gate_words
from pytest_tvmtune.core.gating.slowdown_cause import Cause
from pytest_tvmtune.core.gating.verdict import Verdict
from pytest_tvmtune.core.json_codec import to_json_values
from pytest_tvmtune.core.kernels.kernel_table import KernelTable, KernelTime, with_work
from pytest_tvmtune.core.kernels.matching import Kernel
from pytest_tvmtune.core.kernels.roofline import Bandwidth, MachinePeak
from pytest_tvmtune.core.results.case_result import CaseResult
from pytest_tvmtune.core.results.comparison_result import ErrorResult
from pytest_tvmtune.core.results.latency_result import LatencyResult
from pytest_tvmtune.core.results.task_result import TaskResult
from pytest_tvmtune.core.tuning.tuning_curve import TuningPoint
from pytest_tvmtune.report.json_report import make_report
from pytest_tvmtune.report.kernel_lines import slower_kernels_line

ALPHA = 0.01
MACHINE = {
    "cpu": "A CPU @ 2.00GHz",
    "usable_cores": 2,
    "system": "Linux x86_64",
    "python": "3.11.2",
    "tvm": "0.27.0.post1",
    "tvm_ffi": "0.1.14.post1",
}
HOSTILE = "<script>alert(1)</script>"
NAMES = ("mlp", "cnn", "magika", "silero", "ocr_cls", "ocr_det", HOSTILE, "bert_tiny", "lstm")
RATIOS = (1.0, 1.18, 0.85, 1.01, 1.0, 0.99, 1.0, 1.02, 1.0)


def sample_report(cases: int = 9, *, epochs: int = 24) -> dict[str, Any]:
    """Return a report of so many cases: the first nine are one of each kind."""
    made = [sample_case(number, epochs=epochs) for number in range(cases)]
    return make_report(to_json_values(made), MACHINE)


def sample_case(number: int, *, epochs: int = 24, ratio: float | None = None) -> CaseResult:
    """Return a case; of the nine kinds that of `number`, modulo nine. epochs: of the gate.

    ratio: now / baseline; without it, that of the kind.
    """
    rng = random.Random(number)
    kind, again = number % len(NAMES), number // len(NAMES)
    ratio = RATIOS[kind] if ratio is None else ratio
    name = NAMES[kind] + (f"_{again}" if again else "")
    result = CaseResult(
        name=name,
        nodeid=f"tests/test_models.py::test_{name}[llvm]",
        entry="main",
        target_name="llvm",
        target='{"kind": "llvm", "mcpu": "znver4", "num-cores": 2}',
        prepack=kind % 2 == 1,
        tuning_trials=64,
        library_bytes=123_456,
        workspace_bytes=4096,
        kernel_calls=31,
        library_compile_s=1.25,
        artifact=f"{number:064x}",
        outcome="passed",
        logs={"gate": f"/store/logs/{kind}-gate.log", "run": f"/store/logs/{kind}-run.log"},
    )
    result.errors.append(_agreement(passed=NAMES[kind] != "silero"))
    _tune(result, rng, now=kind in {0, 7})
    if NAMES[kind] == "lstm":
        result.outcome = "failed"
        result.errors.clear()
        result.findings.append(f"{name}[llvm]: unsupported operator LSTM (node 'lstm_1', 2 in all)")
        return result
    result.latency = _latency(result, _epochs(rng, ratio, epochs), ratio)
    if NAMES[kind] == "silero":
        _make_wrong(result)
    if result.latency.verdict == "REGRESSION":
        result.kernels = _kernels(rng, ratio)
        why = f"cause: another record is applied\n  {slower_kernels_line(result.kernels)}"
        _fail(result, f"{result.latency.message}\n  {why}\n  accept with --tvm-update")
    return result


def _fail(result: CaseResult, finding: str) -> None:
    result.outcome = "failed"
    result.findings.append(f"{result.name}[llvm]: {finding}")


def _agreement(*, passed: bool) -> ErrorResult:
    worst = ElementError(
        index=(0, 3), got="1.2345678", expected="1.2345671" if passed else "0.5", error=7e-7
    )
    output = OutputError(
        path="output",
        dtype="float32",
        shape=(1, 10),
        size=10,
        passed=passed,
        rtol=1e-4,
        atol=1e-5,
        statistic="elementwise",
        mismatches=0 if passed else 4,
        worst_abs=worst,
        worst_rel=worst,
        worst_ulp=worst,
    )
    error = 7e-7 if passed else 0.73
    return ErrorResult(
        against="expected",
        passed=passed,
        max_abs_error=error,
        max_rel_error=math.inf if passed else error,
        outputs=(output,),
    )


def _make_wrong(result: CaseResult) -> None:
    argument = ArgumentStats(
        index=0, dtype="float32", shape=(1, 8), minimum=-1.0, maximum=1.0, mean=0.1,
        max_abs_error=0.0, agrees=True,
    )  # fmt: skip
    found = Divergence(
        kind="kernel",
        against="the untuned, unpacked build",
        kernel="fused_conv2d_relu",
        other="fused_conv2d_relu",
        call=4,
        calls=31,
        compared=31,
        output=result.errors[0].outputs[0],
        arguments=(argument,),
        record="ab" * 32,
        trace="b0 = sch.get_sblock(name='conv2d')\nl1, l2 = sch.get_loops(block=b0)",
        reproducer="/store/reproducers/silero-plain",
    )
    result.divergences.append(found)
    _fail(result, f"wrong numbers: 4 of 10 values\n{found.sentence()}")


def _tune(result: CaseResult, rng: random.Random, *, now: bool) -> None:
    tasks = {f"fused_conv2d{index or ''}_relu": rng.uniform(1e-5, 1e-3) for index in range(6)}
    trial = 0
    best = dict.fromkeys(tasks, math.inf)
    for _ in range(3):
        for name, base_s in tasks.items():
            trial += rng.randint(1, 4)
            best[name] = min(best[name], base_s * rng.uniform(1, 4))
            known = all(value < math.inf for value in best.values())
            point = TuningPoint(
                trial=trial,
                task=name,
                best_s=best[name],
                together_s=sum(best.values()) if known else None,
            )
            if now:
                result.tuning_curve.append(point)
    result.tuned_now, result.trials_spent = now, trial if now else 0
    result.tuning_s = 12.5 if now else 0.0
    result.trial_s = 0.25 if now else None
    result.tasks = [
        TaskResult(
            name=name, shash="0" * 16, weight=1, state="tuned", trials=10, valid_trials=9,
            best_s=best[name],
        )
        for name in tasks
    ]  # fmt: skip


def _epochs(rng: random.Random, ratio: float, count: int) -> list[Epoch]:
    epochs = []
    for _ in range(count):
        bias = rng.gauss(0, 0.006)
        before = [1e-3 * math.exp(abs(rng.gauss(0, 0.02))) for _ in range(7)]
        now = [s * ratio * math.exp(bias + rng.gauss(0, 0.01)) for s in before]
        epochs.append(Epoch(baseline_s=tuple(before), now_s=tuple(now)))
    return epochs


def _latency(result: CaseResult, epochs: list[Epoch], ratio: float) -> LatencyResult:
    samples = tuple(s for epoch in epochs for s in epoch.now_s)
    if result.name.startswith("ocr_det"):
        return LatencyResult(
            verdict="NEW", message="no baseline yet", median_s=median(samples),
            threshold="3%", samples_s=samples[:20], num_threads=2,
        )  # fmt: skip
    if result.name.startswith("ocr_cls"):
        return LatencyResult(
            verdict="PASS", message="same code as the baseline", median_s=median(samples),
            baseline_median_s=1e-3, threshold="3%", samples_s=samples[:20], same_code=True,
            num_threads=2,
        )  # fmt: skip
    evidence: Evidence = evidence_of(epochs, ALPHA)
    verdict: Verdict = "REGRESSION" if ratio > 1.05 else "IMPROVEMENT" if ratio < 0.9 else "PASS"
    if result.name.startswith("bert"):
        verdict = "INCONCLUSIVE"
    interval = (evidence.low, evidence.high)
    moved = verdict in {"REGRESSION", "IMPROVEMENT"}
    return LatencyResult(
        verdict=verdict,
        message=gate_words(evidence.ratio, interval, 1 - 2 * ALPHA, 1.03),
        median_s=evidence.now_median_s,
        baseline_median_s=evidence.baseline_median_s,
        slowdown_ratio=evidence.ratio,
        interval=interval,
        confidence=1 - 2 * ALPHA,
        threshold="3%",
        epochs=evidence.epochs,
        pairs=evidence.pairs,
        placements=evidence.epochs,
        spent_s=1.5,
        noise=0.006,
        num_threads=2,
        accepted_median_s=0.98e-3,
        accepted_on={"cpu": "A CPU", "tvm": "0.27.0", "at": "2026-01-01T00:00:00Z"},
        cause=Cause(kind="schedule", message="another record is applied") if moved else None,
        limit_ratio=1.03,
        epoch_ratios=tuple(math.exp(epoch.log_ratio) for epoch in epochs),
        samples_s=samples,
        baseline_samples_s=tuple(s for epoch in epochs for s in epoch.baseline_s),
    )


PEAK = MachinePeak(
    flop_per_s=3e11,
    bandwidths=(
        Bandwidth(name="L2 cache", capacity_bytes=1 << 21, bytes_per_s=1.5e11),
        Bandwidth(name="L3 cache", capacity_bytes=1 << 25, bytes_per_s=5e10),
        Bandwidth(name="memory", capacity_bytes=None, bytes_per_s=2e10),
    ),
    num_threads=2,
    instructions="AVX-512",
)


def _kernels(rng: random.Random, ratio: float) -> KernelTable:
    rows = [
        KernelTime(
            name=f"fused_conv2d{index or ''}_add_relu",
            calls=1 + index % 3,
            now_s=3e-4 * math.exp(-index / 3) * (1 + 3.3 * (ratio - 1) if index == 0 else 1.0),
            share=0.1,
            tuned=index < 6,
            baseline_calls=1 + index % 3,
            baseline_s=3e-4 * math.exp(-index / 3) * rng.uniform(0.99, 1.01),
            code_differs=index == 0,
        )
        for index in range(9)
    ]
    table = KernelTable(
        rows=tuple(sorted(rows, key=lambda row: -row.cost_s)),
        end_to_end_s=ratio * 1e-3,
        overhead_s=3e-6,
        baseline_end_to_end_s=1e-3,
    )
    # From 6 GFLOP/s on; that of the last kernel is not known.
    kernels = {
        row.name: Kernel(
            outputs=(1,),
            flop=round(row.now_s / row.calls * 6e9 * (1 + 3 * index)) if index < 8 else None,
            traffic_bytes=round(row.now_s / row.calls * 2e9 * (1 + index)),
        )
        for index, row in enumerate(rows)
    }
    return with_work(table, kernels, PEAK)

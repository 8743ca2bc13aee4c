"""The terminal: the header before the tests, the table and the counts after them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from pytest_tvmtune.core.comparing.output_error import OutputError
from pytest_tvmtune.core.errors import counted
from pytest_tvmtune.core.gating.confidence_sequence import (
    SESSION_ALPHA,
    fewest_epochs,
    item_alpha,
    least_epochs,
)
from pytest_tvmtune.core.results.case_label import short_params
from pytest_tvmtune.core.results.case_result import CaseResult
from pytest_tvmtune.core.results.comparison_result import ErrorResult
from pytest_tvmtune.core.results.latency_result import LatencyResult
from pytest_tvmtune.core.results.task_result import TaskResult
from pytest_tvmtune.machine.fingerprint import fingerprint
from pytest_tvmtune.machine.installed_tvm import tvm_origin
from pytest_tvmtune.report.case_verdicts import verdict_words
from pytest_tvmtune.report.comparison_lines import asked_lines, compared_lines, prepack_cell
from pytest_tvmtune.report.kernel_lines import divergence_lines, kernel_lines
from pytest_tvmtune.report.quantity_words import quantities_of, quantity_words
from pytest_tvmtune.report.run_counts import count_line, detail_lines, next_lines
from pytest_tvmtune.report.text_tables import (
    format_percent,
    format_seconds,
    table_lines,
)

_HEADINGS = (
    "model", "target", "prepack", "tuned", "max abs error", "now", "baseline", "ratio", "verdict"
)  # fmt: skip
_MOST_OUTPUTS = 8
_USUAL_TUNING = "missing"
_RIGHT = frozenset({"tuned", "max abs error", "now", "baseline", "ratio"})


def header_lines(
    *,
    targets: Sequence[tuple[str, str]],
    store: Path,
    tuning: str,
    trials: Sequence[int],
    max_times_s: Sequence[float],
    gated_items: int,
    devices: Sequence[str] = (),
    unused: Sequence[str] = (),
    verbose: bool = False,
) -> list[str]:
    """Return the header of a run: a line, or everything that its marked tests use.

    Args:
        targets: Names with canonical JSON.
        store: The folder of the store.
        tuning: The value of `--tvm-tuning`.
        trials: The trials that tests ask for.
        max_times_s: The time limits of the gate.
        gated_items: The number of items that share the error rate.
        devices: The addresses of devices behind TVM RPC.
        unused: The vector instructions of this machine that a generic target doesn't use.
        verbose: Whether to describe everything.
    """
    machine, origin = fingerprint(), tvm_origin()
    trials_text = f"trials {', '.join(map(str, trials))}"
    hint = [_generic_line(unused)] if unused else []
    if not verbose:
        names = list(dict.fromkeys(name for name, _text in targets))
        parts = [
            f"apache-tvm {machine.tvm}" + (f" (git {origin.revision})" if origin.revision else ""),
            counted(machine.usable_cores, "core"),
            f"{'target' if len(names) == 1 else 'targets'} {', '.join(names)}",
            *(f"device {device}" for device in devices),
            trials_text + ("" if tuning == _USUAL_TUNING else f" (tuning={tuning})"),
            counted(gated_items, "item"),
        ]
        return [f"tvmtune: {', '.join(parts)}", *hint]
    most_s = " or ".join(f"{seconds:g}" for seconds in max_times_s)
    alpha = item_alpha(gated_items)
    return [
        (
            f"tvmtune: apache-tvm {machine.tvm}, apache-tvm-ffi {machine.tvm_ffi}, "
            f"{counted(machine.usable_cores, 'usable core')}, {machine.cpu}"
        ),
        f"tvmtune: TVM in {origin.path}" + (f", git {origin.revision}" if origin.revision else ""),
        *(f"tvmtune: target {line}" for line in _target_lines(targets)),
        *hint,
        *(f"tvmtune: device {device}" for device in devices),
        f"tvmtune: {trials_text} (tuning={tuning}), store {store}",
        (
            f"tvmtune: gate: {counted(gated_items, 'item')}, false alarms in at most "
            f"{100 * SESSION_ALPHA:g} % of runs; each item takes at least {fewest_epochs(alpha)} "
            f"epochs and at most {most_s} s (slow models: {least_epochs(alpha)} epochs, without "
            "a time limit)"
        ),
    ]


def _generic_line(unused: Sequence[str]) -> str:
    return (
        f"tvmtune: target llvm runs on any x86 CPU, and doesn't use {', '.join(unused)} of this "
        "CPU; to measure code that does, use --tvm-target=host"
    )


def _target_lines(targets: Sequence[tuple[str, str]]) -> list[str]:
    """Return a line for each name: targets of one name differ in num-cores alone."""
    texts: dict[str, list[str]] = {}
    for name, text in targets:
        known = texts.setdefault(name, [])
        if text not in known:
            known.append(text)
    lines = []
    for name, known in texts.items():
        more = [str(json.loads(text).get("num-cores")) for text in known[1:]]
        also = f", other tests with num-cores {', '.join(more)}" if more else ""
        lines.append(f"{name} = {known[0]}{also}")
    return lines


def summary_lines(results: Sequence[CaseResult], *, verbose: bool = False) -> list[str]:
    """Return the table with a row for each case, the counts, and hints.

    Args:
        results: The cases, in the order of the table.
        verbose: Whether to add a line for each compared output and each measured latency, and
            other facts about the run.
    """
    rows = [_row(result) for result in results]
    table = table_lines(_HEADINGS, rows, right=_RIGHT)
    details = [line for result in results for line in _details(result)] if verbose else []
    more = detail_lines(results) if verbose else []
    asked = [] if verbose else asked_lines(results)
    return [*table, "", *details, *asked, count_line(results), *more, *next_lines(results)]


def _details(result: CaseResult) -> list[str]:
    label = result.label
    lines = [f"{label}: {line}" for line in _attempt_lines(result)]
    lines += [f"{label}: {line}" for error in result.errors for line in _error_lines(error)]
    for found in result.divergences:
        lines += [f"{label}: {found.sentence()}", *divergence_lines(found)]
    latency = result.latency
    if latency is not None:
        lines += _latency_lines(label, latency)
    lines += compared_lines(result)
    if result.tuning_ended_by in {"convergence", "time"}:
        trials = f"{counted(result.trials_spent, 'trial')}, of {result.tuning_trials} for the model"
        lines.append(f"{label}: tuning ended by {result.tuning_ended_by} after {trials}")
    lines += [f"{label}: {one.sentence()}" for one in result.finals_in_model]
    faster = [task for task in result.tasks if task.state == "untuned is faster"]
    lines += [f"{label}: {task.name} is faster untuned{_times(task)}" for task in faster]
    if result.artifact:
        lines.append(f"{label}: {', '.join(map(quantity_words, quantities_of(result)))}")
    if result.kernels is not None:
        lines += [f"{label}: kernels", *(f"  {line}" for line in kernel_lines(result.kernels))]
    return lines


def _times(task: TaskResult) -> str:
    if task.untuned_s is None or task.best_s is None:
        return ""
    return (
        f": {format_seconds(task.untuned_s)}, and {format_seconds(task.best_s)} with its best "
        "schedule"
    )


def _attempt_lines(result: CaseResult) -> list[str]:
    if result.attempts == 1:
        return []
    failed = [finding.splitlines()[0] for finding in result.earlier_findings]
    return [f"attempt {result.attempts} of the test", *(f"  before: {line}" for line in failed)]


def _latency_lines(label: str, latency: LatencyResult) -> list[str]:
    lines = [f"{label}: {latency.message}"]
    if latency.cause is not None:
        lines.append(f"  cause: {latency.cause.message}")
    if latency.epochs:
        lines.append(
            f"  {counted(latency.epochs, 'epoch')}, {counted(latency.pairs, 'pair')} in "
            f"{latency.spent_s:.1f} s, noise {format_percent(latency.noise or 0)} per epoch, "
            f"{counted(latency.num_threads, 'thread')}"
        )
    if latency.accepted_median_s is not None:
        on = latency.accepted_on
        lines.append(
            f"  accepted with {format_seconds(latency.accepted_median_s)} at {on.get('at')}, on "
            f"{on.get('cpu')}, TVM {on.get('tvm')} (for information only)"
        )
    return lines


def _error_lines(error: ErrorResult) -> list[str]:
    """Return a line for each output, the largest error first."""
    ranked = sorted(
        error.outputs,
        key=lambda one: (one.passed, -(one.worst_abs.error if one.worst_abs else 0.0)),
    )
    lines = [f"against {error.against}: {_output_line(one)}" for one in ranked[:_MOST_OUTPUTS]]
    if len(ranked) > _MOST_OUTPUTS:
        more = counted(len(ranked) - _MOST_OUTPUTS, "more output")
        lines.append(f"against {error.against}: {more}")
    return lines


def _output_line(output: OutputError) -> str:
    kinds = {"abs": output.worst_abs, "rel": output.worst_rel, "ULP": output.worst_ulp}
    errors = [f"max {kind} {one.error:.2g}" for kind, one in kinds.items() if one]
    if output.problem:
        return output.described
    line = f"{output.described}: {', '.join(errors) or 'equal'}"
    if output.mismatches:
        line += f", {output.mismatches} of {output.size} beyond the tolerance"
    if output.limit is not None:
        line += f", {output.statistic} {output.error:.2g}, limit {output.limit:.2g}"
    return line


def _row(result: CaseResult) -> tuple[str, ...]:
    error, latency = result.reference_error, result.latency
    return (
        f"{result.name}[{short_params(result.params)}]" if result.params else result.name,
        result.target_name,
        prepack_cell(result),
        f"{result.tuned_tasks}/{len(result.tasks)}",
        "-" if error is None else f"{error.max_abs_error:.1e}",
        _seconds(None if latency is None else latency.median_s),
        _seconds(None if latency is None else latency.baseline_median_s),
        ratio_cell(latency),
        verdict_words(result),
    )  # fmt: skip


def ratio_cell(latency: LatencyResult | None, *, unknown: str = "-") -> str:
    """Return a cell with the slowdown ratio, or why there is none."""
    if latency is not None and latency.same_code:
        return "same code"
    if latency is None or latency.slowdown_ratio is None:
        return unknown
    return f"{latency.slowdown_ratio:.3f}"


def _seconds(value: float | None) -> str:
    return "-" if value is None else format_seconds(value)

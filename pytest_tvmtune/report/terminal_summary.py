"""The terminal: lines before the tests, a table and a footer after them."""

from __future__ import annotations

import json
from collections import Counter
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
from pytest_tvmtune.core.results.case_result import CaseResult, Outcome
from pytest_tvmtune.core.results.comparison_result import ErrorResult
from pytest_tvmtune.core.results.latency_result import LatencyResult
from pytest_tvmtune.core.results.task_result import TaskResult
from pytest_tvmtune.machine.fingerprint import fingerprint
from pytest_tvmtune.report.case_verdicts import has_failed, verdict_words
from pytest_tvmtune.report.kernel_lines import divergence_lines, kernel_lines
from pytest_tvmtune.report.text_tables import format_bytes, format_seconds, table_lines

_HEADINGS = (
    "model", "target", "prepack", "tuned", "max abs error", "now", "baseline", "ratio", "verdict"
)  # fmt: skip
_MOST_OUTPUTS = 8
_OTHER_OUTCOMES: tuple[Outcome, ...] = ("skipped", "xfailed", "xpassed")
_RIGHT = frozenset({"tuned", "max abs error", "now", "baseline", "ratio"})


def header_lines(
    *,
    targets: Sequence[tuple[str, str]],
    store: Path,
    tuning: str,
    trials: Sequence[int],
    max_times_s: Sequence[float],
    gated_items: int,
) -> list[str]:
    """Return what the marked tests of this run will use. targets: names with canonical JSON."""
    machine = fingerprint()
    most_s = ", ".join(f"{seconds:g}" for seconds in max_times_s)
    alpha = item_alpha(gated_items)
    return [
        (
            f"tvmtune: apache-tvm {machine.tvm}, tvm-ffi {machine.tvm_ffi}, "
            f"{machine.usable_cores} usable cores, {machine.cpu}"
        ),
        *(f"tvmtune: target {line}" for line in _target_lines(targets)),
        f"tvmtune: trials {', '.join(map(str, trials))} (tuning={tuning}), store {store}",
        (
            f"tvmtune: gate: {counted(gated_items, 'item')}, false alarms at most "
            f"{SESSION_ALPHA:.0%} for all together, so {fewest_epochs(alpha)} epochs or more each, "
            f"within {most_s} s (slow models: {least_epochs(alpha)} epochs, whatever they take)"
        ),
    ]


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
    """Return the table, one row a case, what fails or is unknown, and the counts.

    Args:
        results: The cases, in the order of the table.
        verbose: Whether each output that was compared has a line, and each case that was timed,
            with the latency of its baseline when accepted.
    """
    rows = [_row(result) for result in results]
    table = table_lines(_HEADINGS, rows, right=_RIGHT)
    details = [line for result in results for line in _details(result)] if verbose else []
    return [*table, "", *details, *footer_lines(results)]


def _details(result: CaseResult) -> list[str]:
    label = result.label
    lines = [f"{label}: {line}" for line in _attempt_lines(result)]
    lines += [f"{label}: {line}" for error in result.errors for line in _error_lines(error)]
    for found in result.divergences:
        lines += [f"{label}: {found.sentence()}", *divergence_lines(found)]
    latency = result.latency
    if latency is not None:
        lines += _latency_lines(label, latency)
    faster = [task for task in result.tasks if task.state == "untuned is faster"]
    lines += [f"{label}: {task.name} is faster untuned{_times(task)}" for task in faster]
    if result.artifact:
        lines.append(f"{label}: {_sizes(result)}")
    if result.kernels is not None:
        lines += [f"{label}: kernels", *(f"  {line}" for line in kernel_lines(result.kernels))]
    return lines


def _times(task: TaskResult) -> str:
    if task.untuned_s is None or task.best_s is None:
        return ""
    return f": {format_seconds(task.untuned_s)}, the best schedule {format_seconds(task.best_s)}"


def _attempt_lines(result: CaseResult) -> list[str]:
    if result.attempts == 1:
        return []
    failed = [finding.splitlines()[0] for finding in result.earlier_findings]
    return [f"attempt {result.attempts} of its test", *(f"  before: {line}" for line in failed)]


def _latency_lines(label: str, latency: LatencyResult) -> list[str]:
    lines = [f"{label}: {latency.message}"]
    if latency.cause is not None:
        lines.append(f"  cause: {latency.cause.message}")
    if latency.epochs:
        lines.append(
            f"  {counted(latency.epochs, 'epoch')}, {counted(latency.pairs, 'pair')} in "
            f"{latency.spent_s:.1f} s, noise {latency.noise or 0:.1%} an epoch, "
            f"{counted(latency.num_threads, 'thread')}"
        )
    if latency.accepted_median_s is not None:
        on = latency.accepted_on
        lines.append(
            f"  accepted with {format_seconds(latency.accepted_median_s)} at {on.get('at')}, on "
            f"{on.get('cpu')}, TVM {on.get('tvm')} (no verdict is made of it)"
        )
    return lines


def _sizes(result: CaseResult) -> str:
    rows = (
        ("library", result.library_bytes, result.baseline_library_bytes),
        ("workspace memory", result.workspace_bytes, result.baseline_workspace_bytes),
    )
    return ", ".join(
        f"{what} {format_bytes(now)}"
        + (f" (baseline {format_bytes(before)})" if before is not None else "")
        for what, now, before in rows
        if now is not None
    )


def _error_lines(error: ErrorResult) -> list[str]:
    """Return a line for each output, those that are furthest off first."""
    ranked = sorted(
        error.outputs,
        key=lambda one: (one.passed, -(one.worst_abs.error if one.worst_abs else 0.0)),
    )
    lines = [f"against {error.against}: {_output_line(one)}" for one in ranked[:_MOST_OUTPUTS]]
    if len(ranked) > _MOST_OUTPUTS:
        lines.append(f"against {error.against}: {len(ranked) - _MOST_OUTPUTS} more outputs")
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
        "yes" if result.prepack else "no",
        f"{result.tuned_tasks}/{len(result.tasks)}",
        "-" if error is None else f"{error.max_abs_error:.1e}",
        _seconds(None if latency is None else latency.median_s),
        _seconds(None if latency is None else latency.baseline_median_s),
        "-" if latency is None or latency.slowdown_ratio is None
        else f"{latency.slowdown_ratio:.3f}",
        verdict_words(result),
    )  # fmt: skip


def _seconds(value: float | None) -> str:
    return "-" if value is None else format_seconds(value)


def footer_lines(results: Sequence[CaseResult]) -> list[str]:
    """Return the counts of a run, and what may be done next."""
    verdicts = Counter(result.latency.verdict for result in results if result.latency)
    # Tests that are repeated have one baseline.
    accepted = len(
        {
            result.baseline or result.label
            for result in results
            if result.latency and result.latency.accepted
        }
    )
    outcomes = Counter("failed" if has_failed(result) else result.outcome for result in results)
    trials = sum(result.trials_spent for result in results)
    counts = [counted(len(results), "case"), f"{outcomes['failed']} failed"]
    counts += [f"{outcomes[name]} {name}" for name in _OTHER_OUTCOMES if outcomes[name]]
    counts += [f"{count} {verdict}" for verdict, count in sorted(verdicts.items())]
    tuned = sum(result.tuned_now for result in results)
    compiled = sum(result.compiled_now for result in results)
    lines = [
        ", ".join(counts),
        (
            f"tuned {counted(tuned, 'case')} with {counted(trials, 'trial')} "
            f"({sum(r.tuning_s for r in results):.1f} s), "
            f"compiled {compiled} ({sum(r.compile_s for r in results):.1f} s), "
            f"accepted {counted(accepted, 'baseline')}"
        ),
    ]
    transformed = [result for result in results if result.transform_s is not None]
    if transformed:
        seconds = sum(result.transform_s or 0.0 for result in transformed)
        size = sum(result.transform_extra_bytes or 0 for result in transformed)
        lines.append(
            f"transformed the parameters of {counted(len(transformed), 'prepacked case')} in "
            f"{format_seconds(seconds)}, {size / 1e6:.3g} MB more memory (not part of the latency)"
        )
    if restored := sum(len(result.tasks_restored) for result in results):
        lines.append(
            f"{counted(restored, 'task')} not in the store: the records of the baselines were taken"
        )
    if left_out := sum(len(result.tasks_left_out) for result in results):
        lines.append(f"{counted(left_out, 'task')} got no trial: ask for more with --tvm-trials")
    goldens = [result.golden for result in results if result.golden is not None]
    if new_goldens := sum(golden.state == "new" for golden in goldens):
        lines.append(f"{new_goldens} without golden outputs: write them with --tvm-update-new")
    written = sorted({golden.path for golden in goldens if golden.state == "written"})
    if written:
        lines.append(f"wrote golden outputs, look at them and commit them: {', '.join(written)}")
    for result in results:
        if result.latency is not None and result.latency.acceptance is not None:
            label = result.label
            lines.append(f"{label}: {result.latency.acceptance.sentence}")
    new = len({result.baseline or result.label for result in results if _may_be_accepted(result)})
    if new:
        lines.append(f"{new} without a baseline: accept with --tvm-update-new")
    if any(map(_is_unaccepted_regression, results)):
        lines.append("accept a regression, when it is meant, with --tvm-update")
    if verdicts["INCONCLUSIVE"]:
        lines.append("inconclusive: give it longer with --tvm-max-time, or a quieter machine")
    return lines


def _may_be_accepted(result: CaseResult) -> bool:
    """Whether a case lacks nothing but a baseline: no wrong numbers, no other reason to fail."""
    latency = result.latency
    is_new = latency is not None and latency.verdict == "NEW" and not latency.accepted
    return is_new and not result.findings and result.outcome in {"passed", "xpassed", ""}


def _is_unaccepted_regression(result: CaseResult) -> bool:
    latency = result.latency
    slower = latency is not None and latency.verdict == "REGRESSION" and not latency.accepted
    return slower and result.outcome not in {"xfailed", "skipped"}

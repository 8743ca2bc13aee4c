"""The counts of a run, and the lines below them: details, and hints for the reader."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from pytest_tvmtune.core.errors import counted
from pytest_tvmtune.core.results.case_result import CaseResult, Outcome
from pytest_tvmtune.core.results.task_result import TaskResult
from pytest_tvmtune.report.case_verdicts import VERDICTS, has_failed, verdict_of
from pytest_tvmtune.report.json_report import Report
from pytest_tvmtune.report.text_tables import format_bytes, format_seconds

_OTHER_OUTCOMES: tuple[Outcome, ...] = ("skipped", "xfailed", "xpassed")


def missing_words(report: Report) -> str:
    """Return why a run may have fewer cases than it should have, "" if it has all."""
    failed = len(report.failed_tests)
    words = [f"{counted(failed, 'test')} failed without a case"] if failed else []
    return ", ".join([*words, *(["run interrupted"] if report.interrupted else [])])


def count_line(results: Sequence[CaseResult]) -> str:
    """Return the counts of a run, as a line."""
    return f"{_outcomes(results)}; {work_words(results)}"


def _outcomes(results: Sequence[CaseResult]) -> str:
    outcomes = Counter("failed" if has_failed(result) else result.outcome for result in results)
    verdicts = Counter(verdict_of(result) for result in results)
    words = [counted(len(results), "case"), f"{outcomes['failed']} failed"]
    words += [f"{outcomes[name]} {name}" for name in _OTHER_OUTCOMES if outcomes[name]]
    # A later version may know more verdicts.
    known = dict.fromkeys((*VERDICTS, *verdicts))
    counts = [
        f"{verdicts[verdict]} {verdict}{_reasons(results, verdict)}"
        for verdict in known
        if verdicts[verdict]
    ]
    return ", ".join(words) + (f": {', '.join(counts)}" if counts else "")


def _reasons(results: Sequence[CaseResult], verdict: str) -> str:
    """Return the gate's verdicts behind a worse word, as of a strict run, in parentheses."""
    behind = Counter(
        result.latency.verdict
        for result in results
        if verdict_of(result) == verdict and result.latency is not None
    )
    shown = [(one, n) for one, n in behind.most_common() if one not in {verdict, "PASS"}]
    words = [f"{n} {one}" for one, n in shown]
    return f" ({', '.join(words)})" if words else ""


def work_words(results: Sequence[CaseResult]) -> str:
    """Return how much a run tuned, compiled, and accepted."""
    tuned = [result for result in results if result.tuned_now]
    compiled = sum(result.compiled_now for result in results)
    trials = sum(result.trials_spent for result in results)
    tuning_s = sum(result.tuning_s for result in results)
    compile_s = sum(result.compile_s for result in results)
    # Tests that are repeated have one baseline.
    accepted = len(
        {
            result.baseline or result.label
            for result in results
            if result.latency and result.latency.accepted
        }
    )
    anchored = len({result.baseline or result.label for result in results if result.anchored})
    anchors = f" and {counted(anchored, 'anchor')}" if anchored else ""
    new = len({result.baseline or result.label for result in results if _may_be_accepted(result)})
    spent = f" ({counted(trials, 'trial')}, {tuning_s:.1f} s)" if tuned or trials else ""
    took = f" ({compile_s:.1f} s)" if compiled else ""
    advice = f" (accept {counted(new, 'new baseline')} with --tvm-update-new)" if new else ""
    return (
        f"tuned {counted(len(tuned), 'case')}{spent}, compiled {compiled}{took}, "
        f"accepted {counted(accepted, 'baseline')}{anchors}{advice}"
    )


def detail_lines(results: Sequence[CaseResult]) -> list[str]:
    """Return other facts about a run, for readers who want details."""
    lines = []
    transformed = [result for result in results if result.transform_s is not None]
    if transformed:
        seconds = sum(result.transform_s or 0.0 for result in transformed)
        size = sum(result.transform_extra_bytes or 0 for result in transformed)
        lines.append(
            f"transformed the parameters of {counted(len(transformed), 'prepacked case')} in "
            f"{format_seconds(seconds)}, using {format_bytes(size)} more memory "
            "(not part of the latency)"
        )
    return lines


def next_lines(results: Sequence[CaseResult]) -> list[str]:
    """Return hints on cases that need attention, with the options to use."""
    verdicts = Counter(result.latency.verdict for result in results if result.latency)
    lines = []
    if restored := sum(len(result.tasks_restored) for result in results):
        lines.append(
            f"took the records of {counted(restored, 'task')} from the baselines, because the "
            "store had none"
        )
    if versions := sorted({task.replayed_from for task in _replayed(results)}):
        lines.append(
            f"replayed the schedules of {counted(len(_replayed(results)), 'task')} from "
            f"TVM {' and '.join(versions)}, not measured here: to measure them, and to "
            "search for faster schedules, raise --tvm-trials, and don't use --tvm-tuning=never"
        )
    if left_out := sum(len(result.tasks_left_out) for result in results):
        hurried = any(r.tasks_left_out and r.tuning_ended_by == "time" for r in results)
        remedy = "--tvm-max-tuning-time, or run again" if hurried else "--tvm-trials"
        lines.append(f"{counted(left_out, 'task')} got no trial: raise {remedy}")
    goldens = [result.golden for result in results if result.golden is not None]
    if new_goldens := sum(golden.state == "new" for golden in goldens):
        lines.append(
            f"{counted(new_goldens, 'case')} without golden outputs: write them with "
            "--tvm-update-new"
        )
    written = sorted({golden.path for golden in goldens if golden.state == "written"})
    if written:
        lines.append(f"wrote golden outputs: review and commit {', '.join(written)}")
    for result in results:
        if result.latency is not None and result.latency.acceptance is not None:
            lines.append(f"{result.label}: {result.latency.acceptance.sentence}")
    if any(map(_is_unaccepted_regression, results)):
        lines.append("REGRESSION: if you intend it, accept it with --tvm-update")
    drifts = [result for result in results if result.failure and result.failure.kind == "drift"]
    if drifts:
        lines.append("drift: if you intend it, accept it with --tvm-update-anchor")
    if verdicts["INCONCLUSIVE"]:
        lines.append("INCONCLUSIVE: raise --tvm-max-time, or use a quieter machine")
    return lines


def _replayed(results: Sequence[CaseResult]) -> list[TaskResult]:
    return [task for result in results for task in result.tasks if task.replayed_from]


def _may_be_accepted(result: CaseResult) -> bool:
    """Whether a case lacks only a baseline: no wrong numbers, no other reason to fail."""
    latency = result.latency
    is_new = latency is not None and latency.verdict == "NEW" and not latency.accepted
    return is_new and not result.findings and result.outcome in {"passed", "xpassed", ""}


def _is_unaccepted_regression(result: CaseResult) -> bool:
    latency = result.latency
    slower = latency is not None and latency.verdict == "REGRESSION" and not latency.accepted
    return slower and result.outcome not in {"xfailed", "skipped"}

"""The terminal: lines before the tests, a table and a footer after them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from pytest_tvmtune.core.environment import fingerprint
from pytest_tvmtune.core.results import CaseResult, LatencyResult
from pytest_tvmtune.report.tables import format_seconds, table_lines

_HEADINGS = (
    "model", "target", "prepack", "tuned", "max abs error", "now", "baseline", "ratio", "verdict"
)  # fmt: skip
_RIGHT = frozenset({"tuned", "max abs error", "now", "baseline", "ratio"})


def header_lines(
    *, targets: Sequence[str], store: Path, tuning: str, trials: Sequence[int]
) -> list[str]:
    """Return what the marked tests of this run will use."""
    machine = fingerprint()
    return [
        (
            f"tvmtune: apache-tvm {machine.tvm}, tvm-ffi {machine.tvm_ffi}, "
            f"{machine.usable_cores} usable cores, {machine.cpu}"
        ),
        *(f"tvmtune: target {target}" for target in targets),
        f"tvmtune: trials {', '.join(map(str, trials))} (tuning={tuning}), store {store}",
    ]


def summary_lines(results: Sequence[CaseResult]) -> list[str]:
    """Return the table, one row a case, what fails or is unknown, and the counts."""
    rows = [_row(result) for result in results]
    return [*table_lines(_HEADINGS, rows, right=_RIGHT), "", *_footer(results)]


def _row(result: CaseResult) -> tuple[str, ...]:
    error, latency = result.reference_error, result.latency
    return (
        result.name,
        result.target_name,
        "yes" if result.prepack else "no",
        f"{result.tuned_tasks}/{len(result.tasks)}",
        "-" if error is None else f"{error.max_abs_error:.1e}",
        _seconds(None if latency is None else latency.median_s),
        _seconds(None if latency is None else latency.baseline_median_s),
        "-" if latency is None or latency.slowdown_ratio is None
        else f"{latency.slowdown_ratio:.3f}",
        _verdict(result, latency),
    )  # fmt: skip


def _verdict(result: CaseResult, latency: LatencyResult | None) -> str:
    if result.findings and (latency is None or latency.verdict != "REGRESSION"):
        wrong = any(not error.passed for error in result.errors)
        return "WRONG NUMBERS" if wrong else "FAILED"
    if latency is None:
        return "not timed"
    verdict = latency.verdict
    if latency.same_code:
        verdict += " (same code)"
    if _has_failed(result) and latency.verdict != "REGRESSION":
        verdict += ", test failed"
    return f"{verdict}, accepted" if latency.accepted else verdict


def _has_failed(result: CaseResult) -> bool:
    return result.outcome == "failed" or bool(result.findings)


def _seconds(value: float | None) -> str:
    return "-" if value is None else format_seconds(value)


def _footer(results: Sequence[CaseResult]) -> list[str]:
    verdicts = Counter(result.latency.verdict for result in results if result.latency)
    accepted = sum(bool(result.latency and result.latency.accepted) for result in results)
    failed = sum(_has_failed(result) for result in results)
    trials = sum(result.trials_spent for result in results)
    counts = [f"{len(results)} cases", f"{failed} failed"]
    counts += [f"{count} {verdict}" for verdict, count in sorted(verdicts.items())]
    tuned = sum(result.tuned_now for result in results)
    compiled = sum(result.compiled_now for result in results)
    lines = [
        ", ".join(counts),
        (
            f"tuned {tuned} cases with {trials} trials ({sum(r.tuning_s for r in results):.1f} s), "
            f"compiled {compiled} ({sum(r.compile_s for r in results):.1f} s), "
            f"accepted {accepted} baselines"
        ),
    ]
    transformed = [result for result in results if result.transform_s is not None]
    if transformed:
        seconds = sum(result.transform_s or 0.0 for result in transformed)
        size = sum(result.transform_extra_bytes or 0 for result in transformed)
        lines.append(
            f"transformed the parameters of {len(transformed)} prepacked cases in "
            f"{format_seconds(seconds)}, {size / 1e6:.3g} MB more memory (not part of the latency)"
        )
    if left_out := sum(len(result.tasks_left_out) for result in results):
        lines.append(f"{left_out} tasks got no trial: ask for more with --tvm-trials")
    new = sum(bool(r.latency and r.latency.verdict == "NEW" and not r.latency.accepted)
              for r in results)  # fmt: skip
    if new:
        lines.append(f"{new} without a baseline: accept with --tvm-update-new")
    if verdicts["REGRESSION"]:
        lines.append("accept a regression, when it is meant, with --tvm-update")
    if verdicts["INCONCLUSIVE"]:
        lines.append("inconclusive: give it longer with --tvm-max-time, or a quieter machine")
    return lines

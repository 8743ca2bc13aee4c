"""`tvmtune history`, `compare`, and `report`: show earlier runs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pytest_tvmtune.cli.arguments import add_json, existing_store, parsed_by, print_json
from pytest_tvmtune.cli.run_selection import RUN_HELP, load_run
from pytest_tvmtune.core.errors import EnvironmentProblemError, ReportError, StoreError, counted
from pytest_tvmtune.core.settings.parsing import THRESHOLD
from pytest_tvmtune.core.settings.quantities import Threshold, parse_threshold
from pytest_tvmtune.core.settings.table import BY_NAME, REPORTS
from pytest_tvmtune.report.change_points import Change, find_changes
from pytest_tvmtune.report.compared_runs import (
    JudgedPair,
    count_line,
    judge_pairs,
    pair_cases,
    pair_lines,
)
from pytest_tvmtune.report.json_report import cases_of
from pytest_tvmtune.report.latency_history import (
    history_csv,
    history_svg,
    point_lines,
    run_lines,
    timed_points,
)
from pytest_tvmtune.report.report_files import write_reports
from pytest_tvmtune.report.run_counts import detail_lines
from pytest_tvmtune.report.terminal_summary import summary_lines
from pytest_tvmtune.store.atomic_files import write_text
from pytest_tvmtune.store.run_history import Point, find_points, list_runs


def add_parser(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the three commands."""
    history = commands.add_parser(
        "history",
        parents=[common],
        help="show the latency of a case over its runs, and its changes",
    )
    history.add_argument(
        "case",
        metavar="CASE",
        nargs="?",
        help="the name of a case in reports (`mlp[llvm]`), the id of its test, or a part of these "
        "(default: list the runs)",
    )
    history.add_argument("--plot", metavar="FILE.svg", type=Path, help="write a plot to this file")
    history.add_argument(
        "--csv", action="store_true", help="print CSV, in a form that Apache Otava reads"
    )
    history.add_argument(
        "--all-machines",
        action="store_true",
        help="include runs on other CPUs, or with another number of threads, than the last run",
    )
    add_json(history)
    history.set_defaults(run=_history)
    compare = commands.add_parser(
        "compare",
        parents=[common],
        help="compare two runs, the worst cases first",
    )
    for name in ("RUN_A", "RUN_B"):
        compare.add_argument(name.lower(), metavar=name, help=RUN_HELP)
    compare.add_argument(
        "--fail-on",
        metavar="5%|0.2ms",
        type=parsed_by(parse_threshold),
        help="exit with 1 if a case is slower in RUN_B by more than this, or failed in RUN_B only",
    )
    compare.add_argument(
        "--only-changed",
        action="store_true",
        help="leave out the cases whose time changed by no more than this, or by no more than "
        "3%% without --fail-on",
    )
    add_json(compare)
    compare.set_defaults(run=_compare)
    report = commands.add_parser(
        "report",
        parents=[common],
        help="print the summary of an earlier run, or write its reports",
    )
    report.add_argument("of", metavar="RUN", help=RUN_HELP)
    for name in REPORTS:
        report.add_argument(f"--{name}", metavar="PATH", type=Path, help=BY_NAME[name].help)
    report.set_defaults(run=_report)


def _history(options: argparse.Namespace) -> int:
    store = existing_store(options.dir)
    if options.case is None:
        if options.plot is not None or options.csv:
            raise StoreError(
                "--plot and --csv need a case: use tvmtune history CASE --csv, for example"
            )
        runs = list_runs(store)
        if options.json:
            print_json([asdict(run) for run in runs])
        else:
            print("\n".join(run_lines(runs)))
        return 0
    points, left_out = _one_series(find_points(store, options.case), options)
    changes: Sequence[Change] = ()
    try:
        changes = find_changes([p.median_s for p in points if p.median_s is not None])
    except EnvironmentProblemError as error:
        print(f"tvmtune: {error}", file=sys.stderr)
    label = f"{points[-1].label} ({points[-1].nodeid})"
    if options.plot is not None:
        if not timed_points(points):
            raise StoreError(f"{label} has no latency in any run, so it can't be plotted")
        write_text(options.plot, history_svg(label, points, changes))
    if options.csv:
        print(history_csv(points), end="")
    elif options.json:
        print_json(_plain(points, changes))
    else:
        print("\n".join([label, "", *point_lines(points, changes)]))
        if left_out:
            others = counted(left_out, "run")
            print(
                f"{others} on other CPUs or with another number of threads: to include them, use "
                "--all-machines"
            )
    return 0


def _one_series(found: list[Point], options: argparse.Namespace) -> tuple[list[Point], int]:
    """Return the points of one case on one machine, and how many are left out."""
    if not found:
        raise StoreError(f"the history has no case named {options.case}: see `tvmtune report last`")
    cases = sorted({(point.nodeid, point.name): point.label for point in found}.items())
    if len(cases) > 1:
        listed = "\n".join(f"  {label}  {nodeid}" for (nodeid, _), label in cases)
        raise StoreError(f"several cases match {options.case}, choose one:\n{listed}")
    if options.all_machines:
        return found, 0
    # Points without a latency have no threads.
    last = next((point for point in reversed(found) if point.num_threads), found[-1])
    kept = [
        point
        for point in found
        if point.cpu == last.cpu and point.num_threads in (0, last.num_threads)
    ]
    return kept, len(found) - len(kept)


def _plain(points: Sequence[Point], changes: Sequence[Change]) -> dict[str, Any]:
    timed = timed_points(points)
    return {
        "points": [asdict(point) for point in points],
        "changes": [
            {
                "run": timed[change.index].run,
                "before_s": change.before,
                "after_s": change.after,
                "ratio": change.ratio,
            }
            for change in changes
        ],
    }


def _compare(options: argparse.Namespace) -> int:
    reports = [load_run(options.dir, text) for text in (options.run_a, options.run_b)]
    first, second = (cases_of(report) for report in reports)
    cpus = [report["machine"].get("cpu") for report in reports]
    bound = options.fail_on or THRESHOLD.default
    judged = judge_pairs(pair_cases(first, second), bound, same_cpu=cpus[0] == cpus[1])
    shown = [one for one in judged if one.state != "same" or not options.only_changed]
    if options.json:
        print_json([_plain_pair(one) for one in shown])
    else:
        table = [*pair_lines(shown), ""] if shown else []
        print("\n".join([*table, *_remarks(judged, bound, cpus)]))
    if options.fail_on is None:
        return 0
    if all(one.state == "unknown" for one in judged):
        raise ReportError("--fail-on: the two runs have no case whose times can be compared")
    return int(any(one.state in {"failed", "lost", "slower"} for one in judged))


def _remarks(judged: Sequence[JudgedPair], bound: Threshold, cpus: Sequence[str]) -> list[str]:
    lines = [", ".join(filter(None, [counted(len(judged), "case"), count_line(judged, bound)]))]
    if cpus[0] != cpus[1]:
        lines.append(f"The times can't be compared: A ran on {cpus[0]}, and B on {cpus[1]}.")
    lines.append(
        "The runs are from different times. On a shared machine, latencies differ between "
        "runs even if nothing changed. To decide, use the latency gate: it runs both libraries "
        "in turn."
    )
    return lines


def _plain_pair(judged: JudgedPair) -> dict[str, Any]:
    pair = judged.pair
    return {
        "nodeid": pair.nodeid,
        "label": pair.label,
        "a_s": pair.times_s[0],
        "b_s": pair.times_s[1],
        "ratio": pair.ratio,
        "same_code": pair.same_code,
        "state": judged.state,
        "reason": judged.reason,
    }


def _report(options: argparse.Namespace) -> int:
    report = load_run(options.dir, options.of)
    cases = cases_of(report)
    paths = {name: path for name in REPORTS if (path := getattr(options, name)) is not None}
    if problems := write_reports(report, paths):
        raise ReportError("; ".join(problems))
    if not paths:
        print(f"run of {report['created_at']}, TVM {report['machine'].get('tvm')}")
        print("\n".join([*summary_lines(cases), *detail_lines(cases)]))
    return 0

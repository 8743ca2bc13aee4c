"""`tvmtune doctor`: whether this machine can tune, compile and gate, and how finely."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

from pytest_tvmtune.cli.arguments import add_json, parsed_by, print_json
from pytest_tvmtune.core.settings.quantities import parse_count, parse_seconds, parse_threshold

_SIGNS = {"ok": "ok", "note": "note", "problem": "PROBLEM"}


def add_parser(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "doctor",
        parents=[common],
        help="examine the set-up and measure the noise; exit code 1 where gating makes no sense",
    )
    parser.add_argument(
        "--threshold",
        type=parsed_by(parse_threshold),
        default="3%",
        help="the slowdown that the gate shall tell (default: 3%%)",
    )
    parser.add_argument(
        "--max-time",
        metavar="TIME",
        type=parsed_by(parse_seconds),
        default="10s",
        help="how long it may measure, as --tvm-max-time (default: %(default)s)",
    )
    parser.add_argument(
        "--items",
        metavar="N",
        type=parsed_by(lambda text, name: parse_count(text, name, minimum=1)),
        default="10",
        help="how many items the session gates, which share its error rate (default: %(default)s)",
    )
    add_json(parser)
    parser.set_defaults(run=_examine)


def _examine(options: argparse.Namespace) -> int:
    from pytest_tvmtune.cli.machine_report import Gating, examine

    gating = Gating(threshold=options.threshold, max_time_s=options.max_time, items=options.items)
    findings = []
    for finding in examine(options.dir, gating):
        findings.append(finding)
        if not options.json:
            print(f"{_SIGNS[finding.state]:8} {finding.name:13} {finding.text}", flush=True)
    sensible = all(finding.state != "problem" for finding in findings)
    if options.json:
        print_json({"sensible": sensible, "findings": [asdict(one) for one in findings]})
    else:
        print(f"gating on this machine {'makes sense' if sensible else 'makes no sense now'}")
    return 0 if sensible else 1

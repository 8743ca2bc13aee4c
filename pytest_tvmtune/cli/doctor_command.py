"""`tvmtune doctor`: check whether this machine can tune, compile, and gate."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

from pytest_tvmtune.cli.arguments import add_json, parsed_by, print_json
from pytest_tvmtune.core.settings.quantities import parse_count, parse_seconds, parse_threshold
from pytest_tvmtune.core.settings.rpc_address import parse_rpc
from pytest_tvmtune.core.settings.target_spec import parse_target

_SIGNS = {"ok": "ok", "note": "note", "problem": "PROBLEM"}
# The titles of findings whose names in JSON are less clear.
_TITLES = {"in the way": "disturbances"}


def add_parser(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "doctor",
        parents=[common],
        help="check the installation, and measure the noise; exit code 1 if gating isn't possible",
    )
    parser.add_argument(
        "--threshold",
        type=parsed_by(parse_threshold),
        default="3%",
        help="the slowdown that the gate must detect (default: 3%%)",
    )
    parser.add_argument(
        "--max-time",
        metavar="TIME",
        type=parsed_by(parse_seconds),
        default="10s",
        help="the longest time of the measurement, as in --tvm-max-time (default: %(default)s)",
    )
    parser.add_argument(
        "--items",
        metavar="N",
        type=parsed_by(lambda text, name: parse_count(text, name, minimum=1)),
        default="10",
        help="the number of gated items, which share the error rate (default: %(default)s)",
    )
    parser.add_argument(
        "--rpc",
        metavar="HOST:PORT[/KEY]",
        type=parsed_by(parse_rpc),
        help="examine a device behind TVM RPC, as in --tvm-rpc",
    )
    parser.add_argument(
        "--target",
        type=parsed_by(parse_target),
        default="llvm",
        help="the target of the device, with its triple and CPU (default: %(default)s)",
    )
    parser.add_argument(
        "--cross-compiler",
        metavar="COMMAND",
        default="",
        help="the compiler that links for the device (default: found by the target's triple)",
    )
    add_json(parser)
    parser.set_defaults(run=_examine)


def _examine(options: argparse.Namespace) -> int:
    from pytest_tvmtune.cli.device_report import DeviceToExamine, examine_device
    from pytest_tvmtune.cli.machine_report import Gating, examine

    gating = Gating(threshold=options.threshold, max_time_s=options.max_time, items=options.items)
    findings = []
    if options.rpc is None:
        found = examine(options.dir, gating)
    else:
        device = DeviceToExamine(
            address=options.rpc, target=options.target, cross_compiler=options.cross_compiler
        )
        found = examine_device(device, gating)
    for finding in found:
        findings.append(finding)
        if not options.json:
            title = _TITLES.get(finding.name, finding.name)
            print(f"{_SIGNS[finding.state]:8} {title:13} {finding.text}", flush=True)
    sensible = all(finding.state != "problem" for finding in findings)
    if options.json:
        print_json({"sensible": sensible, "findings": [asdict(one) for one in findings]})
    else:
        where = "this machine" if options.rpc is None else f"the device {options.rpc}"
        print(
            f"the gate can decide on {where}"
            if sensible
            else f"the gate can't decide on {where} now: fix the problems above"
        )
    return 0 if sensible else 1

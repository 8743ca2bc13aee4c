"""The `tvmtune` command: looks after the store and the set-up."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pytest_tvmtune.cli import baselines, db, doctor, env, gc, history
from pytest_tvmtune.core.environment import installed_version
from pytest_tvmtune.core.errors import TvmTuneError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code: 0 fine, 1 a problem was found, 2 wrong usage."""
    parser = argparse.ArgumentParser(
        prog="tvmtune", description="Look after the store and the set-up of pytest-tvmtune."
    )
    parser.add_argument(
        "--version", action="version", version=f"%(prog)s {installed_version('pytest-tvmtune')}"
    )
    # Every command takes it, after its name.
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--dir", type=Path, default=Path(".tvmtune"), help="the store (default: %(default)s)"
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in (env, doctor, history, baselines, db, gc):
        module.add_parser(commands, common)
    options = parser.parse_args(arguments)
    try:
        exit_code: int = options.run(options)
    except TvmTuneError as error:
        print(f"tvmtune: {error}", file=sys.stderr)
        return 1
    return exit_code

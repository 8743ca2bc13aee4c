"""The `tvmtune` command."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pytest_tvmtune.core.environment import fingerprint, installed_version
from pytest_tvmtune.core.errors import TvmTuneError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code: 0 fine, 1 a problem was found, 2 wrong usage."""
    parser = argparse.ArgumentParser(
        prog="tvmtune", description="Look after the store and the set-up of pytest-tvmtune."
    )
    parser.add_argument(
        "--version", action="version", version=f"%(prog)s {installed_version('pytest-tvmtune')}"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    env = commands.add_parser("env", help="show versions and machine, and check that they work")
    env.add_argument("--dir", type=Path, default=Path(".tvmtune"), help="the store (%(default)s)")
    options = parser.parse_args(arguments)
    try:
        return _show_environment(options.dir)
    except TvmTuneError as error:
        print(f"tvmtune: {error}", file=sys.stderr)
        return 1


def _show_environment(folder: Path) -> int:
    from pytest_tvmtune.relax.environment import check_installation
    from pytest_tvmtune.store.layout import open_store

    for name, value in fingerprint().to_json().items():
        print(f"{name:14}{value}")
    check_installation(open_store(folder), tuning=True)
    print("set-up        works: the version pair, the compiler and what tuning needs are there")
    return 0

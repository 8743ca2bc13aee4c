"""`tvmtune env`: versions and machine, and whether they work."""

from __future__ import annotations

import argparse
from typing import Any

from pytest_tvmtune.core.environment import fingerprint


def add_parser(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "env", parents=[common], help="show versions and machine, and check that they work"
    )
    parser.set_defaults(run=_show)


def _show(options: argparse.Namespace) -> int:
    from pytest_tvmtune.relax.environment import check_installation
    from pytest_tvmtune.store.layout import open_store

    for name, value in fingerprint().to_json().items():
        print(f"{name:14}{value}")
    check_installation(open_store(options.dir), tuning=True)
    print("set-up        works: the version pair, the compiler and what tuning needs are there")
    return 0

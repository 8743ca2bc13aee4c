"""`tvmtune env`: show versions and the machine, and check that they work."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

from pytest_tvmtune.cli.arguments import add_json, print_json
from pytest_tvmtune.machine.fingerprint import fingerprint
from pytest_tvmtune.store.layout import open_store


def add_parser(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "env", parents=[common], help="show versions and the machine, and check that they work"
    )
    add_json(parser)
    parser.set_defaults(run=_show)


def _show(options: argparse.Namespace) -> int:
    from pytest_tvmtune.relax.installation.startup_check import check_installation
    from pytest_tvmtune.relax.installation.tvm_files import tvm_info

    store = open_store(options.dir)
    machine = {**asdict(fingerprint()), **tvm_info(store)}
    if not options.json:
        print("\n".join(f"{name:14}{value}" for name, value in machine.items() if value))
    warning = check_installation(store, tuning=True)
    if options.json:
        print_json({**machine, "warning": warning})
        return 0
    if warning:
        print(f"{'warning':14}{warning}")
    print("installation  works: the pair of versions, the compiler, and the packages for tuning")
    return 0

"""`tvmtune gc`: remove artifacts, builds and reproducers that were not used for long."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from pytest_tvmtune.cli.arguments import days_ago, existing_store, size
from pytest_tvmtune.report.tables import format_bytes
from pytest_tvmtune.store.cleaning import Removal, old_artifacts


def add_parser(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "gc",
        parents=[common],
        help="remove old artifacts, builds and reproducers, never what a baseline needs",
    )
    parser.add_argument(
        "--older-than",
        metavar="DAYS",
        type=days_ago,
        default="30",
        help="not used for so long (default: %(default)s)",
    )
    parser.add_argument(
        "--max-size",
        metavar="SIZE",
        type=size,
        help="then the least recently used, until all artifacts take no more (500M, 2G)",
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what would go")
    parser.set_defaults(run=_collect)


def _collect(options: argparse.Namespace) -> int:
    store = existing_store(options.dir)
    removals = old_artifacts(store, before_s=options.older_than, max_bytes=options.max_size)
    carry_out(removals, dry_run=options.dry_run)
    return 0


def carry_out(removals: Sequence[Removal], *, dry_run: bool) -> None:
    """Remove, and say what; or only say it."""
    for removal in removals:
        print(f"{removal.path}  ({removal.why}, {format_bytes(removal.size_bytes)})")
        if not dry_run:
            removal.carry_out()
    freed = format_bytes(sum(removal.size_bytes for removal in removals))
    print(f"{'would remove' if dry_run else 'removed'} {len(removals)}, {freed}")

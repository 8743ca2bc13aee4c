"""`tvmtune gc`: remove artifacts, builds, and reproducers that were not used for a long time."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from pytest_tvmtune.cli.arguments import add_json, days_ago, existing_store, print_json, size
from pytest_tvmtune.core.errors import counted
from pytest_tvmtune.report.text_tables import format_bytes
from pytest_tvmtune.store.cleaning import Removal, old_artifacts


def add_parser(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "gc",
        parents=[common],
        help="remove old artifacts, builds, and reproducers that no baseline or anchor needs",
    )
    parser.add_argument(
        "--older-than",
        metavar="DAYS",
        type=days_ago,
        default="30",
        help="remove files that were last used more than DAYS days ago (default: %(default)s)",
    )
    parser.add_argument(
        "--max-size",
        metavar="SIZE",
        type=size,
        help="then remove the least recently used artifacts, until all of them take at most SIZE, "
        "such as 500M or 2G",
    )
    parser.add_argument("--dry-run", action="store_true", help="only print what would be removed")
    add_json(parser)
    parser.set_defaults(run=_collect)


def _collect(options: argparse.Namespace) -> int:
    store = existing_store(options.dir)
    removals = old_artifacts(store, before_s=options.older_than, max_bytes=options.max_size)
    removed = carry_out(removals, options)
    if options.json:
        print_json(removed)
    return 0


def carry_out(removals: Sequence[Removal], options: argparse.Namespace) -> dict[str, Any]:
    """Remove files, except in a dry run. Print them, except with --json. Return them as JSON."""
    for removal in removals:
        if not options.json:
            print(f"{removal.path}  ({removal.why}, {format_bytes(removal.size_bytes)})")
        if not options.dry_run:
            removal.carry_out()
    freed = sum(removal.size_bytes for removal in removals)
    if not options.json:
        done = "would remove" if options.dry_run else "removed"
        what = counted(len(removals), "path")
        print(f"{done} {what}, {format_bytes(freed)}")
    rows = [
        {"path": str(one.path), "why": one.why, "size_bytes": one.size_bytes} for one in removals
    ]
    return {"dry_run": options.dry_run, "freed_bytes": freed, "removed": rows}

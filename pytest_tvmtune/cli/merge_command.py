"""`tvmtune db merge`: merge other stores into the store."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from pytest_tvmtune.core.errors import StoreError, counted
from pytest_tvmtune.store.layout import Store, open_store
from pytest_tvmtune.store.merging import LeftOut, merge_baselines, merge_samples, merge_tuning

Add = Callable[[str, Callable[[argparse.Namespace], int], str], argparse.ArgumentParser]


def add_merge(add: Add) -> None:
    """Add the command to those of `tvmtune db`."""
    text = "merge records, baselines, and anchors of other stores; exit code 1 if some are left out"
    parser = add("merge", _merge, text)
    parser.add_argument(
        "stores", metavar="FROM", type=Path, nargs="+", help="the folder of another store"
    )


def _merge(options: argparse.Namespace) -> int:
    for folder in options.stores:
        if not any((folder / part).exists() for part in ("CACHEDIR.TAG", "tuning", "baselines")):
            raise StoreError(f"{folder} is not a store: give a folder that contains tuning/")
    store, others = open_store(options.dir), [Store(root=folder) for folder in options.stores]
    told, left_out = [], 0
    for noun, merge in (
        ("workload", merge_tuning),
        ("sample file", merge_samples),
        ("baseline", merge_baselines),
    ):
        changed: dict[Path, bool] = {}
        for one in merge(store, others):
            if isinstance(one, LeftOut):
                left_out += 1
                print(f"left out: {one.path}: {one.reason}", flush=True)
            else:
                changed[one.path] = changed.get(one.path, False) or one.changed
        told.append(f"{counted(len(changed), noun)} ({sum(changed.values())} new or changed)")
    print(f"merged {', '.join(told[:-1])}, and {told[-1]} into {store.root}")
    return 1 if left_out else 0

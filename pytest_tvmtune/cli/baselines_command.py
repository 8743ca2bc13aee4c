"""`tvmtune baselines`: show accepted baselines, make them anchors, copy them to other stores."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from pytest_tvmtune.cli.arguments import add_group, add_json, existing_store, print_json
from pytest_tvmtune.cli.chosen_baselines import chosen_baselines, name_of_test
from pytest_tvmtune.core.errors import StoreError, counted
from pytest_tvmtune.core.gating.accepted_baseline import Baseline, plain_baseline
from pytest_tvmtune.report.text_tables import format_bytes, format_seconds, table_lines
from pytest_tvmtune.store import artifacts
from pytest_tvmtune.store.accepted.baseline_files import (
    read_anchor,
    read_records,
    write_anchor,
)
from pytest_tvmtune.store.accepted.portable_baselines import export_baselines, import_baselines
from pytest_tvmtune.store.layout import Store

_FOUND = "in the store"


def add_parser(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command and its commands."""
    add = add_group(
        commands, common, "baselines", "list, show, anchor, export, or import baselines"
    )
    names_help = "a part of the name of a baseline's file or test (default: all)"
    listed = add("list", _list, "print a line for each accepted baseline")
    listed.add_argument("names", metavar="NAME", nargs="*", help=names_help)
    add_json(listed)
    show = add("show", _show, "print everything that is known of a baseline")
    show.add_argument(
        "names",
        metavar="NAME",
        nargs="+",
        help="a part of the name of a baseline's file or test",
    )
    add_json(show)
    anchor = add("anchor", _anchor, "make baselines the anchors that drift is measured from")
    anchor.add_argument("names", metavar="NAME", nargs="*", help=names_help)
    export = add(
        "export", _export, "write baselines, with anchors, artifacts, and records, to a file"
    )
    export.add_argument("file", metavar="FILE", type=Path, help="the file to write")
    export.add_argument("names", metavar="NAME", nargs="*", help=names_help)
    take_in = add("import", _import, "import such a file, replacing baselines of the same cases")
    take_in.add_argument("file", metavar="FILE", type=Path, help="a file that `export` wrote")


def _list(options: argparse.Namespace) -> int:
    store = existing_store(options.dir)
    if options.json:
        print_json([_plain(store, baseline) for baseline in chosen_baselines(store, options.names)])
        return 0
    rows = [
        (
            name_of_test(baseline),
            baseline.identity.target_name,
            "yes" if baseline.identity.prepack else "no",
            format_seconds(baseline.median_s),
            baseline.accepted_at,
            _anchored_at(store, baseline) or "-",
            str(baseline.fingerprint["tvm"]),
            _problem(store, baseline) or _FOUND,
        )
        for baseline in chosen_baselines(store, options.names)
    ]
    headings = ("test", "target", "prepack", "latency", "accepted", "anchor", "TVM", "artifact")
    print("\n".join(table_lines(headings, rows, right={"latency"})))
    return 0


def _show(options: argparse.Namespace) -> int:
    store = existing_store(options.dir)
    if options.json:
        print_json(
            [
                {
                    **_plain(store, baseline),
                    **plain_baseline(baseline),
                    "records": [
                        {"task": workload.name, "hash": workload.shash,
                         "best_s": workload.records[0].mean_s if workload.records else None}
                        for _key, workload in read_records(store, baseline.identity)
                    ],
                }
                for baseline in chosen_baselines(store, options.names)
            ]
        )  # fmt: skip
        return 0
    for baseline in chosen_baselines(store, options.names):
        machine = baseline.fingerprint
        low, high = min(baseline.samples_s), max(baseline.samples_s)
        tasks = read_records(store, baseline.identity)
        print(
            f"{baseline.identity.file_name}\n"
            f"  test       {name_of_test(baseline)}, entry {baseline.identity.entry}\n"
            f"  target     {baseline.target}\n"
            f"  accepted   {baseline.accepted_at}\n"
            f"  anchor     {_anchored_at(store, baseline) or 'none'}\n"
            f"  artifact   {baseline.artifact}  {_problem(store, baseline) or _FOUND}\n"
            f"  untuned    {baseline.untuned}\n"
            f"  latency    {format_seconds(baseline.median_s)}, median of "
            f"{counted(len(baseline.samples_s), 'sample')} from {format_seconds(low)} to "
            f"{format_seconds(high)}, {counted(baseline.num_threads, 'thread')}\n"
            f"  machine    {machine['cpu']}; TVM {machine['tvm']}, tvm-ffi {machine['tvm_ffi']}\n"
            f"  records    {len(tasks)}"
        )
        for _key, workload in tasks:
            best = format_seconds(workload.records[0].mean_s) if workload.records else "-"
            print(f"    {best:>8}  {workload.shash}  {workload.name}")
    return 0


def _plain(store: Store, baseline: Baseline) -> dict[str, Any]:
    return {
        "file": baseline.identity.file_name,
        "test": name_of_test(baseline),
        "target_name": baseline.identity.target_name,
        "prepack": baseline.identity.prepack,
        "median_s": baseline.median_s,
        "accepted_at": baseline.accepted_at,
        "anchor_accepted_at": _anchored_at(store, baseline),
        "tvm": baseline.fingerprint["tvm"],
        "artifact_state": _problem(store, baseline) or "there",
    }


def _anchor(options: argparse.Namespace) -> int:
    store = existing_store(options.dir)
    chosen = chosen_baselines(store, options.names)
    for baseline in chosen:
        if problem := _problem(store, baseline):
            raise StoreError(
                f"{baseline.identity.file_name}: {problem}; accept it again with --tvm-update"
            )
    for baseline in chosen:
        write_anchor(store, baseline)
        print(baseline.identity.file_name)
    print(f"anchored {counted(len(chosen), 'baseline')}")
    return 0


def _export(options: argparse.Namespace) -> int:
    store = existing_store(options.dir)
    chosen = chosen_baselines(store, options.names)
    size = export_baselines(store, chosen, options.file)
    print(f"exported {counted(len(chosen), 'baseline')} to {options.file} ({format_bytes(size)})")
    return 0


def _import(options: argparse.Namespace) -> int:
    taken = import_baselines(Store(root=options.dir), options.file)
    for baseline in taken:
        print(baseline.identity.file_name)
    print(f"imported {counted(len(taken), 'baseline')}")
    return 0


def _anchored_at(store: Store, baseline: Baseline) -> str | None:
    """Return when the anchor of a baseline's case was accepted, None without one.

    Raises BaselineError if the anchor is damaged.
    """
    anchor = read_anchor(store, baseline.identity)
    return None if anchor is None else anchor.accepted_at


def _problem(store: Store, baseline: Baseline) -> str:
    """Return the problem of a baseline's artifacts, "" if the store has them."""
    try:
        for digest in baseline.libraries:
            artifacts.find(store, digest)
    except StoreError as error:
        return str(error)
    return ""

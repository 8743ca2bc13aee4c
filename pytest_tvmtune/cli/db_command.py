"""`tvmtune db`: show, check, convert, merge, and prune tuning records."""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pytest_tvmtune.cli.arguments import add_group, add_json, days_ago, existing_store, print_json
from pytest_tvmtune.cli.gc_command import carry_out
from pytest_tvmtune.cli.merge_command import add_merge
from pytest_tvmtune.core.errors import StoreError, counted
from pytest_tvmtune.core.versions import minor
from pytest_tvmtune.machine.fingerprint import fingerprint
from pytest_tvmtune.machine.installed_tvm import package_version
from pytest_tvmtune.report.text_tables import format_bytes, format_seconds, table_lines
from pytest_tvmtune.store import cleaning, inventory
from pytest_tvmtune.store.builds import Plan
from pytest_tvmtune.store.layout import Store, open_store
from pytest_tvmtune.store.signing.sign_again import sign_store
from pytest_tvmtune.store.tuning.records import Workload, target_key
from pytest_tvmtune.store.tuning.work_dirs import append_to_work_dir, read_work_dir
from pytest_tvmtune.store.tuning.workload_files import learn_workload, read_workload, stored_keys


def add_parser(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command and its commands."""
    text = "show, check, convert, merge, or prune tuning records"
    add = add_group(commands, common, "db", text)
    add_json(add("stats", _stats, "count workloads, records, and trials, by target"))
    show = add("show", _show, "show the tasks of a model, or everything known of a workload")
    show.add_argument(
        "name", metavar="MODEL|WORKLOAD", help="the name of a model or a task, or a task's hash"
    )
    add_json(show)
    verify = add("verify", _verify, "check every file of the store; exit code 1 for problems")
    verify.add_argument("--repair", action="store_true", help="set damaged files aside")
    add_json(verify)
    add("sign", _sign, "sign the whole store, if you trust it, with the key in TVMTUNE_KEY")
    export = add("export", _export, "add records to a stock MetaSchedule work_dir")
    export.add_argument("work_dir", metavar="WORK_DIR", type=Path, help="the folder to write to")
    export.add_argument(
        "--target", help="the target of the records; required if the store has several targets"
    )
    export.add_argument("--model", help="export only the tasks of this model")
    take_in = add("import", _import, "import the records of a stock MetaSchedule work_dir")
    take_in.add_argument("work_dir", metavar="WORK_DIR", type=Path, help="the folder to read")
    take_in.add_argument(
        "--target", required=True, help="the target that the records were tuned for"
    )
    take_in.add_argument(
        "--measured-here", action="store_true", help="this machine's CPU measured the records"
    )
    add_merge(add)
    prune = add("prune", _prune, "remove tuning records")
    prune.add_argument(
        "--older-than",
        metavar="DAYS",
        type=days_ago,
        help="remove workloads that were last tuned more than DAYS days ago",
    )
    prune.add_argument(
        "--unreferenced",
        action="store_true",
        help="remove workloads that no model in the store has",
    )
    prune.add_argument(
        "--other-tvm", action="store_true", help="remove workloads of other versions of TVM"
    )
    prune.add_argument(
        "--keep",
        metavar="N",
        type=int,
        help="keep only the best N records of each workload for each CPU",
    )
    prune.add_argument("--dry-run", action="store_true", help="only print what would be removed")
    add_json(prune)


def _stats(options: argparse.Namespace) -> int:
    stats = inventory.target_stats(existing_store(options.dir))
    if options.json:
        print_json([{**asdict(one), "cpus": sorted(one.cpus)} for one in stats])
        return 0
    headings = ("target", "workloads", "tuned", "records", "trials", "valid", "failed", "size")
    rows = [
        (
            one.key,
            str(one.workloads),
            str(one.tuned),
            str(one.records),
            str(one.trials),
            str(one.valid),
            str(one.trials - one.valid),
            format_bytes(one.size_bytes),
        )
        for one in stats
    ]
    print("\n".join(table_lines(headings, rows, right=headings[1:])))
    for cpu in sorted(set().union(*(one.cpus for one in stats))):
        print(f"measured on {cpu}")
    return 0


def _show(options: argparse.Namespace) -> int:
    store = existing_store(options.dir)
    plans = [plan for plan in inventory.known_plans(store) if plan.model == options.name]
    found = [] if plans else inventory.find_workloads(store, options.name)
    if not plans and not found:
        models = sorted({plan.model for plan in inventory.known_plans(store)})
        raise StoreError(
            f"{store.root} has no model, task, or hash {options.name!r}; "
            f"its models: {', '.join(models) or 'none'}"
        )
    if options.json:
        models_json = [
            {"model": plan.model, "prepack": plan.prepack, "target": plan.target_key,
             "tasks": _tasks(store, plan)}
            for plan in plans
        ]  # fmt: skip
        workloads_json = [{"target": key, **_workload(workload)} for key, workload in found]
        print_json({"models": models_json, "workloads": workloads_json})
        return 0
    for plan in plans:
        print(f"{plan.model}, {'prepacked' if plan.prepack else 'plain'}, {plan.target_key}")
        print("\n".join(_task_lines(_tasks(store, plan))), end="\n\n")
    for key, workload in found:
        print("\n".join(_workload_lines(key, workload)), end="\n\n")
    return 0


def _tasks(store: Store, plan: Plan) -> list[dict[str, Any]]:
    tasks = []
    for task in plan.tasks:
        known = read_workload(store, plan.target_key, task.shash)
        best = known.fastest(fingerprint().cpu) if known else None
        tasks.append(
            {
                "task": task.name,
                "hash": task.shash,
                "calls": task.weight,
                "best_s": best.mean_s if best else None,
                "trials": known.spent if known else 0,
                "valid": known.valid if known else 0,
                "records": len(known.records) if known else 0,
            }
        )
    return tasks


def _task_lines(tasks: list[dict[str, Any]]) -> list[str]:
    headings = ("task", "hash", "calls", "best", "trials", "valid", "records")
    rows = []
    for task in tasks:
        best = "-" if task["best_s"] is None else format_seconds(task["best_s"])
        rows.append([best if name == "best" else str(task[name]) for name in headings])
    return table_lines(headings, rows, right=headings[2:])


def _workload(workload: Workload) -> dict[str, Any]:
    return {
        "task": workload.name,
        "hash": workload.shash,
        "records": [
            {"best_s": one.mean_s, "digest": one.digest, "cpu": one.cpu,
             "num_threads": one.num_threads}
            for one in workload.records
        ],
        "served": [asdict(line) for line in workload.served],
        "refused": [asdict(line) for line in workload.refused],
    }  # fmt: skip


def _workload_lines(key: str, workload: Workload) -> list[str]:
    lines = [f"{workload.name}  {workload.shash}  {key}"]
    lines += [
        f"  record  {format_seconds(record.mean_s):>8}  {record.digest[:12]}  {record.cpu}, "
        f"{counted(record.num_threads, 'thread')}"
        for record in workload.records
    ]
    for line in workload.served:
        asked = f"{counted(line.trials, 'trial')} requested for the model"
        if line.max_trials_per_task is not None:
            asked += f", at most {line.max_trials_per_task} for each task"
        if line.max_time_s is not None:
            asked += f", ended after {line.max_time_s:g} s"
        state = "" if line.complete else ", interrupted"
        reason = f": {line.reason}" if line.reason else ""
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(line.at_s))
        lines.append(
            f"  tuned   {when}  {asked}; {line.spent} spent, {line.valid} valid{state}{reason}"
        )
    lines += [f"  refused {line.digest[:12]}  {line.reason}" for line in workload.refused]
    return lines


def _verify(options: argparse.Namespace) -> int:
    store = existing_store(options.dir)
    found = []
    for problem in list(inventory.problems(store)):
        repaired = options.repair and problem.repairable
        if repaired:
            inventory.repair(store, problem)
        found.append({"path": str(problem.path), "what": problem.what, "set_aside": repaired})
    left = sum(not one["set_aside"] for one in found)
    if options.json:
        print_json(found)
        return 1 if left else 0
    for one in found:
        print(f"{one['path']}: {one['what']}{'; set aside' if one['set_aside'] else ''}")
    print(counted(left, "problem") if left else "the store has no problems")
    return 1 if left else 0


def _sign(options: argparse.Namespace) -> int:
    done, left_out = sign_store(existing_store(options.dir))
    for what in left_out:
        print(f"left out: {what}")
    print(f"signed {counted(done, 'file')}")
    return 1 if left_out else 0


def _export(options: argparse.Namespace) -> int:
    store = existing_store(options.dir)
    keys = sorted({key for key, _ in stored_keys(store)})
    if options.target is not None:
        keys = [key for key in keys if key == _key_of(options.target)]
    if len(keys) != 1:
        raise StoreError(
            "the store has no records for this target: see `tvmtune db stats`" if not keys
            else f"the store has several targets: choose one with --target: {', '.join(keys)}"
        )  # fmt: skip
    wanted = None
    if options.model is not None:
        plans = [plan for plan in inventory.known_plans(store) if plan.model == options.model]
        wanted = {task.shash for plan in plans for task in plan.tasks}
        if not plans:
            known_models = sorted({plan.model for plan in inventory.known_plans(store)})
            raise StoreError(
                f"the store has no model {options.model!r}; "
                f"its models: {', '.join(known_models) or 'none'}"
            )
    known = (
        read_workload(store, key, shash)
        for key, shash in stored_keys(store)
        if key == keys[0] and (wanted is None or shash in wanted)
    )
    deployed = (one.deployed(fingerprint().cpu) for one in known if one is not None)
    workloads = [one for one in deployed if one.records]
    append_to_work_dir(options.work_dir, workloads)
    records = sum(len(workload.records) for workload in workloads)
    found = f"{counted(len(workloads), 'workload')} with {counted(records, 'record')}"
    print(f"exported {found} to {options.work_dir}")
    return 0


def _import(options: argparse.Namespace) -> int:
    if not options.work_dir.is_dir():
        raise StoreError(f"{options.work_dir} is not a folder")
    store, key = open_store(options.dir), _key_of(options.target)
    workloads, problems = read_work_dir(options.work_dir)
    here = fingerprint()
    for workload in workloads:
        records = workload.records
        if options.measured_here:
            records = tuple(
                replace(record, cpu=here.cpu, cores=here.usable_cores) for record in records
            )
        learn_workload(store, key, replace(workload, records=records))
    for problem in problems:
        print(f"left out: {problem}")
    records_read = sum(len(workload.records) for workload in workloads)
    found = f"{counted(len(workloads), 'workload')} with {counted(records_read, 'record')}"
    print(f"imported {found} for {key}")
    return 0


def _prune(options: argparse.Namespace) -> int:
    asked = (options.older_than, options.keep)
    if not options.unreferenced and not options.other_tvm and asked == (None, None):
        raise StoreError(
            "choose the records to remove: --older-than, --unreferenced, --other-tvm, or --keep"
        )
    if options.keep is not None and options.keep < 1:
        raise StoreError(
            f"--keep {options.keep}: give at least 1; to remove whole workloads, use another option"
        )
    store = existing_store(options.dir)
    removals = cleaning.unneeded_workloads(
        store,
        before_s=options.older_than,
        unreferenced=options.unreferenced,
        keep_minor=minor(package_version("tvm")) if options.other_tvm else None,
    )
    removed = carry_out(list(removals), options)
    dropped = 0
    if options.keep is not None:
        dropped = cleaning.thin_records(store, options.keep, dry_run=options.dry_run)
    if options.json:
        print_json({**removed, "dropped_records": dropped})
    elif options.keep is not None:
        done = "would remove" if options.dry_run else "removed"
        kept = f"at most {counted(options.keep, 'record')} of each workload for each CPU"
        print(f"{done} {counted(dropped, 'record')}, keeping {kept}")
    return 0


def _key_of(target: str) -> str:
    """Return the folder of a target's records. Raises OptionError for an unknown target."""
    from pytest_tvmtune.core.settings.target_spec import parse_target
    from pytest_tvmtune.relax.devices.targets import canonical, resolve_target

    resolved = resolve_target(parse_target(target, "--target"))
    return target_key(canonical(resolved), package_version("tvm"))

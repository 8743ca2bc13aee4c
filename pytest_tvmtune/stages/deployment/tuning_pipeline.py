"""TVM's `static_shape_tuning_pipeline` with the tuner of this package."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_tvmtune.core.errors import counted, listed
from pytest_tvmtune.core.settings.options import CaseOptions, resolve_run
from pytest_tvmtune.core.settings.parsing import parse_setting
from pytest_tvmtune.core.settings.target_spec import parse_target
from pytest_tvmtune.relax.deploying.pipeline_pass import model_to_tune, stock_pipeline, tuning_pass
from pytest_tvmtune.relax.devices.targets import resolve_target
from pytest_tvmtune.report.progress_lines import ProgressDisplay
from pytest_tvmtune.stages.case import RunContext, open_case
from pytest_tvmtune.stages.deployment.outside_pytest import ready_store
from pytest_tvmtune.stages.tuned_build import differences_from_work_dir
from pytest_tvmtune.stages.tuning_tasks import (
    best_records,
    extract_tasks,
    import_work_dir,
    stored_workloads,
    tune_missing,
)
from pytest_tvmtune.store.tuning.records import Workload
from pytest_tvmtune.store.tuning.work_dirs import append_to_work_dir, write_work_dir

if TYPE_CHECKING:
    from tvm.ir import IRModule
    from tvm.target import Target
    from tvm.transform import Pass

STORE = ".tvmtune"


def static_shape_tuning_pipeline(
    total_trials: int,
    target: str | Mapping[str, Any] | Target,
    work_dir: str | os.PathLike[str] = "tuning_logs",
    cpu_weight_prepack: bool = False,
    max_trials_per_task: int | None = None,
    *,
    store: str | os.PathLike[str] | None = None,
) -> Pass:
    """Return a pass that tunes a module of static shapes, and applies what was found.

    It takes the same arguments as `tvm.relax.pipeline.static_shape_tuning_pipeline`, and returns
    the same kind of pass. Only the tuner differs. The records are added to the work_dir. The stock
    pipeline applies the best record of each task that was measured on this CPU, and none that the
    store refuses. With `total_trials=0`, it is the stock pipeline.

    Args:
        total_trials: The number of trials for the whole module. A module that an earlier request
            of at least as many trials tuned isn't tuned again.
        target: A kind, a dict, the JSON text of a target, a `tvm.target.Target`, or `host`.
        work_dir: MetaSchedule's folder of records. Records in it are used, and kept.
        cpu_weight_prepack: Whether weights get the layout that the kernels want. Then, the
            parameters go through `vm["main_transform_params"]` before the first call.
        max_trials_per_task: The most trials for a task.
        store: The folder of the store, to share records with tests. None: `.tvmtune` in the
            work_dir.

    Returns:
        A module pass.

    Raises:
        OptionError: An argument isn't accepted.
        TvmTuneError: This machine or this module can't be tuned, or a line of the work_dir is
            damaged. The pass raises it.
    """
    settings = {
        "trials": parse_setting("trials", total_trials, "total_trials"),
        "max_trials_per_task": None
        if max_trials_per_task is None
        else parse_setting("max_trials_per_task", max_trials_per_task, "max_trials_per_task"),
        "work_dir": Path(work_dir),
    }
    folder = Path(work_dir) / STORE if store is None else Path(store)
    spec = parse_target(target)
    options = resolve_run(store_dir=folder).case_options(
        settings, target=spec, prepack=bool(cpu_weight_prepack)
    )
    resolved = resolve_target(spec)
    prepack = options.prepack
    if not options.trials:
        return stock_pipeline(resolved, Path(work_dir), prepack=prepack)

    def tune(mod: IRModule, applied: Path) -> Collection[str]:
        return _tune(mod, options, folder, Path(work_dir), applied)

    return tuning_pass(tune, target=resolved, prepack=prepack)


def _tune(
    mod: IRModule, options: CaseOptions, root: Path, work_dir: Path, applied: Path
) -> Collection[str]:
    """Tune what is missing, and add the records to the user's work_dir.

    applied: the work_dir to write with the records to apply, as a test applies them: none that was
    refused, or is slower than no schedule.

    Returns:
        The hashes of the tasks that have a record to apply.
    """
    store, warning = ready_store(root, tuning=True)
    if warning:
        warnings.warn(warning, stacklevel=2)
    context = RunContext(store=store, on_progress=ProgressDisplay(sys.stderr))
    case = open_case(model_to_tune(mod), options, context, name="module", nodeid="")
    append_to_work_dir(work_dir, [])  # if that fails, it does so before the time is spent
    plan = extract_tasks(case)
    for problem in import_work_dir(case, plan):
        warnings.warn(problem, stacklevel=2)
    tuned = tune_missing(case, plan)
    if tuned.error is not None:
        raise tuned.error
    stored = stored_workloads(case, plan)
    names = [task.name for task in plan.tasks if not _is_tuned(stored.get(task.shash))]
    if names:
        tasks = counted(len(plan.tasks), "task")
        warnings.warn(f"{len(names)} of {tasks} have no record: {listed(names)}", stacklevel=2)
    best = best_records(case, stored)
    write_work_dir(applied, [(workload, [record]) for workload, record in best.values()])
    append_to_work_dir(work_dir, [one.deployed(case.machine.cpu) for one in stored.values()])
    for warning in differences_from_work_dir(work_dir, plan.tasks, best):
        warnings.warn(warning, stacklevel=2)
    return best.keys()


def _is_tuned(workload: Workload | None) -> bool:
    return workload is not None and bool(workload.records)

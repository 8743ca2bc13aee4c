"""Stages: compile with the stored records, load, run; from the store wherever it can."""

from __future__ import annotations

import secrets
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_tvmtune.core.environment import fingerprint
from pytest_tvmtune.core.errors import (
    ChildError,
    CompileError,
    RecordsNotAppliedError,
    StoreError,
)
from pytest_tvmtune.core.results import Task, TaskResult
from pytest_tvmtune.relax.build import module_text
from pytest_tvmtune.relax.child import run_job
from pytest_tvmtune.runner.case import Case, module_parts, tuning_key
from pytest_tvmtune.runner.refusing import refuse_bad_records
from pytest_tvmtune.runner.tuning import (
    Records,
    best_records,
    plan,
    stored_workloads,
    take_in_work_dir,
    tune_missing,
)
from pytest_tvmtune.store import artifacts, builds
from pytest_tvmtune.store.records import Workload
from pytest_tvmtune.store.work_dirs import append_to_work_dir, write_work_dir

if TYPE_CHECKING:
    from pytest_tvmtune.relax.session import Session

KEPT_DIGESTS = 64


@dataclass(frozen=True, kw_only=True, eq=False)
class Built:
    """A compiled case: its artifact, and the workloads whose records are in it."""

    artifact: artifacts.Artifact
    build: builds.Build


def tune_and_build(case: Case) -> Built:
    """Tune what is missing, compile what is new, and note both in the case's result."""
    tasks = plan(case, prepack=case.options.prepack)
    key = tuning_key(case)
    take_in_work_dir(case, tasks, key)
    tune_missing(case, tasks, key)
    built, workloads = build_tuned(case, prepack=case.options.prepack)
    result = case.result
    result.tasks = [_task_result(task, workloads.get(task.shash), built) for task in tasks]
    result.tasks_left_out = [task.name for task in tasks if _was_left_out(workloads, task)]
    result.artifact = built.artifact.sha256
    result.library_bytes = built.artifact.library.stat().st_size
    if case.options.work_dir is not None:
        append_to_work_dir(case.options.work_dir, list(workloads.values()))
    return built


def build_tuned(case: Case, *, prepack: bool) -> tuple[Built, dict[str, Workload]]:
    """Return the model compiled with the best stored records, and what the store then knows.

    Records that don't apply or build are refused, for good, and the next best ones tried.
    """
    tasks = plan(case, prepack=prepack)
    while True:
        workloads = stored_workloads(case, tasks, tuning_key(case))
        records = best_records(workloads)
        try:
            return build(case, prepack=prepack, records=records), workloads
        except (CompileError, ChildError) as error:
            if not refuse_bad_records(case, records, error):
                raise


def build(case: Case, *, prepack: bool, records: Records) -> Built:
    """Return the model compiled with these records and no others.

    Raises CompileError when TVM refuses it or leaves a record out, ChildError when it crashes or
    hangs, where it is compiled or where it is first run.
    """
    parts = {
        **module_parts(case, prepack=prepack),
        # The first run, in the child, is this entry's: another entry has to run there first too.
        "entry": case.model.signature.entry,
        "records": sorted((shash, record.digest) for shash, (_, record) in records.items()),
    }
    key = builds.key_of(parts)
    known = builds.read_build(case.store, key)
    if known is not None:
        try:
            built = Built(artifact=artifacts.find(case.store, known.library), build=known)
        except StoreError:
            pass  # its artifact was removed or damaged: made anew below
        else:
            _run_new_data_in_child(case, key, built)
            return built
    folder = case.store.scratch / f"build-{key[:16]}-{secrets.token_hex(4)}"
    try:
        made = _compile(case, folder, prepack=prepack, records=records)
        artifact = artifacts.publish(
            case.store, folder / artifacts.LIBRARY, artifacts.Manifest.from_json(made["manifest"])
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    done = builds.Build(
        library=artifact.sha256,
        applied=tuple(made["applied"]),
        compile_s=made["compile_s"],
        ran_with=(case.model.data_digest,),
    )
    builds.write_build(case.store, key, done)
    case.result.compiled_now = True
    case.result.compile_s += done.compile_s
    return Built(artifact=artifact, build=done)


def _compile(case: Case, folder: Path, *, prepack: bool, records: Records) -> dict[str, Any]:
    """Compile into `folder`, and run once, in a child; return what `relax.build.build` returns."""
    names = {task.name: task.shash for task in plan(case, prepack=prepack)}
    write_work_dir(folder, [(workload, [record]) for workload, record in records.values()])
    log_path = case.log_path("build")
    made: dict[str, Any] = run_job(
        "pytest_tvmtune.relax.build:build",
        {
            "mod_text": module_text(case.model.mod),
            "target": case.target_json,
            "prepack": prepack,
            "work_dir": str(folder),
            "tasks": {name: shash for name, shash in names.items() if shash in records},
            "entry": case.model.signature.entry,
            "library": str(folder / artifacts.LIBRARY),
        },
        arrays={"params": case.model.params, "inputs": case.model.inputs},
        scratch=case.store.scratch,
        log_path=log_path,
        timeout_s=case.options.timeout_s,
        num_threads=case.num_threads,
    )
    left_out = {
        shash: name
        for name, shash in names.items()
        if shash in records and shash not in made["applied"]
    }
    if left_out:
        raise RecordsNotAppliedError(
            f"the pipeline didn't apply the records of {', '.join(left_out.values())}; "
            f"log: {log_path}",
            shashes=tuple(left_out),
        )
    return made


def _run_new_data_in_child(case: Case, key: str, built: Built) -> None:
    """Run a stored artifact in a child first, unless it has run with just this data before."""
    digest = case.model.data_digest
    if digest in built.build.ran_with:
        return
    run_job(
        "pytest_tvmtune.relax.build:run_once",
        {
            "target": case.target_json,
            "entry": case.model.signature.entry,
            "library": str(built.artifact.library),
            "manifest": built.artifact.manifest.to_json(),
        },
        arrays={"params": case.model.params, "inputs": case.model.inputs},
        scratch=case.store.scratch,
        log_path=case.log_path("run"),
        timeout_s=case.options.timeout_s,
        num_threads=case.num_threads,
    )
    ran_with = (*built.build.ran_with, digest)[-KEPT_DIGESTS:]
    builds.write_build(case.store, key, replace(built.build, ran_with=ran_with))


def load(case: Case, built: Built) -> Session:
    """Load an artifact in this process, where it has run in a child, and transform parameters."""
    from pytest_tvmtune.relax.session import claim_threads, open_session
    from pytest_tvmtune.relax.targets import device_of

    claim_threads(case.num_threads)
    entry = case.model.signature.entry
    return open_session(
        built.artifact.library,
        entry,
        built.artifact.manifest.entries[entry],
        params=case.model.params,
        inputs=case.model.inputs,
        device=device_of(case.target),
    )


def reference_outputs(case: Case, built: Built) -> Any:
    """Return the outputs of the untuned, unpacked build: what TVM computes by itself.

    None where that is the very library under test: comparing it with itself would show nothing.
    """
    reference = build(case, prepack=False, records={})
    if reference.artifact.sha256 == built.artifact.sha256:
        return None
    return _outputs(case, reference)


def counterpart_outputs(case: Case) -> Any:
    """Return the outputs with prepack the other way round, on what is in the store.

    Plain and prepacked modules have different workloads; nothing is tuned for this.
    """
    built, _ = build_tuned(case, prepack=not case.options.prepack)
    return _outputs(case, built)


def _outputs(case: Case, built: Built) -> Any:
    from pytest_tvmtune.relax.session import call

    return call(load(case, built))


def _task_result(task: Task, workload: Workload | None, built: Built) -> TaskResult:
    spent, valid = (workload.spent, workload.valid) if workload else (0, 0)
    cpu = fingerprint().cpu
    best = workload.best(cpu) if workload else None
    tuned = task.shash in built.build.applied
    return TaskResult(
        name=task.name,
        shash=task.shash,
        weight=task.weight,
        state="tuned" if tuned else "failed" if spent else "untuned",
        trials=spent,
        valid_trials=valid,
        best_s=best.mean_s if best else None,
        measured_on_other_cpu=bool(best and best.cpu != cpu),
        reason="" if tuned or workload is None else _why_untuned(workload),
    )


def _why_untuned(workload: Workload) -> str:
    if workload.refused and not workload.records:
        return workload.refused[-1].reason
    return next((line.reason for line in reversed(workload.served) if line.reason), "")


def _was_left_out(workloads: dict[str, Workload], task: Task) -> bool:
    """Whether requests were served without a trial for this task: too few for every task."""
    served = workloads[task.shash].served if task.shash in workloads else ()
    return bool(served) and not any(one.spent or one.reason for one in served)

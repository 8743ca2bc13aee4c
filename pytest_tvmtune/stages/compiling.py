"""Stages: compile with given records, load; from the store wherever it can."""

from __future__ import annotations

import contextlib
import secrets
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from pytest_tvmtune.core.errors import RecordsNotAppliedError, StoreError
from pytest_tvmtune.machine.fingerprint import fingerprint
from pytest_tvmtune.processes.run_job import run_job
from pytest_tvmtune.relax.compiling import adopt_job, compile_job, run_once_job
from pytest_tvmtune.relax.compiling.prepared_module import module_text
from pytest_tvmtune.relax.devices.machine import ThisMachine
from pytest_tvmtune.relax.devices.targets import device_kind
from pytest_tvmtune.relax.installation.toolchain_identity import toolchain_identity
from pytest_tvmtune.relax.measuring.session import claim_threads, open_session
from pytest_tvmtune.stages.case import Case, module_parts, running_parts
from pytest_tvmtune.stages.devices.device_job import run_device_job
from pytest_tvmtune.stages.devices.loaded_model import LoadedModel, ModelHere, ModelOnDevice
from pytest_tvmtune.stages.explaining.crashed_kernel import first_run, naming_the_kernel
from pytest_tvmtune.stages.job_context import entry_call, job_context
from pytest_tvmtune.stages.tuning_tasks import Records, extract_tasks
from pytest_tvmtune.store import artifacts, builds
from pytest_tvmtune.store.tuning.work_dirs import write_work_dir

KEPT_DIGESTS = 64


@dataclass(frozen=True, kw_only=True, eq=False)
class BuiltModel:
    """A compiled case: its artifact, how it came about, the build's key, and its tasks.

    compiled_s: how long this compilation took, in seconds; None where the store had the build.
    """

    artifact: artifacts.Artifact
    build: builds.Build
    key: str
    plan: builds.Plan
    compiled_s: float | None = None

    @property
    def library_compile_s(self) -> float | None:
        """How long compiling it took, whenever that was; None where the library came ready."""
        return self.build.compile_s or None


def build_untuned(case: Case) -> BuiltModel:
    """Return the model compiled without records, as `build` does."""
    return build(case, extract_tasks(case), {})


def build(case: Case, plan: builds.Plan, records: Records) -> BuiltModel:
    """Return the model compiled with these records and no others, from the store if it has it.

    Raises:
        CompileError: TVM refuses it, or leaves a record out.
        ChildError: It crashes or hangs, where it is compiled or where it is first run.
    """
    parts = {
        **module_parts(case),
        # The first run, in the child, is this entry's: another entry has to run there first too.
        "entry": case.model.signature.entry,
        "records": sorted((shash, record.digest) for shash, (_, record) in records.items()),
    }
    key = builds.key_of(parts)
    if (known := reuse_build(case, plan, key)) is not None:
        return known
    folder = case.store.scratch / f"build-{key[:16]}-{secrets.token_hex(4)}"
    try:
        with naming_the_kernel(case, folder / artifacts.LIBRARY):
            if case.model.library is None:
                made = _compile(case, plan, folder, records)
            else:
                made = _adopt(case, folder, case.model.library)
        artifact = artifacts.publish(case.store, folder / artifacts.LIBRARY, made.manifest)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    done = builds.Build(
        library=artifact.sha256,
        applied=made.applied,
        compile_s=made.compile_s,
        compiled_on=fingerprint().cpu,
        ran_with=(_run_digest(case),),
    )
    builds.write_build(case.store, key, done)
    return BuiltModel(artifact=artifact, build=done, key=key, plan=plan, compiled_s=done.compile_s)


def reuse_build(case: Case, plan: builds.Plan, key: str) -> BuiltModel | None:
    """Return what the store has of a build, None where it or its artifact is gone or damaged.

    It is run in a child first, unless it has run with the same data before.
    """
    known = builds.read_build(case.store, key)
    if known is None:
        return None
    try:
        artifact = artifacts.find(case.store, known.library)
    except StoreError:
        return None
    if case.model.library is None and not artifacts.has_kernels(artifact):
        return None  # it came with a baseline, or is damaged; compiling it again adds them
    return run_new_data_in_child(
        case, BuiltModel(artifact=artifact, build=known, key=key, plan=plan)
    )


def _compile(case: Case, plan: builds.Plan, folder: Path, records: Records) -> compile_job.Result:
    """Compile into `folder`, and run once, in a child; return what the job returns."""
    names = {task.name: task.shash for task in plan.tasks}
    write_work_dir(folder, [(workload, [record]) for workload, record in records.values()])
    context = job_context(case, "build")
    request = compile_job.Request(
        mod_text=module_text(case.model.mod),
        is_ready=case.model.is_ready,
        prepack=case.options.prepack,
        folder=folder,
        tasks={
            name: (shash, records[shash][1].digest if shash in records else "")
            for name, shash in names.items()
        },
        toolchain=toolchain_identity(case.store),
        compiler=case.remote.compiler if case.remote else "",
        call=entry_call(case),
    )
    made = run_job(compile_job.JOB, request, context)
    if case.remote is not None:
        first = first_run(case, folder / artifacts.LIBRARY, made.manifest)
        run_device_job(run_once_job.JOB, first, job_context(case, "run"))
    left_out = {
        shash: name
        for name, shash in names.items()
        if shash in records and shash not in made.applied
    }
    if left_out:
        raise RecordsNotAppliedError(
            f"the pipeline didn't apply the records of {', '.join(left_out.values())}; "
            f"log: {context.log_path}",
            shashes=tuple(left_out),
        )
    return made


def _adopt(case: Case, folder: Path, library: bytes) -> compile_job.Result:
    """Put a ready library into `folder`, and run it once in a child; return as `_compile`."""
    path = folder / artifacts.LIBRARY
    path.parent.mkdir(parents=True)
    path.write_bytes(library)
    request = adopt_job.Request(library=path, call=entry_call(case))
    manifest = run_device_job(adopt_job.JOB, request, job_context(case, "run")).manifest
    # The store may have built the very same library, and know more of it.
    with contextlib.suppress(StoreError):
        known = artifacts.find(case.store, case.model.mod_hash).manifest
        manifest = replace(known, entries={**manifest.entries, **known.entries})
    return compile_job.Result(manifest=manifest, applied=(), compile_s=0.0)


def run_new_data_in_child(case: Case, built: BuiltModel) -> BuiltModel:
    """Run a stored artifact in a child first, unless it has run so before; return what now has."""
    digest = _run_digest(case)
    if digest in built.build.ran_with:
        return built
    library, manifest = built.artifact.library, built.artifact.manifest
    with naming_the_kernel(case, library, manifest):
        request = first_run(case, library, manifest)
        run_device_job(run_once_job.JOB, request, job_context(case, "run"))
    ran_with = (*built.build.ran_with, digest)[-KEPT_DIGESTS:]
    done = replace(built.build, ran_with=ran_with)
    builds.write_build(case.store, built.key, done)
    return replace(built, build=done)


def _run_digest(case: Case) -> str:
    """Return what distinguishes first runs: data, CPU model, TVM, and the setup."""
    return builds.key_of([case.model.data_digest, case.machine.cpu, running_parts(case)])


def load(case: Case, built: BuiltModel) -> LoadedModel:
    """Load an artifact where it has run in a child, and transform parameters."""
    if case.remote is not None:
        return ModelOnDevice(case, built.artifact)
    claim_threads(case.num_threads)
    entry = case.model.signature.entry
    session = open_session(
        built.artifact.library,
        entry,
        built.artifact.manifest.entries[entry],
        params=case.model.params,
        inputs=case.model.inputs,
        machine=ThisMachine(device_kind(case.target)),
        scratch=case.store.scratch,
    )
    return ModelHere(session)

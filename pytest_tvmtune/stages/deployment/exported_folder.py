"""Stage: a built library becomes a folder that tvm and numpy alone can run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pytest_tvmtune.core.clock import now_s, utc_text
from pytest_tvmtune.core.error_text import cause_of
from pytest_tvmtune.core.errors import ExportError
from pytest_tvmtune.core.kernels.matching import task_name
from pytest_tvmtune.core.settings.target_spec import parse_target
from pytest_tvmtune.core.tensors.signature import Array, Signature, TensorSpec
from pytest_tvmtune.machine.fingerprint import installed_version
from pytest_tvmtune.processes.interpreters import script_command
from pytest_tvmtune.processes.job import JobContext
from pytest_tvmtune.processes.run_job import run_job
from pytest_tvmtune.relax.deploying import load_script, params_job
from pytest_tvmtune.relax.devices.targets import device_kind, resolve_target
from pytest_tvmtune.relax.measuring.session import EntryCall
from pytest_tvmtune.stages.case import Observer
from pytest_tvmtune.stages.stage_progress import under_way
from pytest_tvmtune.store.artifacts import LIBRARY, Artifact
from pytest_tvmtune.store.exported_folders import (
    PARAMS,
    SCRIPT,
    WORK_DIR,
    ExportedTask,
    ExportManifest,
    digests_of,
    replacing,
    write_export_manifest,
)
from pytest_tvmtune.store.locks import shared_cores
from pytest_tvmtune.store.tuning.records import Workload
from pytest_tvmtune.store.tuning.work_dirs import write_work_dir

_NOTHING = "nothing was exported"


@dataclass(frozen=True, kw_only=True, eq=False)
class ExportRequest:
    """What is exported, and where to.

    source: what it is, for the manifest. signature: of the model. call: with the parameters of the
    model, or with none where they aren't known. records: those that the library has applied, and
    the ledgers of its other tasks. trials, seconds: what tuning took now. context: of the job that
    calls the library. force, keep: as in `check_place`.
    """

    source: Mapping[str, str]
    artifact: Artifact
    signature: Signature
    call: EntryCall
    prepack: bool
    records: Sequence[tuple[str, Workload]]
    trials: int = 0
    seconds: Mapping[str, float]
    context: JobContext
    folder: Path
    force: bool
    keep: Sequence[Path]

    @property
    def has_params(self) -> bool:
        """Whether the parameters of the model are known."""
        return len(self.call.params) == len(self.signature.params)


def export_folder(request: ExportRequest, on_progress: Observer | None) -> ExportManifest:
    """Write the folder, run its `load.py` in a new process, and only then put it in its place.

    Args:
        request: What is exported.
        on_progress: Is called with how it goes on.

    Raises:
        ExportError: The exported folder doesn't run, or returns other outputs.
        ChildError: The library crashes.
        StoreError: The folder can't be written.
    """
    with replacing(request.folder, force=request.force, keep=request.keep) as made:
        shutil.copyfile(request.artifact.library, made / LIBRARY)
        shutil.copyfile(load_script.__file__, made / SCRIPT)
        pairs = [(one, one.records) for _, one in request.records if one.records]
        write_work_dir(made / WORK_DIR, pairs)
        called = _call(request, made) if request.has_params else None
        manifest = _manifest(request, made, called)
        write_export_manifest(made, manifest)
        with under_way(on_progress, request.folder.name, "running load.py in a new process"):
            _check(request, made, called)
    return manifest


def _call(request: ExportRequest, made: Path) -> params_job.Result:
    asked = params_job.Request(
        library=made / LIBRARY,
        manifest=request.artifact.manifest,
        call=request.call,
        file=made / PARAMS,
    )
    return run_job(params_job.JOB, asked, request.context)


def _manifest(
    request: ExportRequest, made: Path, called: params_job.Result | None
) -> ExportManifest:
    artifact, signature = request.artifact.manifest, request.signature
    target = resolve_target(parse_target(request.call.target))
    outputs: tuple[TensorSpec, ...] = ()
    if called is not None:
        outputs = tuple(map(_spec, called.paths, called.outputs))
    return ExportManifest(
        source=request.source,
        entry=signature.entry,
        inputs=signature.inputs,
        params=() if called is None else called.params,
        original_params=signature.params,
        transforms=artifact.entries[signature.entry].transforms,
        outputs=outputs,
        target=json.loads(request.call.target),
        device=device_kind(target),
        num_threads=request.call.num_threads,
        prepack=request.prepack,
        tvm=artifact.tvm,
        tvm_ffi=artifact.tvm_ffi,
        tasks=tuple(_tasks(request)),
        trials=request.trials,
        seconds=request.seconds,
        created_at=utc_text(now_s()),
        plugin=installed_version("pytest-tvmtune"),
        files=digests_of(made),
    )


def _tasks(request: ExportRequest) -> Iterator[ExportedTask]:
    """Yield the tasks that the library's kernels come from, with the records that they have."""
    best = {one.shash: one.records[0].mean_s for _, one in request.records if one.records}
    kernels = request.artifact.manifest.kernels
    names = {kernel.shash: task_name(name) for name, kernel in kernels.items() if kernel.shash}
    for shash, name in sorted(names.items(), key=lambda pair: pair[1]):
        calls = sum(kernel.calls for kernel in kernels.values() if kernel.shash == shash)
        yield ExportedTask(name=name, shash=shash, calls=calls, best_s=best.get(shash))


def _spec(path: str, array: Array) -> TensorSpec:
    return TensorSpec(name=path, shape=array.shape, dtype=array.dtype.name)


def _check(request: ExportRequest, made: Path, called: params_job.Result | None) -> None:
    """Raise ExportError unless `load.py` runs, and returns the same bits, in a new process."""
    context = request.context
    # load.py sets the threads, unless something else does.
    environment = {key: text for key, text in os.environ.items() if key != "TVM_NUM_THREADS"}
    context.scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=context.scratch, prefix="export-") as name:
        folder = Path(name)
        files = [folder / f"input_{index}.npy" for index in range(len(request.call.inputs))]
        for path, array in zip(files, request.call.inputs, strict=True):
            np.save(path, array)
        command = script_command(made / SCRIPT, *map(str, files))
        try:
            with shared_cores():
                done = subprocess.run(
                    command,
                    cwd=folder,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    text=True,
                    errors="replace",
                    timeout=context.timeout_s,
                    check=False,
                )
        except subprocess.TimeoutExpired:
            raise ExportError(
                f"{SCRIPT} didn't end within {context.timeout_s:g} s; {_NOTHING}"
            ) from None
        if done.returncode:
            cause = cause_of(done.stderr.strip() or f"exit code {done.returncode}")
            raise ExportError(f"{SCRIPT} fails in a new process: {cause}; {_NOTHING}")
        if called is not None and files:
            _compare(folder, called)


def _compare(folder: Path, called: params_job.Result) -> None:
    for number, (path, want) in enumerate(zip(called.paths, called.outputs, strict=True)):
        got = np.load(folder / f"output_{number}.npy")
        if got.shape != want.shape or got.tobytes() != np.asarray(want, order="C").tobytes():
            raise ExportError(
                f"{path} of {SCRIPT} in a new process isn't what the library returned before; "
                f"{_NOTHING}"
            )

"""Job: compile a module and run it once.

Compiling goes through the stock `static_shape_tuning_pipeline(total_trials=0)`, so tests run the
same build that users deploy.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pytest_tvmtune.core.clock import monotonic_s
from pytest_tvmtune.core.error_text import cause_of
from pytest_tvmtune.core.errors import CompileError
from pytest_tvmtune.core.job_stage import WAITING, JobStage
from pytest_tvmtune.machine.installed_tvm import package_version
from pytest_tvmtune.processes.job import Job, WorkerContext
from pytest_tvmtune.relax import compat
from pytest_tvmtune.relax.compiling.entry_points import entry_points
from pytest_tvmtune.relax.compiling.kernel_descriptions import (
    apply_pipeline,
    compile_module,
    describe,
    write_kernels,
)
from pytest_tvmtune.relax.compiling.known_faults import explained
from pytest_tvmtune.relax.compiling.run_once_job import run_new_library
from pytest_tvmtune.relax.devices.cross_compiler import export_library
from pytest_tvmtune.relax.measuring.session import EntryCall
from pytest_tvmtune.relax.tuning.intrinsics import import_intrinsics_of_records
from pytest_tvmtune.store.artifacts import KERNELS, LIBRARY, Manifest
from pytest_tvmtune.store.locks import shared_cores

PIPELINE = "static_shape_tuning_pipeline"


@dataclass(frozen=True, kw_only=True, eq=False)
class Request:
    """A module, what is made of it, and how that is run once.

    mod_text: in TVM's JSON. is_ready: the module went through the user's own pipeline instead of
    the stock pipeline. folder: the work_dir with the records to apply, and no others; the job puts
    the library and its kernels' IR there. tasks: name -> hash, and the digest of its record there,
    or "" without a record. toolchain: for the manifest. compiler: links the library, "" for this
    machine's own. call: its target is the compilation target.
    """

    mod_text: str
    is_ready: bool
    prepack: bool
    folder: Path
    tasks: dict[str, tuple[str, str]]
    toolchain: str
    compiler: str
    call: EntryCall


@dataclass(frozen=True, kw_only=True)
class Result:
    """What is known of the library; applied: the hashes whose record was."""

    manifest: Manifest
    applied: tuple[str, ...]
    compile_s: float


def run(request: Request, context: WorkerContext[None]) -> Result:
    """Compile the module, export it, and run the entry once.

    Args:
        request: The module.
        context: Of this process.

    Returns:
        What is known of the library.

    Raises:
        CompileError: TVM refuses the module.

    """
    from tvm import relax

    target = compat.Target(request.call.target)
    mod = compat.load_json(request.mod_text)
    import_intrinsics_of_records(request.folder, str(target.kind.name))
    pipeline = relax.pipeline.static_shape_tuning_pipeline(
        total_trials=0,
        target=target,
        work_dir=str(request.folder),
        cpu_weight_prepack=request.prepack,
    )
    library = request.folder / LIBRARY
    context.enter_stage(WAITING)
    with shared_cores():
        started = monotonic_s()
        try:
            context.enter_stage(JobStage("applying the tuning records"))
            lowered, unscheduled = (mod, {}) if request.is_ready else apply_pipeline(pipeline, mod)
            context.enter_stage(JobStage("compiling"))
            executable, compiled, planned = compile_module(lowered, target)
            context.enter_stage(JobStage("exporting the library"))
            export_library(executable, library, request.compiler)
            write_kernels(compiled, request.folder / KERNELS)
        except Exception as error:
            cause = explained(cause_of(error), prepack=request.prepack)
            raise CompileError(f"TVM can't compile the model: {cause}") from error
        compile_s = monotonic_s() - started
    kernels = describe(compiled, request.tasks, unscheduled)
    manifest = Manifest(
        target=request.call.target,
        tvm=package_version("tvm"),
        tvm_ffi=package_version("tvm_ffi"),
        toolchain=request.toolchain,
        entries=entry_points(lowered, compiled, planned),
        kernels=kernels,
    )
    # On a device it is run by a job that can be repeated where the device is lost.
    if request.call.remote is None:
        run_new_library(request.call, library, manifest, context)
    applied = sorted({kernel.shash for kernel in kernels.values() if kernel.record})
    return Result(manifest=manifest, applied=tuple(applied), compile_s=compile_s)


JOB = Job(run=run)

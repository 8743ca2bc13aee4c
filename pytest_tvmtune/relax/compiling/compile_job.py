"""Jobs that run in a child: find a module's tasks, compile it and run it once.

Compiling goes through the stock `static_shape_tuning_pipeline(total_trials=0)`, so that what is
tested is what users deploy.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_tvmtune.core.clock import monotonic_s
from pytest_tvmtune.core.error_text import cause_of
from pytest_tvmtune.core.errors import CompileError, ModelError
from pytest_tvmtune.machine.fingerprint import installed_version
from pytest_tvmtune.processes.worker import WAITING, enter_stage
from pytest_tvmtune.relax.compiling.kernel_descriptions import (
    compile_module,
    describe,
    write_kernels,
)
from pytest_tvmtune.relax.compiling.known_faults import explained
from pytest_tvmtune.relax.compiling.prepared_module import extract, prepare
from pytest_tvmtune.relax.compiling.workspace_memory import peak_bytes
from pytest_tvmtune.relax.model import spec_of_type
from pytest_tvmtune.store.artifacts import MANIFEST, EntryPoint, Manifest
from pytest_tvmtune.store.locks import shared_cores
from pytest_tvmtune.store.tuning.work_dirs import RECORDS_FILE

if TYPE_CHECKING:
    from tvm.ir import IRModule

PIPELINE = "static_shape_tuning_pipeline"
FIRST_RUN = "running it for the first time with these inputs"
IN_KERNEL = "in kernel "


def module_text(mod: IRModule) -> str:
    """Return the module as JSON, for a child to load."""
    import tvm

    return str(tvm.ir.save_json(mod))


def plan(request: dict[str, Any]) -> list[dict[str, Any]]:
    """Job: return the tasks (as dicts) of `mod_text` on `target`, prepacked or not."""
    import tvm

    enter_stage(request["folder"], "preparing the module")
    mod = tvm.ir.load_json(request["mod_text"])
    target = tvm.target.Target(request["target"])
    prepared = prepare(mod, target, prepack=request["prepack"])
    return [asdict(task) for task, _ in extract(prepared, target)]


def build(request: dict[str, Any]) -> dict[str, Any]:
    """Job: compile `mod_text`, export it to `library`, run `entry` once.

    request: mod_text, is_ready (it went through the user's own pipeline instead of the stock one),
    target, prepack, work_dir (the records to apply, and no others), tasks (name -> hash and digest
    of its record there, "" without one), entry, library, toolchain (for the manifest), kernels (the
    file for their IR), params and inputs.
    Returns the manifest's JSON, the hashes whose record was applied, and seconds spent.
    Raises CompileError when TVM refuses the module.
    """
    import tvm
    from tvm import relax

    folder: Path = request["folder"]
    target = tvm.target.Target(request["target"])
    mod = tvm.ir.load_json(request["mod_text"])
    import_intrinsics_if_needed(Path(request["work_dir"]), target)
    pipeline = relax.pipeline.static_shape_tuning_pipeline(
        total_trials=0,
        target=target,
        work_dir=str(request["work_dir"]),
        cpu_weight_prepack=request["prepack"],
    )
    enter_stage(folder, WAITING)
    with shared_cores():
        started = monotonic_s()
        try:
            enter_stage(folder, "applying the tuning records")
            lowered = mod if request["is_ready"] else pipeline(mod)
            enter_stage(folder, "compiling")
            executable, compiled, planned = compile_module(lowered, target)
            enter_stage(folder, "exporting the library")
            executable.export_library(str(request["library"]))
            write_kernels(compiled, Path(request["kernels"]))
        except Exception as error:
            cause = explained(cause_of(error), prepack=request["prepack"])
            raise CompileError(f"TVM can't compile it: {cause}") from error
        compile_s = monotonic_s() - started
    kernels = describe(compiled, request["tasks"])
    manifest = Manifest(
        target=request["target"],
        tvm=installed_version("apache-tvm"),
        tvm_ffi=installed_version("apache-tvm-ffi"),
        toolchain=request["toolchain"],
        entries=_entry_points(lowered, planned),
        kernels=kernels,
    )
    _run_what_was_made(request, manifest)
    applied = sorted({kernel.shash for kernel in kernels.values() if kernel.record})
    return {"manifest": manifest.to_json(), "applied": applied, "compile_s": compile_s}


def adopt(request: dict[str, Any]) -> dict[str, Any]:
    """Job: take in `library`, compiled by somebody else, and run `entry` once; return as `build`.

    Raises CompileError when it holds no such entry of a Relax VM.
    """
    import tvm
    from tvm import relax

    from pytest_tvmtune.relax.devices.targets import device_of

    enter_stage(request["folder"], "loading the library")
    entry, device = request["entry"], device_of(tvm.target.Target(request["target"]))
    try:
        vm = relax.VirtualMachine(tvm.runtime.load_module(str(request["library"])), device)
    except Exception as error:
        raise CompileError(f"it isn't a library of the Relax VM: {cause_of(error)}") from error
    if not _has_function(vm, entry):
        raise CompileError(f"the library has no entry {entry!r}; say which: entry=...")
    transforms = _has_function(vm, f"{entry}_transform_params")
    manifest = Manifest(
        target=request["target"],
        tvm=installed_version("apache-tvm"),
        tvm_ffi=installed_version("apache-tvm-ffi"),
        entries={entry: EntryPoint(arguments=None, transforms=transforms)},
    )
    _run_what_was_made(request, manifest)
    return {"manifest": manifest.to_json(), "applied": [], "compile_s": 0.0}


def _has_function(vm: Any, name: str) -> bool:
    try:
        vm[name]
    except (AttributeError, ValueError):
        return False
    return True


def run_once(request: dict[str, Any]) -> None:
    """Job: load `library` and run `entry` with params and inputs, as nobody has before.

    Data can crash a library that ran well with other data, through an index out of bounds, say.
    """
    from pytest_tvmtune.relax.measuring.session import call, open_requested

    enter_stage(request["folder"], FIRST_RUN)
    call(open_requested(request, request))


def run_watched(request: dict[str, Any]) -> None:
    """Job: do as `run_once`, in a stage of its own for each kernel: `IN_KERNEL` and its name.

    So whoever waits for a run that crashes knows in which.
    """
    from pytest_tvmtune.relax.measuring.session import call, open_requested

    folder: Path = request["folder"]

    def instrument(_function: Any, name: str, before: bool, _ret: Any, *_arguments: Any) -> int:
        enter_stage(folder, f"{IN_KERNEL}{name}" if before else FIRST_RUN)
        return 0

    enter_stage(folder, FIRST_RUN)
    call(open_requested(request, request, instrument=instrument))


def _run_what_was_made(request: dict[str, Any], manifest: Manifest) -> None:
    """Run a library once. Its manifest is left with it, for whoever looks into a crash."""
    described = manifest.to_json()
    Path(request["library"]).with_name(MANIFEST).write_text(json.dumps(described))
    run_once({**request, "manifest": described})


def _entry_points(lowered: IRModule, planned: IRModule) -> dict[str, EntryPoint]:
    from tvm import relax

    functions = {
        str(var.name_hint): function
        for var, function in lowered.functions_items()
        if isinstance(function, relax.Function)
    }
    entries = {}
    for name, function in functions.items():
        if (
            name.endswith("_transform_params")
            and name.removesuffix("_transform_params") in functions
        ):
            continue
        try:
            arguments = tuple(spec_of_type(str(p.name), p.ty, name) for p in function.params)
        except (ModelError, AttributeError):
            continue  # it takes more than static tensors, so no test can call it
        entries[name] = EntryPoint(
            arguments=arguments,
            transforms=f"{name}_transform_params" in functions,
            workspace_bytes=peak_bytes(planned, name),
        )
    return entries


def import_intrinsics_if_needed(work_dir: Path, target: Any) -> None:
    """Register tensor intrinsics where a record's trace uses one.

    Without them the whole pipeline raises; importing them always would cost seconds.
    """
    records = work_dir / RECORDS_FILE
    if any("Tensorize" in json.dumps(json.loads(line)[1][0]) for line in records.open()):
        from pytest_tvmtune.relax.tuning.intrinsics import import_intrinsics

        import_intrinsics(str(target.kind.name))

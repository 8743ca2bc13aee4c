"""A case: one model on one target, with everything its stages need."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_tvmtune.core.clock import now_s
from pytest_tvmtune.core.results.case_label import label_of
from pytest_tvmtune.core.results.progress import StageProgress, TuningProgress
from pytest_tvmtune.core.settings.options import CaseOptions
from pytest_tvmtune.machine.fingerprint import Fingerprint, fingerprint
from pytest_tvmtune.machine.installed_tvm import package_version
from pytest_tvmtune.machine.remote_device import RemoteDevice
from pytest_tvmtune.relax.compiling.compile_job import PIPELINE
from pytest_tvmtune.relax.compiling.user_pipeline import apply_user_pipeline
from pytest_tvmtune.relax.devices.cross_compiler import compiler_identity
from pytest_tvmtune.relax.devices.targets import canonical, num_cores, resolve_target
from pytest_tvmtune.relax.installation.toolchain_identity import setup_identity, toolchain_identity
from pytest_tvmtune.relax.model import with_shared_params
from pytest_tvmtune.stages.case_logs import CaseLogs, LogStage, logs_of
from pytest_tvmtune.stages.devices.known_devices import known_device
from pytest_tvmtune.store.layout import Store
from pytest_tvmtune.store.tuning.records import target_key

if TYPE_CHECKING:
    from tvm.target import Target

    from pytest_tvmtune.relax.model import Model


Observer = Callable[[TuningProgress | StageProgress], None]


@dataclass(frozen=True, kw_only=True)
class RunContext:
    """What all cases of one run share.

    on_progress: is called with how a case goes on, from any thread. started_s: when the session
    began, in seconds since 1970, the same on every xdist worker; `refresh` doesn't tune tasks that
    were tuned since then.
    gated_items: how many of the session's test items may gate, the same on every worker.
    """

    store: Store
    on_progress: Observer | None = None
    started_s: float = field(default_factory=now_s)
    gated_items: int = 1


@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """One model on one target, with its test's options: stages take it, and leave it unchanged.

    name: what reports and its baseline call it. nodeid: of its test. params: the user's own
    parametrization ids. label: its name in messages, `mlp[llvm-prepack]`. logs: where its child
    processes print to. machine: where the model runs, and the versions that compile it; remote: the
    same, where it is a device behind TVM RPC.
    """

    model: Model
    options: CaseOptions
    target: Target
    target_json: str
    num_threads: int
    run_context: RunContext
    name: str
    nodeid: str
    params: str
    label: str
    logs: CaseLogs
    machine: Fingerprint
    remote: RemoteDevice | None

    @property
    def store(self) -> Store:
        """The store of this run."""
        return self.run_context.store

    def log_path(self, stage: LogStage) -> Path:
        """Return where the children of a stage print to."""
        return self.logs.path(stage)


def open_case(
    model: Model,
    options: CaseOptions,
    run_context: RunContext,
    *,
    name: str,
    nodeid: str,
    params: str = "",
    pipeline: Any = None,
) -> Case:
    """Return a case that has not begun.

    Args:
        model: As it was given or imported.
        options: One target, prepacked or not, and how to tune, compare and gate.
        run_context: What it shares with the other cases of the run.
        name: What reports and its baseline call it.
        nodeid: The id of its test.
        params: The user's own parametrization ids.
        pipeline: The user's own passes, instead of tuning and the stock pipeline.

    Raises:
        OptionError: The target is none that TVM knows.
        LackingError: There is no compiler for the device.
        DeviceError: The device can't be had.
        ModelError: The pipeline fails.
    """
    remote = known_device(options, run_context.store) if options.rpc else None
    machine = remote.fingerprint if remote else fingerprint()
    target = resolve_target(options.target, cores=machine.usable_cores)
    model = with_shared_params(model, run_context.store.scratch)
    if pipeline is not None:
        model = apply_user_pipeline(model, pipeline, target)
    label = label_of(name, options.target.name, prepack=options.prepack, params=params)
    return Case(
        model=model,
        options=options,
        target=target,
        target_json=canonical(target),
        num_threads=options.num_threads or num_cores(target),
        run_context=run_context,
        name=name,
        nodeid=nodeid,
        params=params,
        label=label,
        logs=logs_of(run_context.store, label, nodeid),
        machine=machine,
        remote=remote,
    )


def with_prepack(case: Case, *, prepack: bool) -> Case:
    """Return a case with this choice of prepack, under the name that it has."""
    return replace(case, options=replace(case.options, prepack=prepack))


def module_parts(case: Case) -> dict[str, Any]:
    """Return what a prepared or compiled module depends on, records aside."""
    return {
        "module": case.model.mod_hash,
        "target": tuning_key(case),
        "prepack": case.options.prepack,
        **toolchain_parts(case),
        **({"compiler": compiler_identity(case.remote.compiler)} if case.remote else {}),
        # What the user's own pipeline did is in the module's hash.
        "pipeline": "" if case.model.is_ready else PIPELINE,
    }


def toolchain_parts(case: Case) -> dict[str, Any]:
    """Return what of the installation compiling and running depends on, by content."""
    return {
        "toolchain": toolchain_identity(case.store),
        "setup": setup_identity(case.store),
    }


def running_parts(case: Case) -> dict[str, Any]:
    """Return what running depends on: `toolchain_parts`, and the libraries of a device."""
    device = {"device": case.remote.libraries} if case.remote else {}
    return {**toolchain_parts(case), **device}


def tuning_key(case: Case) -> str:
    """Return the store's folder for this case's target: canonical, without num-cores."""
    return target_key(case.target_json, package_version("tvm"))

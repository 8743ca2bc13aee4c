"""A model file tuned, built, and exported: the stages in order, without a test."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_tvmtune.core.comparing.tolerances import ComparisonOptions
from pytest_tvmtune.core.errors import ExportError
from pytest_tvmtune.core.gating.case_identity import Identity
from pytest_tvmtune.core.results.case_label import label_of
from pytest_tvmtune.core.settings.dimension_sizes import unset_sentence
from pytest_tvmtune.core.settings.model_file_patterns import case_name, sidecar_path
from pytest_tvmtune.core.settings.options import CaseOptions, resolve_run
from pytest_tvmtune.core.settings.parsing import PREPACK, first_set
from pytest_tvmtune.core.settings.sidecar import Sidecar
from pytest_tvmtune.core.settings.target_spec import TargetSpec
from pytest_tvmtune.relax.devices.targets import usable_target
from pytest_tvmtune.stages.baseline_proposal import applied_records
from pytest_tvmtune.stages.case import Case, Observer, RunContext, open_case
from pytest_tvmtune.stages.case_logs import logs_of
from pytest_tvmtune.stages.case_run import CaseRun, begin
from pytest_tvmtune.stages.deployment.exported_folder import ExportRequest, export_folder
from pytest_tvmtune.stages.deployment.outside_pytest import (
    open_model_file,
    ready_store,
    sidecar_of,
)
from pytest_tvmtune.stages.job_context import entry_call, job_context
from pytest_tvmtune.stages.pipeline import check_outputs, tune_and_build
from pytest_tvmtune.stages.stage_progress import under_way
from pytest_tvmtune.stages.tuned_build import load_and_call
from pytest_tvmtune.stages.tuning_tasks import untuned_sentence
from pytest_tvmtune.store.artifacts import sha256_of
from pytest_tvmtune.store.error_logs import errors_logged
from pytest_tvmtune.store.exported_folders import ExportManifest, check_place

# What the sidecar of a test says of its model and of tuning. The target is the command's own, and
# the rest is for checks.
_FROM_SIDECAR = (
    "trials", "max_trials_per_task", "max_tuning_time", "prepack", "dims", "seed", "num_threads",
    "timeout",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class TuneRequest:
    """What is tuned, and where it is exported to.

    model: a file. settings: parsed values by the names of their settings, which take precedence
    over those in the sidecar. store: the folder of the store. force: as in `check_place`.
    """

    model: Path
    target: TargetSpec
    settings: Mapping[str, Any]
    store: Path
    folder: Path
    force: bool


def tune_and_export(
    request: TuneRequest, on_progress: Observer, warn: Callable[[str], None]
) -> ExportManifest:
    """Tune what is missing of a model file, build it, and export it.

    Args:
        request: The model and the folder.
        on_progress: Is called with how it goes on.
        warn: Is called with each warning.

    Returns:
        The manifest of the exported folder.

    Raises:
        TvmTuneError: The model can't be opened, tuned, built, or run, its outputs differ from those
            of the untuned build, or the folder can't be written. Then the folder stays as it is.
    """
    keep = (request.store, request.model)
    check_place(request.folder, force=request.force, keep=keep)
    file_sha256 = sha256_of(request.model)
    sidecar = sidecar_of(request.model)
    options = _options(request, sidecar)
    tuning = options.trials > 0 and options.tuning != "never"
    store, warning = ready_store(request.store, tuning=tuning)
    if warning:
        warn(warning)
    usable_target(options.target)
    context = RunContext(store=store, on_progress=on_progress)
    run = _begin(request, sidecar, options, context, warn)
    tune_and_build(run)
    case, result = run.case, run.result
    run.loaded, run.outputs = load_and_call(case, run.built)
    if wrong := check_outputs(run, expected=None, comparison=ComparisonOptions()):
        raise ExportError(wrong[0])
    for text in filter(None, (*result.warnings, untuned_sentence(case, result.tasks))):
        warn(text)
    seconds = {"tuning": result.tuning_s, "compiling": run.built.compiled_s or 0.0}
    exported = ExportRequest(
        source={
            "model": str(request.model),
            "sha256": file_sha256,
            "params_sha256": case.model.params_digest,
        },
        artifact=run.built.artifact,
        signature=case.model.signature,
        call=entry_call(case),
        prepack=case.options.prepack,
        records=applied_records(case, run.built),
        trials=result.trials_spent,
        seconds=seconds,
        context=job_context(case, "run"),
        folder=request.folder,
        force=request.force,
        keep=keep,
    )
    return export_folder(exported, on_progress)


def _options(request: TuneRequest, sidecar: Sidecar) -> CaseOptions:
    from_sidecar = {name: sidecar.options.get(name) for name in _FROM_SIDECAR}
    layer = {**from_sidecar, **request.settings}
    layer["dims"] = {**(from_sidecar["dims"] or {}), **request.settings.get("dims", {})}
    run_options = resolve_run(request.settings, store_dir=request.store)
    # "both" is for tests: a folder has one library.
    prepack = first_set(PREPACK, [layer]) == "on"
    return run_options.case_options(layer, target=request.target, prepack=prepack)


def _begin(
    request: TuneRequest,
    sidecar: Sidecar,
    options: CaseOptions,
    context: RunContext,
    warn: Callable[[str], None],
) -> CaseRun:
    path, name = request.model, case_name(request.model.absolute())
    label = label_of(name, options.target.name, prepack=options.prepack)
    nodeid = str(path)
    logs = logs_of(context.store, label, nodeid)
    with (
        errors_logged(lambda: logs.path("import")),
        under_way(context.on_progress, label, "opening the model"),
    ):
        model = open_model_file(path, sidecar, options.dims, seed=options.seed)
    if doubt := unset_sentence(model.dynamic, str(sidecar_path(path))):
        warn(doubt)
    case = open_case(model, options, context, name=name, nodeid=nodeid)
    return begin(
        case,
        identity=_identity(case, path),
        run_options=resolve_run(store_dir=context.store.root),
        golden_folder=path.parent,
        show_warning=warn,
    )


def _identity(case: Case, path: Path) -> Identity:
    """Return the identity of the baseline whose records are used where the store lost its own."""
    return Identity(
        path=path.as_posix(),
        cls="",
        function="",
        params="",
        name=case.name,
        entry=case.model.signature.entry,
        target_name=case.options.target.name,
        prepack=case.options.prepack,
    )

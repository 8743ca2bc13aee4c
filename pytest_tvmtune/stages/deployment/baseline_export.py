"""An accepted baseline exported: the library that was tested, byte for byte."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pytest_tvmtune.core.errors import ExportError
from pytest_tvmtune.core.gating.accepted_baseline import Baseline
from pytest_tvmtune.core.settings.dimension_sizes import Dims
from pytest_tvmtune.core.settings.model_file_patterns import SUFFIX
from pytest_tvmtune.core.settings.parsing import SEED, TIMEOUT, first_set
from pytest_tvmtune.core.tensors.dtypes import dtype_of
from pytest_tvmtune.core.tensors.signature import Array, Signature
from pytest_tvmtune.machine.fingerprint import installed_version
from pytest_tvmtune.processes.job import JobContext
from pytest_tvmtune.relax.measuring.session import EntryCall
from pytest_tvmtune.relax.model import Model
from pytest_tvmtune.stages.deployment.exported_folder import ExportRequest, export_folder
from pytest_tvmtune.stages.deployment.outside_pytest import (
    open_model_file,
    ready_store,
    sidecar_of,
)
from pytest_tvmtune.store import artifacts
from pytest_tvmtune.store.accepted.baseline_files import read_records
from pytest_tvmtune.store.exported_folders import ExportManifest, check_place
from pytest_tvmtune.store.layout import Store


@dataclass(frozen=True, kw_only=True)
class BaselineExport:
    """Which baseline is exported, and where to.

    model: the file that its parameters are in, None to look for it. dims: sizes of dimensions of
    that model. force: as in `check_place`.
    """

    baseline: Baseline
    model: Path | None
    dims: Mapping[str, int]
    folder: Path
    force: bool


def export_baseline(
    store: Store, request: BaselineExport, warn: Callable[[str], None]
) -> ExportManifest:
    """Export the artifact of a baseline, with the parameters of its model if they are known.

    Args:
        store: Where the baseline is.
        request: The baseline and the folder.
        warn: Is called with each warning.

    Raises:
        ExportError: The file of the model isn't the baseline's model, or the folder doesn't run.
        StoreError: The artifact is missing, or the folder can't be written.
        TvmTuneError: The model can't be opened, or the library crashes.
    """
    baseline = request.baseline
    keep = (store.root, *([request.model] if request.model else []))
    check_place(request.folder, force=request.force, keep=keep)
    artifact = artifacts.find(store, baseline.artifact)
    here = installed_version("apache-tvm")
    if artifact.manifest.tvm != here:
        warn(
            f"the baseline was built with apache-tvm {artifact.manifest.tvm}, and the folder is "
            f"checked with {here}"
        )
    store, warning = ready_store(store.root, tuning=False)
    if warning:
        warn(warning)
    signature = Signature.of_json(baseline.signature)
    params: tuple[Array, ...] = ()
    inputs = tuple(np.zeros(one.shape, dtype_of(one.dtype)) for one in signature.inputs)
    timeout_s = first_set(TIMEOUT, ())
    if signature.params:
        path = request.model or _model_file(store, baseline)
        if path is None:
            warn(
                "the store doesn't keep parameters, so the folder has none; give the file of the "
                "model with --model, or call load(folder, params) of load.py"
            )
        else:
            model = _opened(request, path, signature, warn)
            params, inputs = model.params, model.inputs
            timeout_s = first_set(TIMEOUT, [sidecar_of(path).options])
    exported = ExportRequest(
        source={"baseline": baseline.identity.file_name, "accepted_at": baseline.accepted_at},
        artifact=artifact,
        signature=signature,
        call=EntryCall(
            entry=signature.entry,
            target=baseline.target,
            params=params,
            inputs=inputs,
            num_threads=baseline.num_threads,
        ),
        prepack=baseline.identity.prepack,
        records=read_records(store, baseline.identity),
        seconds={},
        context=JobContext(
            scratch=store.scratch,
            log_path=store.logs / "export.log",
            timeout_s=timeout_s,
            num_threads=baseline.num_threads,
        ),
        folder=request.folder,
        force=request.force,
        keep=keep,
    )
    return export_folder(exported, None)


def _model_file(store: Store, baseline: Baseline) -> Path | None:
    """Return the file of a test that is itself a model file, None where it isn't there."""
    identity = baseline.identity
    if identity.function or not identity.path.endswith(SUFFIX):
        return None
    # The store is in the rootdir, unless an option puts it elsewhere.
    found = (folder / identity.path for folder in (store.root.parent, Path.cwd()))
    return next((path for path in found if path.is_file()), None)


def _opened(
    request: BaselineExport, path: Path, signature: Signature, warn: Callable[[str], None]
) -> Model:
    baseline, sidecar = request.baseline, sidecar_of(path)
    sizes = {**sidecar.options.get("dims", {}), **request.dims}
    model = open_model_file(
        path,
        sidecar,
        Dims(sizes=sizes, own=frozenset(sizes)),
        seed=first_set(SEED, [sidecar.options]),
    )
    if (found := model.signature) != signature:
        differing = [
            f"{one} instead of {other}"
            for one, other in zip(
                (*found.inputs, *found.params), (*signature.inputs, *signature.params), strict=False
            )
            if one != other
        ]
        raise ExportError(
            f"{path} isn't the model of this baseline: it has "
            f"{differing[0] if differing else 'other inputs or parameters'}; give its file with "
            "--model, and the sizes of dynamic dimensions with --dim NAME=SIZE"
        )
    if not baseline.params_sha256:
        warn(
            f"the baseline has no digest of its parameters, so those of {path} are only known to "
            "have the same names, shapes, and types"
        )
    elif model.params_digest != baseline.params_sha256:
        raise ExportError(
            f"the parameters in {path} aren't those that the baseline was accepted with; give the "
            "file as it was then, or accept the model again with --tvm-update"
        )
    return model

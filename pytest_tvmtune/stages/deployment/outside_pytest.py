"""What a command or a script needs before it opens a model, as pytest's start has it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pytest_tvmtune.core.errors import OptionError
from pytest_tvmtune.core.settings.dimension_sizes import Dims
from pytest_tvmtune.core.settings.model_file_patterns import SUFFIX, case_name, sidecar_path
from pytest_tvmtune.core.settings.sidecar import Sidecar
from pytest_tvmtune.relax.importing import open_model
from pytest_tvmtune.relax.installation.startup_check import check_imports, check_installation
from pytest_tvmtune.relax.model import Model
from pytest_tvmtune.store.layout import Store, open_store, sweep_scratch
from pytest_tvmtune.store.model_files import own_data_sets, read_sidecar


def ready_store(root: Path, *, tuning: bool) -> tuple[Store, str]:
    """Return the store, and a warning or "", once it is known that this machine can do the work.

    tuning: whether anything may be tuned.
    Raises StoreError, and EnvironmentProblemError.
    """
    store = open_store(root.resolve())
    sweep_scratch(store)
    warning = check_installation(store, tuning=tuning)
    check_imports()
    return store, warning


def sidecar_of(model: Path) -> Sidecar:
    """Return the settings in the sidecar of a model file. Raises OptionError, naming the file."""
    try:
        return read_sidecar(model)
    except OptionError as error:
        raise OptionError(f"{sidecar_path(model)}: {error}") from None


def open_model_file(path: Path, sidecar: Sidecar, dims: Dims, *, seed: int, **source: Any) -> Model:
    """Return the model in a file, with the shapes and inputs that its test has.

    source: more arguments of `open_model`.
    Raises ModelError.
    """
    inputs: Any = sidecar.inputs
    if inputs is None and path.suffix == SUFFIX:
        inputs = next(iter(own_data_sets(path, sidecar)), None)
    return open_model(
        path,
        name=case_name(path.absolute()),
        shapes=sidecar.shapes,
        inputs=inputs,
        seed=seed,
        dims=dims,
        **source,
    )

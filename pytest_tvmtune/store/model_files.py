"""The files that belong to a model file: its sidecar, and ONNX test data."""

from __future__ import annotations

import re
from pathlib import Path

from pytest_tvmtune.core.errors import OptionError
from pytest_tvmtune.core.settings.model_file_patterns import SIDECAR_SUFFIX, SUFFIX, sidecar_path
from pytest_tvmtune.core.settings.sidecar import DATA_SETS, Sidecar, parse_sidecar

_DATA_SET = re.compile(r"test_data_set_(\d+)")


def read_sidecar(model: Path) -> Sidecar:
    """Return the settings in the sidecar of a model file; empty without a sidecar.

    Raises:
        OptionError: The sidecar can't be read, or a key or a value isn't accepted.
    """
    path = sidecar_path(model)
    sidecar = _read(path)
    misnamed = model.with_name(model.name + SIDECAR_SUFFIX)
    if misnamed.exists():
        raise OptionError(f"{misnamed.name} isn't read; rename it to {path.name}")
    for name, value in (sidecar.inputs or {}).items():
        if isinstance(value, Path) and not value.is_file():
            raise OptionError(f"inputs.{name}: no such file: {value}")
    return sidecar


def _read(path: Path) -> Sidecar:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Sidecar()
    except (OSError, ValueError) as error:
        raise OptionError(f"can't be read: {error}") from None
    return parse_sidecar(text, path.parent)


def data_sets(folder: Path) -> list[Path]:
    """Return a folder's `test_data_set_N`, in order of their numbers."""
    numbered = ((_DATA_SET.fullmatch(one.name), one) for one in folder.iterdir() if one.is_dir())
    return [one for _, one in sorted((int(match[1]), one) for match, one in numbered if match)]


def own_data_sets(model: Path, sidecar: Sidecar) -> list[Path]:
    """Return the data sets of a model, none if they can belong to another model."""
    alone = model.name == f"model{SUFFIX}" or len(list(model.parent.glob(f"*{SUFFIX}"))) == 1
    return data_sets(model.parent) if alone or sidecar.expected == DATA_SETS else []

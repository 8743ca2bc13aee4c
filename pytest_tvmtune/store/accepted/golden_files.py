"""Golden outputs in a compressed .npz file: one .npy an output, never a pickle, and golden.json.

`numpy.load(path)["output[1]"]` shows an output; one of ml_dtypes' types is kept as unsigned
integers of the same bits, and golden.json names its type.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from pytest_tvmtune.core.comparing.golden_outputs import Golden
from pytest_tvmtune.core.errors import GoldenError
from pytest_tvmtune.core.json_codec import Count, Sha256, from_json_values, to_json_values
from pytest_tvmtune.core.tensors.dtypes import from_plain, to_plain
from pytest_tvmtune.core.tensors.signature import Array
from pytest_tvmtune.store.atomic_files import load_json, write_bytes

_SCHEMA: Literal[1] = 1
_FACTS = "golden.json"


@dataclass(frozen=True, kw_only=True)
class _OutputFacts:
    path: str
    dtype: str
    shape: tuple[Count, ...]


@dataclass(frozen=True, kw_only=True)
class _Facts:
    """Golden outputs, but for their values."""

    schema: Literal[1]
    identity: Mapping[str, str]
    data_digest: Sha256
    outputs: list[_OutputFacts]


def read_golden(path: Path) -> Golden | None:
    """Return the golden outputs in a file, None when there is none.

    Raises:
        GoldenError: The file is damaged, or was made by something else.
    """
    try:
        return _load(path.read_bytes())
    except FileNotFoundError:
        return None
    except Exception as error:  # noqa: BLE001  a damaged file makes zipfile, zlib and numpy raise many
        raise GoldenError(
            f"{path} can't be read as golden outputs ({type(error).__name__}: {error}); "
            "restore it from version control, or write it again with --tvm-update"
        ) from None


def write_golden(path: Path, golden: Golden) -> None:
    """Write golden outputs; the same outputs always make the same bytes. Raises StoreError."""
    facts = _Facts(
        schema=_SCHEMA,
        identity=golden.identity,
        data_digest=golden.data_digest,
        outputs=[
            _OutputFacts(path=name, dtype=array.dtype.name, shape=array.shape)
            for name, array in golden.outputs.items()
        ],
    )
    text = json.dumps(to_json_values(facts), indent=1, sort_keys=True) + "\n"
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        _add(archive, _FACTS, text.encode())
        for name, array in golden.outputs.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, to_plain(array), allow_pickle=False)
            _add(archive, f"{name}.npy", member.getvalue())
    write_bytes(path, content.getvalue())


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    # A ZipInfo has a date of its own, always the same.
    info = zipfile.ZipInfo(name)
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = 0o644 << 16
    archive.writestr(info, content)


def _load(content: bytes) -> Golden:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        facts = from_json_values(load_json(archive.read(_FACTS)), _Facts)
        outputs = {one.path: _output(archive, one) for one in facts.outputs}
    return Golden(identity=facts.identity, data_digest=facts.data_digest, outputs=outputs)


def _output(archive: zipfile.ZipFile, facts: _OutputFacts) -> Array:
    # The whole member first: only at its end its checksum is compared.
    member = io.BytesIO(archive.read(f"{facts.path}.npy"))
    array = from_plain(np.lib.format.read_array(member, allow_pickle=False), facts.dtype)
    if array.shape != facts.shape:
        raise ValueError(f"{facts.path} has shape {array.shape}, not {facts.shape}")
    return array

"""The sidecar of a model file: the settings of its test, and the arguments of `tvm_tune`."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_tvmtune.core.errors import OptionError
from pytest_tvmtune.core.settings.parsing import parse_marker

DATA_SETS, ONNXRUNTIME, UNTUNED = "test_data_set", "onnxruntime", "untuned"
REFERENCES = (DATA_SETS, ONNXRUNTIME, UNTUNED)
DATA_SUFFIXES = (".npy", ".npz", ".pb")
_OWN_KEYS = ("shapes", "inputs", "expected", "marks", "skip", "xfail")
# Marks that say nothing without arguments, or nothing about what is no Python function.
_OTHER_MARKS = frozenset(
    {"filterwarnings", "parametrize", "skip", "skipif", "tvm_tune", "usefixtures", "xfail"}
)


@dataclass(frozen=True, kw_only=True)
class Sidecar:
    """The content of a sidecar; empty without a sidecar.

    options: parsed arguments of the marker. shapes, inputs: by the input names of the model; an
    input is a number, nested lists of numbers, or the path of a file. expected: one of REFERENCES,
    None for the first available reference. skip, xfail: the reasons, or "".
    """

    options: Mapping[str, Any] = field(default_factory=dict)
    shapes: Mapping[str, tuple[int, ...]] | None = None
    inputs: Mapping[str, Any] | None = None
    expected: str | None = None
    marks: tuple[str, ...] = ()
    skip: str = ""
    xfail: str = ""

    def __post_init__(self) -> None:
        if self.expected == DATA_SETS and self.inputs is not None:
            raise OptionError(
                f"expected: {DATA_SETS!r} has its own inputs; "
                f"remove [inputs], or give one of {', '.join(REFERENCES[1:])}"
            )


def parse_sidecar(text: str, folder: Path) -> Sidecar:
    """Return the settings in a sidecar.

    Args:
        text: Its content, TOML.
        folder: Its own, which paths in it are relative to.

    Raises:
        OptionError: A key or a value isn't accepted; the message names both, as for a marker.
    """
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        loaded = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise OptionError(f"malformed TOML: {error}") from None
    own = {key: loaded.pop(key) for key in _OWN_KEYS if key in loaded}
    options = parse_marker(loaded, what="key", more=_OWN_KEYS)
    if "work_dir" in options:
        options["work_dir"] = folder / options["work_dir"]
    shapes, inputs, expected = own.get("shapes"), own.get("inputs"), own.get("expected")
    if expected is not None and expected not in REFERENCES:
        raise OptionError(f"expected: {expected!r} is not one of {', '.join(REFERENCES)}")
    return Sidecar(
        options=options,
        shapes=None if shapes is None else _parse_shapes(shapes),
        inputs=None if inputs is None else _parse_inputs(inputs, folder),
        expected=expected,
        marks=_parse_marks(own.get("marks", [])),
        skip=_parse_reason(own, "skip"),
        xfail=_parse_reason(own, "xfail"),
    )


def _table(value: object, key: str, holds: str) -> dict[str, Any]:
    if not isinstance(value, dict) or not value:
        raise OptionError(f"{key}: {value!r} is not a table; give {holds} by input name: [{key}]")
    return value


def _parse_shapes(value: object) -> dict[str, tuple[int, ...]]:
    shapes = _table(value, "shapes", "lists of sizes")
    for name, sizes in shapes.items():
        if not isinstance(sizes, list) or not all(type(s) is int and s > 0 for s in sizes):
            raise OptionError(
                f"shapes.{name}: {sizes!r} is not a list of positive whole numbers, "
                "such as [1, 3, 224, 224]"
            )
    return {name: tuple(sizes) for name, sizes in shapes.items()}


def _parse_inputs(value: object, folder: Path) -> dict[str, Any]:
    return {
        name: _parse_input(one, f"inputs.{name}", folder)
        for name, one in _table(value, "inputs", "numbers, lists, or paths").items()
    }


def _parse_input(value: object, where: str, folder: Path) -> Any:
    if isinstance(value, str) and value.endswith(DATA_SUFFIXES):
        return folder / Path(value).expanduser()
    if not _is_numbers(value):
        raise OptionError(
            f"{where}: {value!r} is not a number, a list of numbers, "
            f"or the path of a file ({', '.join(DATA_SUFFIXES)})"
        )
    return value


def _is_numbers(value: object) -> bool:
    if isinstance(value, list):
        return all(_is_numbers(one) for one in value)
    return isinstance(value, (bool, int, float))


def _parse_marks(value: object) -> tuple[str, ...]:
    marks = value if isinstance(value, list) else [value]
    for mark in marks:
        if not isinstance(mark, str) or not re.fullmatch(r"[A-Za-z_]\w*", mark):
            raise OptionError(f'marks: {mark!r} is not the name of a mark; give a list: ["slow"]')
        if mark in _OTHER_MARKS:
            raise OptionError(
                f"marks: {mark!r} needs arguments or has no effect on a model file; "
                'to skip or xfail the file, use skip = "why" or xfail = "why"'
            )
    return tuple(marks)


def _parse_reason(own: Mapping[str, Any], key: str) -> str:
    reason = own.get(key)
    if reason is None:
        return ""
    if not isinstance(reason, str) or not reason.strip():
        raise OptionError(f'{key}: {reason!r} is not a reason; give text: {key} = "why"')
    return reason.strip()

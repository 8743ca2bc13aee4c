"""The one codec: frozen values to plain JSON values or bytes, and back, checked by their types.

Unknown keys are left out and those that are missing have their defaults, since other versions
read and write the same files.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

Value = TypeVar("Value")
# msgspec writes none of their subclasses, such as TVM's own strings and numbers.
_PLAIN = (str, int, float)

Count = Annotated[int, Meta(ge=0)]
# What becomes part of a path: a structural hash, and the SHA-256 of a file. max_length: `$` also
# matches before a last line break.
Shash = Annotated[str, Meta(pattern="^[0-9a-f]{16}$", max_length=16)]
Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$", max_length=64)]

# A float that may be infinite or NaN: null in a report, and NaN when read from there. msgspec
# refuses null for a float, and asks `_typed` of an abstract class.
if TYPE_CHECKING:
    NullableFloat = float
else:
    NullableFloat = Real


def to_json_values(value: Any) -> Any:
    """Return a dataclass, or a container of some, as plain JSON values; floats are themselves."""
    return msgspec.to_builtins(value, enc_hook=_plain)


def from_json_values(values: Any, cls: type[Value]) -> Value:
    """Return a value of this type.

    Args:
        values: Plain JSON values, which stay as they are.
        cls: A type that msgspec knows, such as a dataclass.

    Raises:
        ValueError: The values are of another type; the message has the path to the first.
    """
    return msgspec.convert(values, cls, dec_hook=_typed)


def finite(value: Any) -> Any:
    """Return `value` with null for infinities and NaN, which JSON (RFC 8259) can't hold."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(inner) for inner in value]
    return value


def to_json(value: Any) -> bytes:
    """Return a dataclass, or a container of some, as JSON. Infinities and NaN become null."""
    # Not msgspec's own: paths and names may hold bytes that are no UTF-8, as lone surrogates.
    return json.dumps(finite(to_json_values(value))).encode()


def from_json(data: bytes, cls: type[Value]) -> Value:
    """Return what `to_json` wrote. Raises ValueError for anything else."""
    return from_json_values(json.loads(data), cls)


def to_binary(value: Any, other: Callable[[Any], Any] | None = None) -> bytes:
    """Return a value as MessagePack, in which floats are themselves, and paths bytes.

    Args:
        value: A dataclass, or a container of some.
        other: Makes plain what the codec has no form for; None where there is nothing else.

    """

    def plain(one: Any) -> Any:
        if isinstance(one, Path):
            return os.fsencode(one)
        return other(one) if other and not isinstance(one, _PLAIN) else _plain(one)

    return msgspec.msgpack.encode(value, enc_hook=plain)


def from_binary(
    data: bytes, cls: type[Value], other: Callable[[type, Any], Any] | None = None
) -> Value:
    """Return what `to_binary` wrote.

    Args:
        data: The bytes.
        cls: The type of the value.
        other: Makes a value of this type from the result of `other` in `to_binary`.

    Raises:
        msgspec.ValidationError: A ValueError: the data is of another type.
        msgspec.DecodeError: A ValueError: the data is no MessagePack.

    """

    def typed(kind: type, one: Any) -> Any:
        return other(kind, one) if other and kind not in {Path, Real} else _typed(kind, one)

    return msgspec.msgpack.decode(data, type=cls, dec_hook=typed)


def json_schema(cls: type) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a type."""
    return msgspec.json.schema(cls, schema_hook=_schema)


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    for kind in _PLAIN:
        if isinstance(value, kind):
            return kind(value)
    raise NotImplementedError(f"no codec for {type(value)}")


def _typed(cls: type, value: Any) -> Any:
    if cls is Real:
        return _nullable_float(value)
    if issubclass(cls, Path):
        return cls(os.fsdecode(value))
    raise NotImplementedError(f"no codec for {cls}")


def _nullable_float(value: Any) -> float:
    if value is None:
        return math.nan
    try:
        return msgspec.convert(value, float)
    except msgspec.ValidationError as error:
        # msgspec adds the path to any ValueError but its own.
        raise ValueError(str(error)) from None


def _schema(cls: type) -> dict[str, Any]:
    if cls is Real:
        return {"type": ["number", "null"]}
    raise NotImplementedError(f"no JSON Schema for {cls}")

"""The one codec: frozen values to bytes and back, checked against their types by msgspec."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import msgspec

Value = TypeVar("Value")


def to_json(value: Any) -> bytes:
    """Return a dataclass, or a container of some, as JSON. Infinities and NaN become null."""
    return msgspec.json.encode(value, enc_hook=_plain)


def from_json(data: bytes, cls: type[Value]) -> Value:
    """Return a value of this type; keys that it has no field for are left out.

    Raises msgspec.ValidationError, a ValueError, where the data is of another type, and
    msgspec.DecodeError, one too, where it is no JSON.
    """
    return msgspec.json.decode(data, type=cls, dec_hook=_typed)


def to_binary(value: Any) -> bytes:
    """Return a value as MessagePack, in which floats are themselves."""
    return msgspec.msgpack.encode(value, enc_hook=_plain)


def from_binary(data: bytes, cls: type[Value]) -> Value:
    """Return what `to_binary` wrote. Raises as `from_json`."""
    return msgspec.msgpack.decode(data, type=cls, dec_hook=_typed)


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    raise NotImplementedError(f"no codec for {type(value)}")


def _typed(cls: type, value: Any) -> Any:
    if issubclass(cls, Path):
        return cls(value)
    raise NotImplementedError(f"no codec for {cls}")

"""The one codec: frozen values to bytes and back, checked against their types by msgspec."""

from __future__ import annotations

import os
from collections.abc import Callable
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


def to_binary(value: Any, other: Callable[[Any], Any] | None = None) -> bytes:
    """Return a value as MessagePack, in which floats are themselves, and paths bytes.

    Args:
        value: A dataclass, or a container of some.
        other: Makes plain what the codec has no form for; None where there is nothing else.

    """

    def plain(one: Any) -> Any:
        if isinstance(one, Path):
            return os.fsencode(one)
        return other(one) if other else _plain(one)

    return msgspec.msgpack.encode(value, enc_hook=plain)


def from_binary(
    data: bytes, cls: type[Value], other: Callable[[type, Any], Any] | None = None
) -> Value:
    """Return what `to_binary` wrote.

    Args:
        data: The bytes.
        cls: The type of the value.
        other: Makes a value of this type from what `other` of `to_binary` made of it.

    Raises:
        msgspec.ValidationError: A ValueError: the data is of another type.
        msgspec.DecodeError: A ValueError: the data is no MessagePack.

    """

    def typed(kind: type, one: Any) -> Any:
        return other(kind, one) if other and kind is not Path else _typed(kind, one)

    return msgspec.msgpack.decode(data, type=cls, dec_hook=typed)


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    raise NotImplementedError(f"no codec for {type(value)}")


def _typed(cls: type, value: Any) -> Any:
    if issubclass(cls, Path):
        return cls(os.fsdecode(value))
    raise NotImplementedError(f"no codec for {cls}")

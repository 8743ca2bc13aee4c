"""The calls within a call on a device, as its helper notes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

# DLPack's codes of dtypes. Source: dlpack.h.
_DTYPES = {0: "int", 1: "uint", 2: "float", 4: "bfloat", 6: "bool"}


@dataclass(frozen=True, kw_only=True)
class NotedTensor:
    """A tensor that a function was given."""

    shape: tuple[int, ...]
    dtype: str
    address: int


@dataclass(frozen=True, kw_only=True)
class NotedCall:
    """A call: its function's address and name, and its arguments; None for no tensor."""

    function: int
    name: str
    arguments: tuple[NotedTensor | None, ...]


def noted_calls(helper: Any, vm: Any, call: Callable[[], Any]) -> list[NotedCall]:
    """Call once; return the calls within, in turn. vm: what makes them."""
    helper["watch_calls"](vm.module)
    try:
        call()
    finally:
        helper["unwatch"](vm.module)
    return [_parsed(line) for line in bytes(helper["calls"]()).decode().splitlines()]


def _parsed(line: str) -> NotedCall:
    function, name, *arguments = line.split(" ")
    return NotedCall(function=int(function), name=name, arguments=tuple(map(_argument, arguments)))


def _argument(text: str) -> NotedTensor | None:
    if text == "-":
        return None
    kind, _, place = text.partition("@")
    address, _, shape = place.partition(":")
    code, bits, lanes = map(int, kind.split("."))
    name = _DTYPES.get(code, f"code{code}-")
    dtype = "bool" if name == "bool" else f"{name}{bits}" + (f"x{lanes}" if lanes > 1 else "")
    sizes = tuple(int(size) for size in shape.split(",") if size)
    return NotedTensor(shape=sizes, dtype=dtype, address=int(address))

"""What a kernel has to do at least: floating-point operations and bytes to move, from its IR.

It's the work that the model asks for, and not the work of the code: a schedule that computes a
value twice has as much work as one that computes it once. TVM's `estimate_tir_flops` counts what
the loops of a schedule do, counts integers as well, and takes a loop of unknown length for one
round.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_tvmtune.relax import compat

if TYPE_CHECKING:
    from tvm.tirx import PrimFunc

_ARITHMETIC = frozenset({"Add", "Sub", "Mul", "Div", "Mod", "FloorDiv", "FloorMod", "Min", "Max"})
# Conditions and loads have index arithmetic, which isn't counted.
_FREE = frozenset(
    {*compat.LOADS, "Var", "SizeVar", "IntImm", "FloatImm", "StringImm", "Ramp"}
    | {"EQ", "NE", "LT", "LE", "GT", "GE", "And", "Or", "Not"}
)
_NO_WORK = frozenset({"AllocBuffer", "DeclBuffer", "AssertStmt", "Return"})
_OTHER_CODE = ("call_extern", "call_pure_extern", "call_packed", "call_cpacked")
_MOVES = ("likely", "reinterpret")
# The values in an expression that is no operation itself.
_PARTS = {"Cast": ("value",), "Broadcast": ("value",), "Let": ("value", "body")}


@dataclass(frozen=True, kw_only=True)
class KernelWork:
    """The work of a call of a kernel; None where its IR doesn't say.

    flop: additions, multiplications, divisions, minima, maxima, and calls of functions such as
    `exp`, of floating-point numbers, each counted as one. None also for a kernel that computes
    mostly with integers. traffic_bytes: of its arguments, each element that is read or written
    counted once; of an argument that is accessed in part, at most the number of accesses counts.
    """

    flop: int | None
    traffic_bytes: int | None


class _UnknownWorkError(Exception):
    """A part whose work isn't in the IR."""


def work_of(function: PrimFunc, in_place: Collection[int]) -> KernelWork:
    """Return the work of a PrimFunc.

    function: best without a schedule. in_place: the indices of arguments that are read and written.
    """
    walk = _Walk()
    try:
        walk.statement(function.body, 1, 1)
        flop = None if walk.integers > walk.floats else walk.floats
    except _UnknownWorkError:
        flop = None
    try:
        return KernelWork(flop=flop, traffic_bytes=_traffic_bytes(function, walk, in_place))
    except _UnknownWorkError:
        return KernelWork(flop=flop, traffic_bytes=None)


def _traffic_bytes(function: PrimFunc, walk: _Walk, in_place: Collection[int]) -> int:
    total = 0
    for index, buffer in enumerate(compat.buffers_of(function)):
        if not hasattr(buffer, "shape"):
            continue  # a number
        size = math.prod(map(_number, buffer.shape))
        is_written = buffer in walk.written
        accesses = 0
        if is_written:
            accesses += min(size, walk.written[buffer])
        if not is_written or index in in_place:
            accesses += min(size, walk.read.get(buffer, size))
        total += accesses * compat.bits_of(buffer.dtype) // 8
    return total


class _Walk:
    """The operations of a function, and how often its buffers are accessed.

    The domains of a block say how often it has to run, regardless of the loops around it.
    """

    def __init__(self) -> None:
        self.floats = self.integers = 0
        self.read: Counter[Any] = Counter()
        self.written: Counter[Any] = Counter()

    def statement(self, stmt: Any, blocks: int, loops: int) -> None:
        """Go through a statement. blocks: how often the block around it runs; loops: within it."""
        kind = type(stmt).__name__
        if kind == "For":
            self.statement(stmt.body, blocks, loops * _number(stmt.extent))
        elif kind == "SBlockRealize":
            self._block(stmt.block, blocks, loops)
        elif kind == "SeqStmt":
            for one in stmt.seq:
                self.statement(one, blocks, loops)
        elif kind == "AttrStmt":
            self.statement(stmt.body, blocks, loops)
        elif kind == "IfThenElse":
            for branch in (stmt.then_case, stmt.else_case):
                if branch is not None:
                    self.statement(branch, blocks, loops)
        elif kind in {"BufferStore", "Bind"}:
            floats, integers = _operations(stmt.value)
            self.floats += blocks * loops * floats
            self.integers += blocks * loops * integers
        elif kind == "Evaluate":
            if type(stmt.value).__name__ != "IntImm":
                raise _UnknownWorkError
        elif kind not in _NO_WORK:
            raise _UnknownWorkError  # such as a `while`

    def _block(self, block: Any, blocks: int, loops: int) -> None:
        domains = [_number(one.dom.extent) for one in block.iter_vars]
        times = blocks * math.prod(domains) if domains else blocks * loops
        for regions, counts in ((block.reads, self.read), (block.writes, self.written)):
            for region in regions:
                volume = math.prod(_number(one.extent) for one in region.region)
                counts[compat.buffer_of(region)] += times * volume
        self.statement(block.body, times, 1)


def _operations(expr: Any) -> tuple[int, int]:
    """Return how many operations on floating-point numbers and on integers a value takes."""
    kind = type(expr).__name__
    if kind in _FREE:
        return 0, 0
    if kind == "Call":
        return _operations_of_call(expr)
    if kind == "Select":
        return _larger(_operations(expr.true_value), _operations(expr.false_value))
    own = (_one(expr),) if kind in _ARITHMETIC else ()
    if kind not in _PARTS and not own:
        raise _UnknownWorkError
    parts = _PARTS.get(kind, ("a", "b"))
    return _sum(*own, *(_operations(getattr(expr, part)) for part in parts))


def _operations_of_call(call: Any) -> tuple[int, int]:
    name = str(getattr(call.op, "name", "")).rpartition(".")[2]
    if not name or name in _OTHER_CODE:
        raise _UnknownWorkError
    if name == "if_then_else":
        return _larger(*map(_operations, call.args[1:]))
    given = _sum(*map(_operations, call.args))
    return given if name in _MOVES else _sum(_one(call), given)


def _one(expr: Any) -> tuple[int, int]:
    is_float = "float" in compat.dtype_of_expr(expr)
    return int(is_float), int(not is_float)


def _sum(*counts: tuple[int, int]) -> tuple[int, int]:
    return sum(count[0] for count in counts), sum(count[1] for count in counts)


def _larger(*counts: tuple[int, int]) -> tuple[int, int]:
    return max(counts, key=sum)


def _number(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        raise _UnknownWorkError from None

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
# On float32 and float64, and on other types.
_Counts = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class KernelWork:
    """The work of a call of a kernel; None where its IR doesn't say.

    flop: additions, multiplications, divisions, minima, maxima, and calls of functions such as
    `exp`, of float32 and float64, each counted as one; not those with the zeros that a transposed
    convolution puts between its data. None also for a kernel that computes mostly with integers or
    with shorter types, whose peak is another. traffic_bytes: of its arguments, each element that is
    read or written counted once; of an argument that is accessed in part, at most the number of
    accesses counts.
    """

    flop: int | None
    traffic_bytes: int | None


UNKNOWN_WORK = KernelWork(flop=None, traffic_bytes=None)


class _UnknownWorkError(Exception):
    """A part whose work isn't in the IR."""


def work_of(function: PrimFunc, in_place: Collection[int]) -> KernelWork:
    """Return the work of a PrimFunc.

    function: best without a schedule. in_place: the indices of arguments that are read and written.
    """
    walk = _Walk()
    try:
        floats, others = walk.statement(function.body, 1, 1)
        flop = None if others > floats else floats
        walk.is_complete = True
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
        # What no block reads isn't read, unless other code or a loop without a block does it.
        unseen = 0 if walk.is_complete and walk.written else size
        is_written = buffer in walk.written
        accesses = 0
        if is_written:
            accesses += min(size, walk.written[buffer])
        if not is_written or index in in_place:
            accesses += min(size, walk.read.get(buffer, unseen))
        total += accesses * compat.bits_of(buffer.dtype) // 8
    return total


class _Walk:
    """The operations of a function, and how often its buffers are accessed.

    The domains of a block say how often it has to run, regardless of the loops around it.
    is_complete: whether it came to the end of the function. sparse: buffer -> of how many elements
    only one isn't a zero that a block put between them.
    """

    def __init__(self) -> None:
        self.is_complete = False
        self.read: Counter[Any] = Counter()
        self.written: Counter[Any] = Counter()
        self.sparse: dict[Any, int] = {}

    def statement(self, stmt: Any, blocks: int, loops: int) -> _Counts:
        """Return the operations of a statement.

        blocks: how often the block around it runs; loops: within it.
        """
        kind = type(stmt).__name__
        if kind in {"For", "AttrStmt"}:
            rounds = _number(stmt.extent) if kind == "For" else 1
            return self.statement(stmt.body, blocks, loops * rounds)
        if kind == "SBlockRealize":
            return self._block(stmt.block, blocks, loops)
        if kind == "SeqStmt":
            return _sum(*(self.statement(one, blocks, loops) for one in stmt.seq))
        if kind == "IfThenElse":
            branches = filter(None, (stmt.then_case, stmt.else_case))
            return _larger(*[self.statement(one, blocks, loops) for one in branches])
        if kind in {"BufferStore", "Bind"}:
            floats, others = _operations(stmt.value)
            return blocks * loops * floats, blocks * loops * others
        if kind in _NO_WORK or (kind == "Evaluate" and type(stmt.value).__name__ == "IntImm"):
            return 0, 0
        raise _UnknownWorkError  # such as a `while`

    def _block(self, block: Any, blocks: int, loops: int) -> _Counts:
        domains = [_number(one.dom.extent) for one in block.iter_vars]
        times = blocks * math.prod(domains) if domains else blocks * loops
        for regions, counts in ((block.reads, self.read), (block.writes, self.written)):
            for region in regions:
                volume = math.prod(_number(one.extent) for one in region.region)
                counts[compat.buffer_of(region)] += times * volume
        sparse = max((self.sparse.get(compat.buffer_of(one), 1) for one in block.reads), default=1)
        floats, others = self.statement(block.body, times, 1)
        if not floats and not others:  # it moves data, as padding does
            for region in block.writes:
                self.sparse[compat.buffer_of(region)] = sparse * _dilation(block.body)
        return floats // sparse, others // sparse


def _dilation(stmt: Any) -> int:
    """Return of how many elements one is kept by `if_then_else(i % 2 == 0, x[i // 2], 0)`."""
    value: Any = getattr(stmt, "value", None)
    if str(getattr(getattr(value, "op", ""), "name", "")).rpartition(".")[2] != "if_then_else":
        return 1
    condition, _, other = value.args
    return _divisors(condition) if getattr(other, "value", None) == 0 else 1


def _divisors(condition: Any) -> int:
    kind = type(condition).__name__
    if kind == "And":
        return _divisors(condition.a) * _divisors(condition.b)
    is_divided = kind == "EQ" and type(condition.a).__name__ == "FloorMod"
    is_divided = is_divided and getattr(condition.b, "value", None) == 0
    return _number(condition.a.b) if is_divided else 1


def _operations(expr: Any) -> _Counts:
    """Return how many operations on float32 and float64, and on other types, a value takes."""
    kind = type(expr).__name__
    if kind in _FREE:
        return 0, 0
    if kind == "Call":
        return _operations_of_call(expr)
    if kind == "Select":
        return _larger(_operations(expr.true_value), _operations(expr.false_value))
    if kind == "Cast" and not _is_read(expr.value):
        return 0, 0  # index arithmetic, such as the number of elements that a pool has there
    own = (_one(expr),) if kind in _ARITHMETIC else ()
    if kind not in _PARTS and not own:
        raise _UnknownWorkError
    parts = _PARTS.get(kind, ("a", "b"))
    return _sum(*own, *(_operations(getattr(expr, part)) for part in parts))


def _operations_of_call(call: Any) -> _Counts:
    name = str(getattr(call.op, "name", "")).rpartition(".")[2]
    if not name or name in _OTHER_CODE:
        raise _UnknownWorkError
    if name == "if_then_else":
        return _larger(*map(_operations, call.args[1:]))
    given = _sum(*map(_operations, call.args))
    return given if name in _MOVES else _sum(_one(call), given)


def _is_read(expr: Any) -> bool:
    """Whether a value depends on one that is read from a buffer."""
    kind = type(expr).__name__
    if kind in compat.LOADS:
        return True
    if kind == "Call":
        return any(map(_is_read, expr.args))
    parts = ("a", "b") if kind in _ARITHMETIC else _PARTS.get(kind, ())
    return any(_is_read(getattr(expr, part)) for part in parts)


def _one(expr: Any) -> _Counts:
    # CPUs may compute faster with shorter types than with float32, of which the peak is.
    is_float = compat.dtype_of_expr(expr).startswith(("float32", "float64"))
    return int(is_float), int(not is_float)


def _sum(*counts: _Counts) -> _Counts:
    return sum(count[0] for count in counts), sum(count[1] for count in counts)


def _larger(*counts: _Counts) -> _Counts:
    return max(counts, key=sum)


def _number(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        raise _UnknownWorkError from None

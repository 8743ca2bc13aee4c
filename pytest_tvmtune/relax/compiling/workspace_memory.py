"""How much memory a call of an entry needs at its peak, read off what TVM planned."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tvm.ir import IRModule

_ALLOC_STORAGE, _ALLOC_TENSOR, _KILL = (
    "relax.vm.alloc_storage",
    "relax.vm.alloc_tensor",
    "relax.vm.kill_object",
)


def peak_bytes(planned: IRModule, entry: str) -> int | None:
    """Return the most bytes of storage that are alive at once in a call of an entry.

    planned: Relax functions whose tensors have storage and an end (after `LowerRuntimeBuiltin`).
    Outputs count. Inputs, parameters, and memory that a kernel allocates for itself don't. None
    where a size is known at run time only.
    """
    functions = {str(var.name_hint): function for var, function in planned.functions_items()}
    try:
        return _Walk(functions).call(entry)
    except _UnknownSizeError:
        return None


class _UnknownSizeError(Exception):
    """A storage whose size isn't in the IR."""


class _Walk:
    """One call, from allocation to allocation.

    A storage lives until nothing holds it: its own variable, tensors in it, tuples of them.
    """

    def __init__(self, functions: dict[str, Any]) -> None:
        self._functions = functions
        self._holds: dict[Any, tuple[int, ...]] = {}
        self._holders: Counter[int] = Counter()
        self._sizes: list[int] = []
        self._alive_bytes = 0
        self._peak_bytes = 0

    def call(self, name: str) -> int:
        """Go through a call of a function; return the peak so far."""
        self._body(self._functions[name].body)
        return self._peak_bytes

    def _body(self, body: Any) -> tuple[int, ...]:
        """Go through a body; return the storages that its value holds."""
        for block in body.blocks:
            for binding in block.bindings:
                held = self._value(getattr(binding, "value", None))
                self._holds[binding.var] = held
                self._holders.update(held)
        return self._value(body.body)

    def _value(self, value: Any) -> tuple[int, ...]:
        from tvm import relax

        if isinstance(value, relax.Call):
            return self._call(value)
        if isinstance(value, relax.Tuple):
            return tuple(one for field in value.fields for one in self._value(field))
        if isinstance(value, relax.TupleGetItem):
            return self._value(value.tuple_value)
        if isinstance(value, relax.If):
            # Which one is taken is not known: as if both had been, one after the other.
            return self._body(value.true_branch) + self._body(value.false_branch)
        return self._holds.get(value, ()) if isinstance(value, relax.Var) else ()

    def _call(self, call: Any) -> tuple[int, ...]:
        name = str(getattr(call.op, "name", ""))
        if name == _ALLOC_STORAGE:
            return (self._allocate(call.args[0]),)
        if name == _ALLOC_TENSOR:
            return self._value(call.args[0])
        if name == _KILL:
            self._release(self._holds.pop(call.args[0], ()))
            return ()
        callee = self._functions.get(str(getattr(call.op, "name_hint", "")))
        if callee is not None and hasattr(callee.body, "blocks"):
            return self._body(callee.body)
        return ()

    def _allocate(self, shape: Any) -> int:
        try:
            size = math.prod(int(one) for one in shape.values)
        except (AttributeError, TypeError):
            raise _UnknownSizeError from None
        self._sizes.append(size)
        self._alive_bytes += size
        self._peak_bytes = max(self._peak_bytes, self._alive_bytes)
        return len(self._sizes) - 1

    def _release(self, held: tuple[int, ...]) -> None:
        for storage in held:
            self._holders[storage] -= 1
            if not self._holders[storage]:
                self._alive_bytes -= self._sizes[storage]

"""Kernels: the PrimFuncs of a compiled module, and the pairs of corresponding kernels."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

PREPACKED = "_prepacked"
WEIGHT_PREPACK = "_weight_prepack"
# Names may get a number where one is taken.
_PREPACKED = re.compile(rf"{PREPACKED}(\d*)$")
_LAYOUT = re.compile(rf"{WEIGHT_PREPACK}(\d*)$")


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """A PrimFunc of a compiled module.

    Attributes:
        outputs: The indices of the arguments that it writes.
        in_place: The indices of those outputs that it also reads.
        calls: The number of calls in the module.
        shash: The structural hash of its tuning task; empty without a task.
        record: The digest of the tuning record applied to it; empty without a record.
        code: The structural hash of the compiled function, without its name.
        flop: The floating-point operations that a call has to do, regardless of its schedule; None
            if that isn't known.
        traffic_bytes: The bytes of its arguments that a call has to read and write; None if that
            isn't known.
    """

    outputs: tuple[int, ...]
    in_place: tuple[int, ...] = ()
    calls: int = 0
    shash: str = ""
    record: str = ""
    code: str = ""
    flop: int | None = None
    traffic_bytes: int | None = None

    @property
    def only_written(self) -> frozenset[int]:
        """The arguments that hold leftovers until it has run."""
        return frozenset(self.outputs).difference(self.in_place)


Kernels = Mapping[str, Kernel]


def task_name(kernel: str) -> str:
    """Return the name of a kernel's tuning task: prepacking renames kernels that it splits."""
    return _PREPACKED.sub("", kernel)


def is_layout(kernel: str) -> bool:
    """Whether a kernel only rearranges weights for a tuned, prepacked kernel. It isn't timed."""
    return bool(_LAYOUT.search(kernel))


def prepacked_of(layout: str) -> str:
    """Return the name of the kernel that takes the output of a layout kernel."""
    return _LAYOUT.sub(rf"{PREPACKED}\1", layout)


def family(kernel: str) -> str:
    """Return a kernel's name without the parts that only make it unique."""
    return task_name(re.sub(r"\d", "", kernel))


def matching_positions(before: Sequence[Any], now: Sequence[Any]) -> list[tuple[int, int]]:
    """Return the index pairs of equal items in two sequences, in order, as many as possible.

    Source: Ratcliff/Obershelp matching, `difflib.SequenceMatcher`.
    """
    matcher = SequenceMatcher(None, before, now, autojunk=False)
    return [
        (block.a + step, block.b + step)
        for block in matcher.get_matching_blocks()
        for step in range(block.size)
    ]


def matching_kernels(before: Kernels, now: Kernels) -> dict[str, str]:
    """Return now's kernel -> before's kernel of the same workload, in now's order.

    Kernels correspond by the hash of their task, prepacked kernels first with prepacked kernels,
    then by their code, then by name, then by the name of their task. Of several equal kernels,
    those of the same name correspond, and the rest in order.
    """
    found: dict[str, str] = {}
    for key in (_by_task_and_form, _by_task, _by_code, _by_name, _by_task_name):
        old = _grouped(key, before, found.values())
        for value, names in _grouped(key, now, found).items():
            others = old.get(value, [])
            same = {name: name for name in names if name in others}
            rest = ([name for name in group if name not in same] for group in (names, others))
            found |= same | dict(zip(*rest, strict=False))
    return {name: found[name] for name in now if name in found}


def _by_task_and_form(name: str, kernel: Kernel) -> tuple[str, bool] | None:
    return (kernel.shash, task_name(name) != name) if kernel.shash else None


def _by_task(_: str, kernel: Kernel) -> str:
    return kernel.shash


def _by_code(_: str, kernel: Kernel) -> str:
    return kernel.code


def _by_name(name: str, _: Kernel) -> str:
    return name


def _by_task_name(name: str, _: Kernel) -> str:
    return task_name(name)


def _grouped(
    key: Callable[[str, Kernel], object], kernels: Kernels, done: Iterable[str]
) -> dict[object, list[str]]:
    """Return key -> the kernels that have it, without those that are done or have none."""
    taken = set(done)
    groups: dict[object, list[str]] = {}
    for name, kernel in kernels.items():
        if name not in taken and (value := key(name, kernel)):
            groups.setdefault(value, []).append(name)
    return groups

"""Names of blocks in the trace of a schedule, for a workload whose blocks have other names.

A reduction of TOPI names its block after the tensor that it reduces, so after a variable of the
model: `lv81_red`. The importers of two versions of TVM name variables differently.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

_FINDS_BLOCK = "GetSBlock"
# What a schedule derives from a block has the block's name, and an ending.
_REDUCTION = re.compile(r"(.+?_red)(_.*)?")
_BLOCK = re.compile(r'block\("([^"]+)"\)')


def blocks_of(script: str) -> list[str]:
    """Return the names of the blocks of a workload, in order, from its TVMScript."""
    return list(dict.fromkeys(_BLOCK.findall(script)))


def with_own_block_names(trace: list[Any], blocks: Iterable[str]) -> list[Any]:
    """Return a trace in which reductions have the names that they have in a workload.

    Args:
        trace: Instructions and decisions, in MetaSchedule's JSON.
        blocks: The names of the workload's blocks, in order.

    Returns:
        The trace, unchanged if its unknown reductions can't be paired with those of the workload.
    """
    instructions, decisions = trace
    named = [one[2][0] for one in instructions if one[0] == _FINDS_BLOCK]
    bases = dict.fromkeys(found[1] for name in named if (found := _REDUCTION.fullmatch(name)))
    known = list(blocks)
    unknown = [base for base in bases if base not in known]
    free = [block for block in known if block.endswith("_red") and block not in bases]
    if not unknown or len(unknown) != len(free):
        return trace
    own = dict(zip(unknown, free, strict=True))

    def renamed(instruction: list[Any]) -> list[Any]:
        if instruction[0] != _FINDS_BLOCK:
            return instruction
        kind, inputs, (name, *others), outputs = instruction
        found = _REDUCTION.fullmatch(name)
        if found and found[1] in own:
            name = f"{own[found[1]]}{found[2] or ''}"
        return [kind, inputs, [name, *others], outputs]

    return [[renamed(one) for one in instructions], decisions]

"""Whether the layouts that a schedule gives to weights hold all of them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pytest_tvmtune.relax import compat

if TYPE_CHECKING:
    from tvm.ir import IRModule

# How MetaSchedule marks a block that copies a weight to its new layout.
_RELAYS = "meta_schedule.layout_rewrite_preproc"


def lost_elements(mod: IRModule) -> str:
    """Return which weight a scheduled workload would lose elements of, "" when none.

    TVM's RewriteLayout may drop a dimension (0.27: of a conv2d_transpose to one channel the
    weight's input channels). Such a kernel is wrong, and faster than correct kernels, so a search
    prefers it. More elements than before are padding.
    """
    for block in _relaying_blocks(mod["main"]):
        old, new = compat.buffer_of(block.reads[0]), compat.buffer_of(block.writes[0])
        before, after = (math.prod(int(size) for size in one.shape) for one in (old, new))
        if after < before:
            return f"its layout of {old.name} has {after} of {before} elements"
    return ""


def _relaying_blocks(function: Any) -> Iterator[Any]:
    """Yield the blocks that relay weights: each in its own loops, outermost in the function."""
    if "layout_free_buffers" not in (function.attrs or {}):
        return
    body = function.body.block.body
    for statement in getattr(body, "seq", [body]):
        inner = statement
        while hasattr(inner, "loop_var"):
            inner = inner.body
        if (block := getattr(inner, "block", None)) is not None and _RELAYS in block.annotations:
            yield block

"""How many decisions a test item has made: each gets a part of the item's error rate."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(kw_only=True)
class ItemDecisions:
    """Counted over all calls of `tvm_tune` in a test."""

    made: int = 0

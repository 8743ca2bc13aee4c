"""The tests that are cases: they request one of the fixtures, directly or through others."""

from __future__ import annotations

from typing import Any

import pytest

MARKER = "tvm_tune"
FIXTURES = "tvm_tune, tvm_target, tvm_device"
# Each of them requests it. So a test that requests any of them is parametrized by it.
CASE_FIXTURE = "_tvmtune_case"


def is_case(item: pytest.Item) -> bool:
    """Whether an item is a test function for a target and a prepack choice."""
    callspec = getattr(item, "callspec", None)
    return (
        isinstance(item, pytest.Function)
        and callspec is not None
        and CASE_FIXTURE in callspec.params
    )


def is_marked(attributes: Any) -> bool:
    """Whether a function or a class carries the marker itself. attributes: its `__dict__`."""
    marks = attributes.get("pytestmark", ())
    marks = marks if isinstance(marks, (list, tuple)) else [marks]
    return any(getattr(mark, "name", "") == MARKER for mark in marks)

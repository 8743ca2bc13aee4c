"""Faults of TVM that its own error doesn't explain.

docs/explanation/tvm-findings.md has reproducers.
"""

from __future__ import annotations

import re

_WITHOUT = "compile it without prepack (--tvm-prepack=off, or prepack=False in the marker)"
_PREPACKED = (
    (
        re.compile(r"There should be a compute block"),
        "TVM can't prepack a model with ScatterElements",
    ),
    (
        re.compile(r"Var \S+ is not defined"),
        (
            "TVM can't prepack a model with an output that depends on parameters alone "
            "(apache/tvm#17231)"
        ),
    ),
)


def explained(cause: str, *, prepack: bool) -> str:
    """Return the cause of a compile error, with a known fault of TVM and its workaround."""
    known = next((text for pattern, text in _PREPACKED if pattern.search(cause)), "")
    return f"{cause}; probably, {known}; {_WITHOUT}" if prepack and known else cause

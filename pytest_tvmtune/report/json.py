"""The JSON report: what the terminal shows and more, under a versioned schema (docs/json.md)."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pytest_tvmtune.store.atomic import write_json

SCHEMA_VERSION = 1


def write_report(
    path: Path, results: Sequence[dict[str, Any]], machine_info: dict[str, Any]
) -> None:
    """Write the report of one run, cases in order of their id. Raises StoreError."""
    cases = [_finite(c) for c in sorted(results, key=lambda c: (c["nodeid"], c["name"]))]
    write_json(
        path,
        {
            "schema": "pytest-tvmtune",
            "version": SCHEMA_VERSION,
            "created_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "machine": machine_info,
            "cases": cases,
        },
    )


def _finite(value: Any) -> Any:
    """Return `value` with null for infinities and NaN, which JSON (RFC 8259) can't hold."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(one) for one in value]
    return value

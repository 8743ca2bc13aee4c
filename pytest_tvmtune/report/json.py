"""The JSON report: what the terminal shows and more, under a versioned schema (docs/json.md)."""

from __future__ import annotations

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
    cases = sorted(results, key=lambda case: (case["nodeid"], case["name"]))
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

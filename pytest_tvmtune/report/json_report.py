"""The JSON report: one object that every other report is made from (docs/json.md)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from pytest_tvmtune.core.clock import now_s, utc_text
from pytest_tvmtune.core.errors import ReportError
from pytest_tvmtune.core.json_values import finite
from pytest_tvmtune.core.results.case_result import CaseResult

SCHEMA = "pytest-tvmtune"
SCHEMA_VERSION = 1


def make_report(
    cases: Sequence[Mapping[str, Any]], machine_info: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the report of one run, as JSON holds it: cases in order of their id.

    cases: each as `CaseResult.to_json` gave it, with what hooks added.
    """
    return {
        "schema": SCHEMA,
        "version": SCHEMA_VERSION,
        "created_at": utc_text(now_s()),
        "machine": finite(dict(machine_info)),
        "cases": [
            finite(dict(case)) for case in sorted(cases, key=lambda c: (c["nodeid"], c["name"]))
        ],
    }


def cases_of(report: Mapping[str, Any]) -> list[CaseResult]:
    """Return the cases of a JSON report, in its order; numbers that JSON can't hold are NaN.

    Raises ReportError for what is no report, and for one of a later version.
    """
    schema, version = report.get("schema"), report.get("version")
    if schema != SCHEMA or not isinstance(version, int):
        raise ReportError(
            f"no report of pytest-tvmtune: its `schema` is {schema!r}, not {SCHEMA!r}; "
            "give a file that --tvm-json wrote"
        )
    if version > SCHEMA_VERSION:
        raise ReportError(
            f"a report of version {version}, this pytest-tvmtune reads up to {SCHEMA_VERSION}: "
            "upgrade it"
        )
    try:
        return [CaseResult.from_json(case) for case in report["cases"]]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ReportError(f"a damaged report: {type(error).__name__}: {error}") from error


def report_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of the report; it is shipped beside this module."""
    text = files("pytest_tvmtune.report").joinpath("report.schema.json").read_text("utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema

"""The JSON report: the object that every other report is made from (docs/reference/json.md)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Annotated, Any, Literal

from msgspec import Meta

from pytest_tvmtune.core.clock import now_s, utc_text
from pytest_tvmtune.core.errors import ReportError
from pytest_tvmtune.core.json_codec import finite, from_json_values
from pytest_tvmtune.core.results.case_result import CaseResult

SCHEMA = "pytest-tvmtune"
SCHEMA_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Report:
    """The report of pytest-tvmtune that --tvm-json writes, version 1.

    Times are in seconds. Numbers that JSON can't hold (NaN, infinities) are null. Hooks can add
    keys. Later releases can add keys without a new version.

    Attributes:
        schema: Always `pytest-tvmtune`.
        version: The version of the format. It increases when a key changes its meaning.
        created_at: The time of the report, in UTC.
        machine: `cpu`, `usable_cores`, `system`, `python`, `tvm`, `tvm_ffi`; `tvm_path`, the
            folder of the imported TVM; `tvm_revision`, its git revision if it's in a checkout;
            `tvm_identity`, the SHA-256 of its files; and the keys that the hook
            `pytest_tvmtune_machine_info` adds.
        cases: An object for each call of `tvm_tune`, in order of `nodeid` and `name`.
        failed_tests: The tests of the run that failed without a case, and the files that pytest
            couldn't collect: ids in order. They failed before a call of `tvm_tune` returned, or
            don't call it.
        interrupted: Whether the run ended early, so tests may be missing.
    """

    schema: Literal["pytest-tvmtune"]
    version: Literal[1]
    created_at: Annotated[
        str, Meta(pattern="^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$")
    ]
    machine: dict[str, Any]
    cases: list[CaseResult]
    failed_tests: list[str] = field(default_factory=list)
    interrupted: bool = False


def make_report(
    cases: Sequence[Mapping[str, Any]],
    machine_info: Mapping[str, Any],
    *,
    failed_tests: Sequence[str] = (),
    interrupted: bool = False,
) -> dict[str, Any]:
    """Return the report of a run as plain JSON values, with its cases in order of their id.

    Args:
        cases: `CaseResult` objects as plain JSON values, with the keys that hooks added.
        machine_info: The machine's fingerprint, with the keys that hooks added.
        failed_tests: Ids of the tests that failed without a case.
        interrupted: Whether the run ended early.
    """
    return {
        "schema": SCHEMA,
        "version": SCHEMA_VERSION,
        "created_at": utc_text(now_s()),
        "machine": finite(dict(machine_info)),
        "cases": [
            finite(dict(case)) for case in sorted(cases, key=lambda c: (c["nodeid"], c["name"]))
        ],
        "failed_tests": sorted(failed_tests),
        "interrupted": interrupted,
    }


def cases_of(report: Mapping[str, Any]) -> list[CaseResult]:
    """Return the cases of a JSON report, in its order (see `read_report`)."""
    return read_report(report).cases


def read_report(report: Mapping[str, Any]) -> Report:
    """Return a JSON report with typed fields; numbers that JSON can't hold are NaN.

    Raises:
        ReportError: The object isn't a report, or a later version wrote it.
    """
    schema, version = report.get("schema"), report.get("version")
    if schema != SCHEMA or not isinstance(version, int):
        raise ReportError(
            f"not a report of pytest-tvmtune: its `schema` is {schema!r}, not {SCHEMA!r}; "
            "give a file that --tvm-json wrote"
        )
    if version > SCHEMA_VERSION:
        raise ReportError(
            f"the report has version {version}, and this pytest-tvmtune reads versions up to "
            f"{SCHEMA_VERSION}: upgrade pytest-tvmtune"
        )
    try:
        return from_json_values(dict(report), Report)
    except ValueError as error:
        raise ReportError(f"the report is damaged: {error}") from error


def report_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of the report, which is part of the package."""
    return _schema("report.schema.json")


def vet_report_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of the report of `tvmtune vet --json`."""
    return _schema("vet_report.schema.json")


def _schema(name: str) -> dict[str, Any]:
    text = files("pytest_tvmtune.report").joinpath(name).read_text("utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema

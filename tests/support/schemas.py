"""Whether JSON keeps the schemas that are shipped."""

from __future__ import annotations

from typing import Any

import jsonschema

from pytest_tvmtune.report.json_report import report_schema, vet_report_schema


def validate_report(report: Any) -> None:
    _validate(report, report_schema())


def validate_vet_report(report: Any) -> None:
    _validate(report, vet_report_schema())


def _validate(report: Any, schema: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(report, schema, cls=jsonschema.Draft202012Validator)

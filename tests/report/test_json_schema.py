"""The JSON Schema that is shipped: it describes every key, and what is written keeps it."""

from __future__ import annotations

import copy
import json
from dataclasses import fields
from importlib.resources import files
from typing import Any

import jsonschema
import pytest
from sample_report import sample_report

from pytest_tvmtune.core.comparing.divergence import ArgumentStats, Divergence
from pytest_tvmtune.core.comparing.output_error import ElementError, OutputError
from pytest_tvmtune.core.gating.slowdown_cause import Cause
from pytest_tvmtune.core.kernels.kernel_table import KernelTable, KernelTime
from pytest_tvmtune.core.results.case_result import CaseResult
from pytest_tvmtune.core.results.comparison_result import ErrorResult, GoldenResult
from pytest_tvmtune.core.results.failure import Failure
from pytest_tvmtune.core.results.latency_result import LatencyResult
from pytest_tvmtune.core.results.task_result import TaskResult
from pytest_tvmtune.core.settings.accepted_slowdown import Acceptance
from pytest_tvmtune.core.tuning.tuning_curve import TuningPoint
from pytest_tvmtune.report.json_report import SCHEMA, SCHEMA_VERSION, report_schema

DESCRIBED = {
    "case": CaseResult,
    "task": TaskResult,
    "tuning_point": TuningPoint,
    "failure": Failure,
    "golden": GoldenResult,
    "comparison": ErrorResult,
    "output": OutputError,
    "element": ElementError,
    "divergence": Divergence,
    "argument": ArgumentStats,
    "latency": LatencyResult,
    "cause": Cause,
    "acceptance": Acceptance,
    "kernels": KernelTable,
    "kernel": KernelTime,
}
REPORT: dict[str, Any] = json.loads(json.dumps(sample_report()))


def validate(report: Any) -> None:
    schema = report_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(report, schema, cls=jsonschema.Draft202012Validator)


def test_each_field_of_each_part_is_described_and_required() -> None:
    definitions = report_schema()["$defs"]
    assert definitions.keys() == DESCRIBED.keys()
    for name, cls in DESCRIBED.items():
        names = {field.name for field in fields(cls)}
        assert set(definitions[name]["properties"]) == names, name
        assert set(definitions[name]["required"]) == names, name


def test_the_version_is_the_one_that_is_written() -> None:
    properties = report_schema()["properties"]
    assert properties["schema"]["const"] == SCHEMA
    assert properties["version"]["const"] == SCHEMA_VERSION
    assert f"version {SCHEMA_VERSION}" in report_schema()["title"]


def test_it_is_part_of_the_package() -> None:
    assert files("pytest_tvmtune.report").joinpath("report.schema.json").is_file()


def test_a_report_of_every_kind_keeps_it_also_with_what_hooks_add() -> None:
    validate(REPORT)
    added = copy.deepcopy(REPORT)
    added["cases"][0]["mine"] = {"any": "thing"}
    added["machine"]["rack"] = 7
    validate(added)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("version",), 2),
        (("created_at",), "today"),
        (("cases", 0, "outcome"), "maybe"),
        (("cases", 0, "latency", "median_s"), "1 ms"),
        (("cases", 0, "latency", "interval"), [1.0]),
        (("cases", 0, "tasks", 0, "state"), "tunned"),
        (("cases", 0, "errors", 0, "outputs", 0, "shape"), "2x3"),
        (("cases", 0, "artifact"), "model.so"),
    ],
)
def test_what_does_not_keep_it_is_found(path: tuple[Any, ...], value: Any) -> None:
    broken = copy.deepcopy(REPORT)
    inside = broken
    for key in path[:-1]:
        inside = inside[key]
    inside[path[-1]] = value
    with pytest.raises(jsonschema.ValidationError) as raised:
        validate(broken)
    assert tuple(raised.value.absolute_path) == path


def test_a_key_that_is_missing_is_found() -> None:
    broken = copy.deepcopy(REPORT)
    del broken["cases"][0]["latency"]
    with pytest.raises(jsonschema.ValidationError, match="'latency' is a required property"):
        validate(broken)

"""The JSON Schema that is shipped: it describes every key, and what is written keeps it."""

from __future__ import annotations

import copy
import json
import runpy
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from pytest_tvmtune.report.json_report import (
    SCHEMA,
    SCHEMA_VERSION,
    report_schema,
    vet_report_schema,
)
from tests.support.sample_report import sample_report
from tests.support.schemas import validate_report

GENERATOR = runpy.run_path(str(Path(__file__).parents[2] / "docs" / "make_json.py"))
SHIPPED = {"Report": report_schema, "VetReport": vet_report_schema}
REPORT: dict[str, Any] = json.loads(json.dumps(sample_report()))


@pytest.mark.parametrize("one", GENERATOR["ALL"], ids=lambda one: one.report.__name__)
def test_the_schema_and_the_tables_are_those_of_the_types(one: Any) -> None:
    """Else run `make reference`."""
    assert one.schema_file.read_text() == one.schema_text
    assert one.page_file.read_text() == one.page(one.page_file.read_text())


@pytest.mark.parametrize(("name", "shipped"), SHIPPED.items())
def test_each_part_is_described_and_each_key_is_required(
    name: str, shipped: Callable[[], dict[str, Any]]
) -> None:
    schema = shipped()
    for part_name, part in {name: schema, **schema["$defs"]}.items():
        assert part["description"], part_name
        assert part["required"] == list(part["properties"]), part_name
        for key, value in part["properties"].items():
            assert value["description"], f"{part_name}.{key}"


def test_the_version_is_the_one_that_is_written() -> None:
    properties = report_schema()["properties"]
    assert properties["schema"]["enum"] == [SCHEMA]
    assert properties["version"]["enum"] == [SCHEMA_VERSION]
    assert f"version {SCHEMA_VERSION}" in report_schema()["description"]


def test_it_is_part_of_the_package() -> None:
    for one in GENERATOR["ALL"]:
        assert files("pytest_tvmtune.report").joinpath(one.schema_file.name).is_file()


def test_a_report_of_every_kind_keeps_it_also_with_what_hooks_add() -> None:
    validate_report(REPORT)
    added = copy.deepcopy(REPORT)
    added["cases"][0]["mine"] = {"any": "thing"}
    added["machine"]["rack"] = 7
    validate_report(added)


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
        validate_report(broken)
    assert tuple(raised.value.absolute_path) == path


def test_a_key_that_is_missing_is_found() -> None:
    broken = copy.deepcopy(REPORT)
    del broken["cases"][0]["latency"]
    with pytest.raises(jsonschema.ValidationError, match="'latency' is a required property"):
        validate_report(broken)

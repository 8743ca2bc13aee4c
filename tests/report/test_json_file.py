"""The JSON report: its keys, its order, and that any JSON reader takes it."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

import pytest

from pytest_tvmtune.core.json_codec import from_json_values, to_json_values
from pytest_tvmtune.core.results.case_result import CaseResult
from pytest_tvmtune.core.results.comparison_result import ErrorResult
from pytest_tvmtune.core.results.latency_result import LatencyResult
from pytest_tvmtune.report.json_report import SCHEMA_VERSION, make_report
from pytest_tvmtune.report.report_files import write_reports

GATED = LatencyResult(
    verdict="INCONCLUSIVE",
    message="1.010x slower",
    median_s=1.01e-3,
    baseline_median_s=1e-3,
    slowdown_ratio=1.01,
    interval=(0.98, 1.04),
    confidence=0.9804,
    threshold="3%",
    epochs=20,
    pairs=60,
    spent_s=10.5,
    noise=0.02,
    resolvable_ratio=1.05,
    num_threads=2,
    accepted_median_s=0.9e-3,
    accepted_on={"cpu": "a CPU", "tvm": "0.27.0", "at": "2024-01-01T00:00:00Z"},
)


def case(nodeid: str, name: str = "mlp", **values: Any) -> dict[str, Any]:
    plain: dict[str, Any] = to_json_values(CaseResult(
        name=name, nodeid=nodeid, entry="main", target_name="llvm", target="{}", prepack=False,
        **values,
    ))  # fmt: skip
    return plain


def write_report(path: Path, cases: list[dict[str, Any]], machine: dict[str, Any]) -> None:
    assert write_reports(make_report(cases, machine), {"json": path}) == []


def refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is not JSON (RFC 8259)")


def read(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(path.read_text(), parse_constant=refuse)
    return loaded


def test_the_keys_of_the_schema(tmp_path: Path) -> None:
    path = tmp_path / "reports" / "out.json"
    write_report(path, [case("t.py::a")], {"cpu": "a CPU"})
    report = read(path)
    assert set(report) == {
        "schema", "version", "created_at", "machine", "cases", "failed_tests", "interrupted",
    }  # fmt: skip
    assert (report["schema"], report["version"]) == ("pytest-tvmtune", SCHEMA_VERSION)
    assert report["machine"] == {"cpu": "a CPU"}
    # docs/reference/json.md documents them: a key goes away only with a new version of the schema.
    assert set(report["cases"][0]) >= {
        "name", "nodeid", "entry", "target_name", "target", "prepack", "tuning_trials",
        "trials_spent", "tasks", "tasks_left_out", "tasks_restored", "tuned_now", "compiled_now",
        "tuning_s", "compile_s", "transform_s", "transform_extra_bytes", "library_bytes",
        "artifact", "errors", "latency", "findings", "warnings", "outcome",
    }  # fmt: skip


def test_the_keys_of_a_latency(tmp_path: Path) -> None:
    write_report(tmp_path / "out.json", [case("t.py::a", latency=GATED)], {})
    latency = read(tmp_path / "out.json")["cases"][0]["latency"]
    assert set(latency) >= {
        "verdict", "message", "median_s", "baseline_median_s", "slowdown_ratio", "interval",
        "confidence", "threshold", "epochs", "pairs", "spent_s", "noise", "resolvable_ratio",
        "num_threads", "accepted_median_s", "accepted_on", "same_code", "accepted",
    }  # fmt: skip
    assert (latency["interval"], latency["noise"]) == ([0.98, 1.04], 0.02)
    assert (latency["resolvable_ratio"], latency["accepted_median_s"]) == (1.05, 0.9e-3)
    assert latency["accepted_on"]["at"] == "2024-01-01T00:00:00Z"


def test_what_a_latency_lacks_is_null(tmp_path: Path) -> None:
    bare = LatencyResult(verdict="NEW", message="")
    boundless = LatencyResult(
        verdict="INCONCLUSIVE", message="", interval=(0.0, math.inf), resolvable_ratio=math.inf
    )
    for latency in (bare, boundless):
        write_report(tmp_path / "out.json", [case("t.py::a", latency=latency)], {})
        loaded = read(tmp_path / "out.json")["cases"][0]["latency"]
        names = ("noise", "resolvable_ratio", "accepted_median_s", "slowdown_ratio")
        assert [loaded[name] for name in names] == [None] * 4
        assert loaded["interval"] == (None if latency is bare else [0.0, None])
        assert loaded["accepted_on"] == {}


def test_the_time_is_utc(tmp_path: Path) -> None:
    # The C library's clock behind gmtime may lag some milliseconds behind time.time().
    before = int(time.time()) - 1
    write_report(tmp_path / "out.json", [], {})
    made = time.strptime(read(tmp_path / "out.json")["created_at"], "%Y-%m-%dT%H:%M:%SZ")
    from calendar import timegm

    assert before <= timegm(made) <= time.time()


def test_cases_stand_in_order_of_their_ids_however_they_finished(tmp_path: Path) -> None:
    cases = [case("t.py::b"), case("t.py::a", "second"), case("t.py::a", "first"), case("s.py::z")]
    texts = set()
    for number, order in enumerate(([0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1])):
        path = tmp_path / f"{number}.json"
        write_report(path, [cases[i] for i in order], {})
        report = read(path)
        ids = [(c["nodeid"], c["name"]) for c in report["cases"]]
        assert ids == [
            ("s.py::z", "mlp"), ("t.py::a", "first"), ("t.py::a", "second"), ("t.py::b", "mlp")
        ]  # fmt: skip
        del report["created_at"]
        texts.add(json.dumps(report))
    assert len(texts) == 1


def test_a_case_reads_back_as_it_was(tmp_path: Path) -> None:
    written = case("t.py::a", findings=["ü"], tasks_restored=["relu"], latency=GATED)
    write_report(tmp_path / "out.json", [written], {})
    back = from_json_values(read(tmp_path / "out.json")["cases"][0], CaseResult)
    assert to_json_values(back) == written
    assert back.latency == GATED


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
def test_errors_without_bound_are_still_json(tmp_path: Path, number: float) -> None:
    # The relative error against an expected 0 is infinite, in passing cases too.
    error = ErrorResult(against="numpy", passed=True, max_abs_error=1e-9, max_rel_error=number)
    write_report(tmp_path / "out.json", [case("t.py::a", errors=[error])], {})
    (loaded,) = read(tmp_path / "out.json")["cases"][0]["errors"]
    assert loaded["max_abs_error"] == 1e-9


def test_a_path_that_can_not_be_written_keeps_no_other_from_being_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    paths = {"json": tmp_path / "file" / "out.json", "html": tmp_path / "out.html"}
    (problem,) = write_reports(make_report([], {}), paths)
    assert problem.startswith("--tvm-json: can't write")
    assert paths["html"].is_file()

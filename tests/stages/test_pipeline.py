"""The pipeline alone writes results, and registers what was really written."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import pytest_tvmtune
from pytest_tvmtune.core.errors import ChildError
from pytest_tvmtune.core.results.case_result import CaseResult
from pytest_tvmtune.core.tuning.tuning_curve import TuningPoint
from pytest_tvmtune.stages import pipeline
from pytest_tvmtune.stages.case_logs import logs_of
from pytest_tvmtune.stages.outcomes import TuningOutcome
from pytest_tvmtune.store.layout import open_store
from tests.support.cases import built_run, run_of
from tests.support.modules import OpenCase, Square

PACKAGE = Path(pytest_tvmtune.__file__).parent
CHANGING = {"append", "extend", "insert", "update", "setdefault", "pop", "remove", "clear"}
FIELDS = set(CaseResult.__dataclass_fields__)


def is_result(node: ast.AST) -> bool:
    name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
    return name in {"result", "case_result"}


def is_field(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and is_result(node.value) and node.attr in FIELDS


def changed(node: ast.AST) -> Iterator[ast.AST]:
    """Return what a statement or a call writes to."""
    if isinstance(node, ast.Assign):
        for target in node.targets:
            yield from target.elts if isinstance(target, ast.Tuple) else [target]
    elif isinstance(node, ast.AugAssign | ast.AnnAssign):
        yield node.target
    elif (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in CHANGING
    ):
        yield node.func.value


def writes(source: str) -> list[int]:
    """Return the lines that write to a case's result."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.expr | ast.stmt)
        and (
            (isinstance(node, ast.Attribute) and node.attr == "note_failure")
            or any(
                is_field(target.value if isinstance(target, ast.Subscript) else target)
                for target in changed(node)
            )
        )
    ]


@pytest.mark.parametrize(
    "line",
    [
        "case.result.tasks = []",
        "result.latency = latency",
        "run.result.warnings += [message]",
        "a, case.result.artifact = b",
        "self.case.result.errors.append(error)",
        "case.result.logs['gate'] = path",
        "case.result.note_failure(failure)",
    ],
)
def test_every_kind_of_write_is_counted(line: str) -> None:
    assert writes(line) == [1]


def test_only_the_pipeline_and_its_run_write_to_a_result() -> None:
    found = {
        str(path.relative_to(PACKAGE)): lines
        for folder in ("stages", "plugin", "cli", "report")
        for path in (PACKAGE / folder).rglob("*.py")
        if (lines := writes(path.read_text()))
    }
    assert set(found) == {
        "stages/pipeline.py",
        "stages/latency_checks.py",
        "stages/case_run.py",
    }


def test_what_tuning_came_to_before_it_failed_is_kept(
    open_: OpenCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    point = TuningPoint(trial=3, task="matmul", best_s=1e-6)
    failed = TuningOutcome(
        tuned=frozenset({"0123456789abcdef"}),
        trials_spent=8,
        seconds=2.0,
        curve=(point,),
        error=ChildError("tuning: crashed", log_path=Path("tune.log")),
    )
    monkeypatch.setattr(pipeline, "tune_missing", lambda *_: failed)
    run = run_of(open_(Square))
    (finding,) = pipeline.make_checks(run, pipeline.prepare)
    assert finding.startswith("model[llvm]: tuning: crashed")
    result = run.result
    assert (result.tuned_now, result.trials_spent, result.tuning_s) == (True, 8, 2.0)
    assert result.tuning_curve == [point]
    assert result.findings == [finding]


def test_a_log_is_registered_where_this_run_wrote_it(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    earlier = logs_of(store, "mlp[llvm]", "test_it.py::test_mlp")
    store.logs.mkdir(exist_ok=True)
    for stage in ("tune", "gate"):
        earlier.path(stage).write_text("printed\n")
    assert earlier.written().keys() == {"tune", "gate"}
    now = logs_of(store, "mlp[llvm]", "test_it.py::test_mlp")
    now.path("run").touch()
    with now.path("gate").open("a") as log:
        log.write("once more\n")
    assert now.written() == {"gate": str(now.path("gate"))}
    assert logs_of(store, "mlp[llvm]", "other.py::test_mlp").path("gate") != now.path("gate")


def test_a_stage_that_tuned_nothing_registers_no_log(open_: OpenCase) -> None:
    run = built_run(open_(Square))
    assert "tune" not in run.case.logs.written()
    assert run.result.compiled_now
    again = built_run(open_(Square))
    assert (again.case.logs.written(), again.result.compiled_now) == ({}, False)

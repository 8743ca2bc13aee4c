"""What is tried of a TVM that isn't known, with versions that are."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_tvmtune.processes.job import WorkerContext
from pytest_tvmtune.relax import compat
from pytest_tvmtune.relax.installation import conformance_job

pytestmark = pytest.mark.each_version


def tried(folder: Path, *parts: conformance_job.Part) -> dict[conformance_job.Part, str]:
    context = WorkerContext[None](folder=folder)
    return conformance_job.run(conformance_job.Request(parts=parts), context).problems


def test_all_parts_of_the_installed_version_work(tmp_path: Path) -> None:
    assert tried(tmp_path, *conformance_job.PARTS) == {}


def test_each_part_that_fails_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(compat._CORE, "load_json", "ir:load_json_of_another_age")
    names, serializing, *others = conformance_job.PARTS
    problems = tried(tmp_path, *conformance_job.PARTS)
    assert problems.keys() == {names, serializing}
    assert "it has no tvm.ir.load_json_of_another_age or tvm_tirx.ir." in problems[names]
    assert others

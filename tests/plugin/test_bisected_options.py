"""The options of a test in a bisection: those of its marker have no effect on the verdict."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pytest_tvmtune.core.settings.options import CaseOptions, resolve_run
from pytest_tvmtune.core.settings.parsing import parse_marker, parse_setting
from pytest_tvmtune.core.settings.target_spec import parse_target
from pytest_tvmtune.plugin.bisecting import _as_bisected, _copier

MARKER = {
    "threshold": "9%",
    "trials": 64,
    "max_time": "1s",
    "accept": "20%",
    "until": "2099-01-01",
    "reason": "for now",
    "max_latency": "1us",
    "work_dir": "records",
}


def bisected(tmp_path: Path, command_line: dict[str, str], **more: Any) -> CaseOptions:
    given = {name: parse_setting(name, value, name) for name, value in command_line.items()}
    marker = parse_marker({**MARKER, **more})
    run = resolve_run(given, store_dir=tmp_path / "store")
    options = run.case_options(marker, target=parse_target("llvm"), prepack=False)
    return _as_bisected(given, _copier(run.store_dir), options)


def test_the_command_line_comes_before_the_marker(tmp_path: Path) -> None:
    given = {"threshold": "7.24%", "trials": "8", "max_time": "60s"}
    options = bisected(tmp_path, given)
    assert (options.threshold.text, options.trials, options.max_time_s) == ("7.24%", 8, 60.0)
    options = bisected(tmp_path, {})
    assert (options.threshold.text, options.trials, options.max_time_s) == ("9%", 64, 1.0)


def test_no_slowdown_is_accepted_and_no_budget_applies(tmp_path: Path) -> None:
    options = bisected(tmp_path, {})
    assert (options.acceptance, options.threshold.accepted_ratio) == (None, 0.0)
    assert options.max_latency == ()


def test_records_are_read_from_a_copy_of_a_work_dir(tmp_path: Path) -> None:
    work_dir = tmp_path / "records"
    work_dir.mkdir()
    (work_dir / "database_workload.json").write_text("[]\n")
    copy = bisected(tmp_path, {}, work_dir=work_dir).work_dir
    assert copy is not None
    assert copy != work_dir
    assert (copy / "database_workload.json").read_text() == "[]\n"
    other = bisected(tmp_path, {}, work_dir=tmp_path / "absent").work_dir
    assert other is not None
    assert list(other.iterdir()) == []


def test_an_untuned_commit_has_no_records(tmp_path: Path) -> None:
    assert bisected(tmp_path, {"trials": "0", "tuning": "never"}).work_dir is None

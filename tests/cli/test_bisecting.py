"""`tvmtune bisect` and `git bisect run` on repositories of twelve commits."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pytest_tvmtune.cli import main
from tests.support.bisect_history import History, git, make_history

TVMTUNE = [
    sys.executable,
    "-c",
    "import sys; from pytest_tvmtune.cli import main; sys.exit(main())",
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def bisect(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    code = main(["bisect", "--json", "--install=make", *arguments, "test_model.py"])
    captured = capsys.readouterr()
    assert captured.out, captured.err
    return code, json.loads(captured.out)


def numbers(found: dict[str, Any], hashes: list[str], verdict: str) -> list[int]:
    """Return the numbers of the commits with a verdict, in order of their test."""
    return [
        hashes.index(step["commit"]["sha"]) + 1
        for step in found["steps"]
        if step["verdict"] == verdict
    ]


def test_wrong_numbers_are_found(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hashes = make_history(folder, History(wrong=(9, 10), broken=(8,), slow_from=7))
    code, found = bisect(capsys, "--find=wrong", f"--good={hashes[6]}", f"--bad={hashes[9]}")
    assert (code, numbers(found, hashes, "good")) == (1, [7])
    # The commit between can't be built, so it can be the first bad one, too.
    assert numbers(found, hashes, "undecided") == [8]
    assert found["first_bad"] is None
    assert [one["sha"] for one in found["candidates"]] == [hashes[8], hashes[7]]


def test_a_case_that_is_missing_is_not_good(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_history(folder, History())
    other = folder / "test_other.py"
    other.write_text((folder / "test_model.py").read_text())
    arguments = ["--find=wrong", "--dir=../store", "test_model.py", "test_other.py"]
    assert main(["bisect-step", "--accept", *arguments]) == 0
    other.write_text("import no_such_module\n")
    assert main(["bisect-step", *arguments]) == 125
    assert "test_other.py::test_model[llvm]: not in this run" in capsys.readouterr().out
    (folder.parent / "store/bisect-keys.json").unlink()
    assert main(["bisect-step", *arguments]) == 125
    assert "a test failed, or is missing: " in capsys.readouterr().out


@pytest.mark.slow
def test_a_slowdown_is_found_past_commits_that_can_not_be_decided(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hashes = make_history(folder, History(slow_from=8, wrong=(9, 10), broken=(6,)))
    code, found = bisect(capsys, "--good=main~11", "--bad=main")
    assert (code, found["first_bad"]["sha"]) == (0, hashes[7])
    assert {6, 9} <= set(numbers(found, hashes, "undecided"))
    assert {7} <= set(numbers(found, hashes, "good"))
    (finding,) = found["findings"]
    assert "matmul 19 -> 22 times" in finding
    assert git(folder, "status", "-sb") == "## main"
    # What the marker of the tests accepts isn't accepted here.
    assert "limit 1.0" in finding


@pytest.mark.slow
def test_wrong_numbers_are_found_past_a_slowdown(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hashes = make_history(folder, History(slow_from=4, wrong=tuple(range(8, 13)), broken=(6,)))
    code, found = bisect(capsys, "--good=main~11", "--bad=main", "--find=wrong")
    assert (code, found["first_bad"]["sha"]) == (0, hashes[7])
    assert numbers(found, hashes, "undecided") == [6]


@pytest.mark.slow
def test_a_slow_commit_that_is_no_slower_ends_it(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_history(folder, History())
    code = main(["bisect", "--good=main~11", "--bad=main", "test_model.py"])
    error = capsys.readouterr().err
    assert code == 1
    assert "isn't bad: model[llvm]: PASS" in error
    assert git(folder, "status", "-sb") == "## main"


@pytest.mark.slow
def test_git_bisect_run_takes_the_exit_codes(folder: Path) -> None:
    hashes = make_history(folder, History(slow_from=8, broken=(6,)))
    step = [*TVMTUNE, "bisect-step", "test_model.py"]
    git(folder, "checkout", "-q", hashes[0])
    accepted = subprocess.run([*step, "--accept"], check=True, capture_output=True, text=True)
    assert accepted.stdout.startswith("good in ")
    git(folder, "checkout", "-q", "main")
    git(folder, "bisect", "start", "main", hashes[0])
    output = git(folder, "bisect", "run", *step)
    assert f"{hashes[7]} is the first bad commit" in output
    assert "no test with tvm_tune was run: " in output
    git(folder, "bisect", "reset")

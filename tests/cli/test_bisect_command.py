"""`tvmtune bisect` and `bisect-step` without a case: what begins no bisection, or decides none."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pytest_tvmtune.cli import main
from tests.support.bisect_history import git

TVMTUNE = [
    sys.executable,
    "-c",
    "import sys; from pytest_tvmtune.cli import main; sys.exit(main())",
]


@pytest.fixture(autouse=True)
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository of four commits, without any test."""
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    (folder / "pytest.ini").write_text("[pytest]\naddopts = -p no:cacheprovider\n")
    for number in range(4):
        (folder / "number").write_text(f"{number}\n")
        git(folder, "add", "-A")
        git(folder, "commit", "-q", "-m", f"Change {number}")
    monkeypatch.chdir(folder)
    return folder


def bisect(*arguments: str) -> int:
    return main(["bisect", "--good=main~3", "--bad=main", *arguments])


def step(*arguments: str) -> int:
    return main(["bisect-step", "--dir=../store", *arguments])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--good=main~9"], "failed: fatal: "),
        (["--good=main", "--bad=main"], "both name the commit"),
        (["--good=main", "--bad=main~1"], "an ancestor of the bad commit"),
        (["--good=other"], "an ancestor of the bad commit"),
    ],
)
def test_commits_that_can_not_be_bisected(
    given: list[str], said: str, capsys: pytest.CaptureFixture[str], repository: Path
) -> None:
    git(repository, "checkout", "-q", "-b", "other", "main~1")
    git(repository, "commit", "-q", "--allow-empty", "-m", "Go another way")
    git(repository, "checkout", "-q", "main")
    assert bisect(*given) == 1
    assert said in capsys.readouterr().err
    assert git(repository, "status", "-sb") == "## main"


def test_a_shallow_clone(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    repository: Path,
    tmp_path: Path,
) -> None:
    git(tmp_path, "clone", "-q", "--depth=2", f"file://{repository}", "clone")
    monkeypatch.chdir(tmp_path / "clone")
    assert bisect() == 1
    assert "a shallow clone; use git fetch --unshallow" in capsys.readouterr().err


def test_both_commits_are_needed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["bisect", "--good=main~3"])
    assert exit_.value.code == 2
    assert "--bad" in capsys.readouterr().err


def test_a_folder_without_git(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)
    assert bisect() == 1
    assert "`git rev-parse --show-toplevel` failed" in capsys.readouterr().err


def test_without_git(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert bisect() == 1
    assert "git can't be started: No such file or directory; install git" in capsys.readouterr().err


def test_a_folder_below_the_top(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, repository: Path
) -> None:
    (repository / "below").mkdir()
    monkeypatch.chdir(repository / "below")
    assert bisect() == 1
    assert f"run the command in {repository}, the top of" in capsys.readouterr().err


def test_changes_in_the_work_tree_are_kept(
    capsys: pytest.CaptureFixture[str], repository: Path
) -> None:
    (repository / "number").write_text("mine\n")
    assert bisect() == 1
    assert "which would be in each commit: number; commit them" in capsys.readouterr().err
    assert (repository / "number").read_text() == "mine\n"


def test_another_bisection(capsys: pytest.CaptureFixture[str], repository: Path) -> None:
    git(repository, "bisect", "start")
    assert bisect() == 1
    assert "a bisection is going on here; to end it, use git bisect reset" in (
        capsys.readouterr().err
    )


def test_a_good_commit_that_can_not_be_tested(
    capsys: pytest.CaptureFixture[str], repository: Path
) -> None:
    assert bisect("--install=echo no compiler; false") == 1
    error = capsys.readouterr().err
    assert "isn't good: 'echo no compiler; false' failed (exit code 1): no compiler" in error
    assert "the commit that is checked out again isn't installed" in error
    assert git(repository, "status", "-sb") == "## main"


def test_the_commit_is_installed_again_at_the_end(repository: Path, tmp_path: Path) -> None:
    installed = tmp_path / "installed"
    assert bisect(f"--install=cat number >> {installed}") == 1
    assert installed.read_text() == "0\n3\n"


def test_submodules_follow_the_commits(repository: Path, tmp_path: Path) -> None:
    part, installed = tmp_path / "part", tmp_path / "installed"
    git(tmp_path, "clone", "-q", str(repository), str(part))
    allowed = ("-c", "protocol.file.allow=always")
    git(repository, *allowed, "submodule", "--quiet", "add", str(part), "part")
    git(repository / "part", "checkout", "-q", "--detach", "main~3")
    git(repository, "commit", "-q", "-a", "-m", "Add a part")
    git(repository / "part", "checkout", "-q", "--detach", "main")
    git(repository, "commit", "-q", "-a", "-m", "Take a new part")
    assert bisect("--good=main~1", f"--install=cat part/number >> {installed}") == 1
    assert installed.read_text() == "0\n3\n"
    assert git(repository, "status", "-sb") == "## main"


def test_a_build_that_changes_a_tracked_file_ends_it(
    capsys: pytest.CaptureFixture[str], repository: Path
) -> None:
    # The last time, for the branch, it changes nothing.
    assert bisect("--install=git symbolic-ref -q HEAD || echo built > number") == 1
    error = capsys.readouterr().err
    assert "changed files that git tracks, which would be in other commits: number; let" in error
    assert git(repository, "status", "-sb") == "## main"


def test_a_problem_of_git_at_the_end_hides_no_other(
    capsys: pytest.CaptureFixture[str], repository: Path
) -> None:
    assert bisect("--install=touch .git/index.lock; exit 3") == 1
    error = capsys.readouterr().err
    assert "the work tree isn't as before: `git checkout --quiet --force " in error
    assert error.rstrip().splitlines()[-1].startswith("tvmtune: the good commit ")


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_build_that_is_interrupted_does_not_run_on(
    sent: signal.Signals, repository: Path, tmp_path: Path
) -> None:
    group = tmp_path / "group"
    install = f"test -e {group} || {{ echo $$ > {group}.new; mv {group}.new {group}; sleep 99; }}"
    process = subprocess.Popen(
        [*TVMTUNE, "bisect", "--good=main~3", "--bad=main", f"--install={install}"],
        cwd=repository,
    )
    while not group.exists() and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(sent)
    assert process.wait(60) == 130
    with pytest.raises(ProcessLookupError):
        os.killpg(int(group.read_text()), 0)
    assert git(repository, "status", "-sb") == "## main"


@pytest.mark.parametrize(
    ("files", "arguments", "said"),
    [
        ({}, ["--install=exit 3"], "'exit 3' failed (exit code 3)"),
        ({}, [], "pytest can't run the tests (exit code 5)"),
        ({}, ["--no-such-option"], "pytest can't run the tests (exit code 4)"),
        ({"test_it.py": "def test_it(): pass\n"}, [], "no test with tvm_tune was run"),
        ({"test_it.py": "def test_it(: pass\n"}, [], "no test with tvm_tune was run"),
    ],
    ids=["install", "no-tests", "option", "no-case", "syntax"],
)
def test_a_commit_that_can_not_be_decided(
    files: dict[str, str],
    arguments: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
    repository: Path,
) -> None:
    for name, text in files.items():
        (repository / name).write_text(text)
    assert step(*arguments) == 125
    out = capsys.readouterr().out
    assert out.startswith("undecided in ")
    assert said in out


def test_a_store_that_can_not_be_used_ends_the_bisection(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "store").write_text("a file")
    assert step() == 129
    assert capsys.readouterr().err.startswith("tvmtune: ")


def test_the_store_is_in_the_folder_of_git(
    capsys: pytest.CaptureFixture[str], repository: Path
) -> None:
    assert main(["bisect-step", "--accept"]) == 125
    store = repository / ".git/tvmtune-bisect/untuned"
    assert json.loads((store / "bisect-keys.json").read_bytes()) == []
    assert not (repository / ".tvmtune").exists()
    assert main(["bisect-step"]) == 129
    assert "no case of the good commit was accepted; check it out" in capsys.readouterr().err


def test_a_missing_package_is_no_bad_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pytest_tvmtune.stages.bisecting.tested_commit", None)
    assert step() == 129


def test_wrong_usage_is_no_bad_commit(repository: Path) -> None:
    git(repository, "bisect", "start", "main", "main~3")
    done = subprocess.run(
        ["git", "bisect", "run", *TVMTUNE, "bisect-step", "--find=slowness"],
        cwd=repository,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "invalid choice: 'slowness'" in done.stderr
    assert "129" in done.stdout + done.stderr
    assert "first bad commit" not in done.stdout

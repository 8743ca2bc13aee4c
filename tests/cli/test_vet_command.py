"""`tvmtune vet`: its usage, and what it says of environments that can't run the tests."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pytest_tvmtune.cli import main
from tests.support.environments import make_environment


@pytest.fixture(autouse=True)
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def vet(old: object, new: object, *arguments: str) -> int:
    return main(["vet", f"--old={old}", f"--new={new}", *arguments])


def test_both_interpreters_are_needed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["vet", "--old", sys.executable])
    assert exit_.value.code == 2
    assert "--new" in capsys.readouterr().err


def test_no_other_command_takes_unknown_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["env", "-k", "mlp"])
    assert exit_.value.code == 2
    assert "unrecognized arguments: -k mlp" in capsys.readouterr().err


def test_an_interpreter_that_does_not_exist(capsys: pytest.CaptureFixture[str]) -> None:
    assert vet("no/python", sys.executable) == 2
    error = capsys.readouterr().err
    assert "--old no/python: can't start the interpreter: No such file or directory" in error


def test_a_program_that_is_no_python(capsys: pytest.CaptureFixture[str]) -> None:
    assert vet("/bin/false", sys.executable) == 2
    error = capsys.readouterr().err
    assert "--old /bin/false: not a Python interpreter that works: exit code 1" in error


def test_the_folder_of_an_environment(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert vet(tmp_path, sys.executable) == 2
    told = f"--old {tmp_path}: it is a folder; give the path of a Python interpreter, such as "
    assert f"{told}{tmp_path}/bin/python" in capsys.readouterr().err


def test_a_page_that_can_not_be_written_is_told_first(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert vet("no/python", sys.executable, f"--html={tmp_path}") == 2
    error = capsys.readouterr().err
    assert error == f"tvmtune: --html: {tmp_path} is a folder; give the path of a file\n"


def test_an_environment_without_tvm(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    empty = make_environment(tmp_path / "empty", has_packages=False)
    assert vet(sys.executable, empty) == 2
    error = capsys.readouterr().err
    assert f"--new {empty}: this environment has no tvm and no tvm_ffi; install TVM there" in error


def test_another_python_without_the_packages(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    # Says that it is Python 3.1, whatever it is.
    files = {
        "tvm/__init__.py": "",
        "tvm_ffi/__init__.py": "",
        "other.pth": "import sys; sys.version_info = (3, 1, 0)",
    }
    other = make_environment(tmp_path / "other", files, has_packages=False)
    assert vet(other, sys.executable) == 2
    error = capsys.readouterr().err
    assert "and has Python 3.1, so it can't use the packages of this Python 3." in error
    assert "numpy, pytest" in error


def test_no_test_of_a_model(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "test_nothing.py").write_text("def test_nothing():\n    pass\n")
    assert vet(sys.executable, sys.executable, "-p", "no:cacheprovider") == 2
    assert "no test with the fixture tvm_tune was run" in capsys.readouterr().err


def test_pytest_refuses_an_argument(capsys: pytest.CaptureFixture[str]) -> None:
    assert vet(sys.executable, sys.executable, "--no-such-option") == 2
    error = capsys.readouterr().err
    assert f"--old {sys.executable}: pytest can't run the tests (exit code 4)" in error
    assert "--no-such-option" in error

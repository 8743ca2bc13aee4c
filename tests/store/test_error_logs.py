"""What is behind an error is kept in a log that its message names."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import pytest

from pytest_tvmtune.core.errors import DefectError, ImporterError, ModelError
from pytest_tvmtune.core.tensors.signature import bind_arrays
from pytest_tvmtune.store.error_logs import errors_logged


def fail() -> NoReturn:
    try:
        raise ValueError("head " + "x" * 1000 + " tail")
    except ValueError as error:
        raise ImporterError("it failed", printed="Error converting Add") from error


def test_an_error_from_another_one(tmp_path: Path) -> None:
    path = tmp_path / "logs/m-import.log"
    with pytest.raises(ImporterError) as caught, errors_logged(lambda: path):
        fail()
    assert str(caught.value) == f"it failed\nlog: {path}"
    assert caught.value.log_path == path
    text = path.read_text()
    assert text.startswith("it failed\n")
    assert "\nError converting Add\n" in text
    assert "ValueError: head " + "x" * 1000 + " tail\n" in text


def test_an_error_that_says_everything_itself_has_none(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"^no such file$"), errors_logged(lambda: tmp_path / "a"):
        raise ModelError("no such file")
    assert not list(tmp_path.iterdir())


def test_any_other_exception_is_a_fault_of_ours(tmp_path: Path) -> None:
    path = tmp_path / "m-import.log"
    with pytest.raises(DefectError) as caught, errors_logged(lambda: path):
        bind_arrays(3, {"x": 1}, "input")  # type: ignore[arg-type]
    assert str(caught.value).startswith("TypeError: 'int' object is not iterable (pytest_tvmtune/")
    assert "core/tensors/signature.py, line " in str(caught.value)
    assert "a fault of pytest-tvmtune, not of the model or TVM; report it" in str(caught.value)
    assert "in _by_name" in path.read_text()


@pytest.mark.parametrize("error", [OSError("disk"), MemoryError(), UserWarning("strict")])
def test_what_is_nobodys_fault_passes(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(type(error)), errors_logged(lambda: tmp_path / "a.log"):
        raise error
    assert not list(tmp_path.iterdir())


def test_without_room_for_a_log_the_message_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file/a.log"
    with pytest.raises(ModelError, match=r"^it failed$"), errors_logged(lambda: path):
        fail()

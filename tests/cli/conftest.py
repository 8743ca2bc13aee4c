"""A store for the command to look after, filled with samples."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_tvmtune.cli import main
from pytest_tvmtune.store.layout import Store, open_store
from pytest_tvmtune.store.signing.signatures import KEY_VARIABLE


@pytest.fixture(autouse=True)
def use_key(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Sign with this key from now on; "" is none, as every test begins."""

    def use(key: str) -> None:
        monkeypatch.setenv(KEY_VARIABLE, key)

    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    return use


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "store")


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(store: Store, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command on the store; return exit code, output and errors."""

    def ran(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([*map(str, arguments), "--dir", str(store.root)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return ran

"""A store in tmp_path, its key, a case carried to another, and a process without root's rights."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from pytest_tvmtune.core.gating.accepted_baseline import Baseline
from pytest_tvmtune.store.accepted.portable_baselines import export_baselines
from pytest_tvmtune.store.layout import Store, open_store
from pytest_tvmtune.store.signing.signatures import KEY_VARIABLE
from tests.store.sample_signed import JSON_KINDS, KINDS, Kind
from tests.support.sample_store import put_case

NOBODY = 65534


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


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    """Each kind of file that is signed."""
    return KINDS[request.param]


@pytest.fixture(params=JSON_KINDS)
def json_kind(request: pytest.FixtureRequest) -> Kind:
    return KINDS[request.param]


@pytest.fixture
def target(tmp_path: Path) -> Store:
    """The store that baselines are carried to."""
    return open_store(tmp_path / "target")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The file that they are carried in."""
    return tmp_path / "baselines.zip"


@pytest.fixture
def case(store: Store, file: Path) -> Baseline:
    """An accepted case, exported to `file`."""
    accepted = put_case(store)
    export_baselines(store, [accepted], file)
    return accepted


@pytest.fixture
def public_path() -> Iterator[Path]:
    """A folder that any user may enter (tmp_path is its owner's alone)."""
    folder = Path(tempfile.mkdtemp(prefix="tvmtune-test-"))
    folder.chmod(0o755)
    yield folder
    for path in [folder, *folder.rglob("*")]:
        if path.is_dir():
            path.chmod(0o755)
    shutil.rmtree(folder)


@pytest.fixture
def unprivileged() -> Callable[[], AbstractContextManager[None]]:
    """Within it this process has no rights but those the file modes give."""

    @contextmanager
    def dropped() -> Iterator[None]:
        if os.geteuid() != 0:
            yield
            return
        os.setresuid(NOBODY, NOBODY, 0)
        try:
            yield
        finally:
            os.setresuid(0, 0, 0)

    return dropped

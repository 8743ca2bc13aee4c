"""The start-up check, with a version pair that really crashes and a machine without a compiler."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_tvmtune.core.errors import EnvironmentProblemError
from pytest_tvmtune.machine.installed_tvm import package_version
from pytest_tvmtune.relax.installation.startup_check import check_installation, check_tvm
from pytest_tvmtune.store.layout import open_store

BAD_FFI = "0.1.15.post2"


@pytest.fixture(scope="module")
def bad_pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with an apache-tvm-ffi that crashes the installed apache-tvm."""
    folder = tmp_path_factory.mktemp("ffi")
    subprocess.run(
        [
            sys.executable, "-m", "pip", "install", "--quiet", "--no-deps",
            "--disable-pip-version-check", "--target", str(folder), f"apache-tvm-ffi=={BAD_FFI}",
        ],
        check=True,
    )  # fmt: skip
    return folder


def test_a_crashing_pair_is_one_usage_error(bad_pair: Path, tmp_path: Path) -> None:
    suite = tmp_path / "suite"
    suite.mkdir()
    (suite / "pytest.ini").write_text("[pytest]\n")
    (suite / "test_it.py").write_text(
        "import pytest\n@pytest.mark.tvm_tune(trials=0)\ndef test_it(tvm_tune): pass\n"
    )
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
    environment = {**os.environ, "PYTHONPATH": str(bad_pair)}

    for _ in range(2):
        done = subprocess.run(
            command, cwd=suite, env=environment, capture_output=True, text=True, check=False
        )
        text = done.stdout + done.stderr
        assert done.returncode == 4, text
        assert f"apache-tvm-ffi {BAD_FFI}" in text
        assert "SIGSEGV" in text
        assert "pip install 'apache-tvm-ffi==0.1.14.post1'" in text
        assert "INTERNALERROR" not in text
        assert "serializing an IRModule: crashed with SIGSEGV" in text
        # A failure isn't kept: another compiler, or another release of the plugin, may mend it.
        assert not (suite / ".tvmtune" / "probes.json").exists()


def test_no_marked_test_no_check(bad_pair: Path, tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_plain.py").write_text("def test_plain(): pass\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest"], cwd=tmp_path, check=False, capture_output=True,
        env={**os.environ, "PYTHONPATH": str(bad_pair)},
    )  # fmt: skip
    assert done.returncode == 0
    assert not (tmp_path / ".tvmtune").exists()


def test_the_installed_pair_works_unprobed(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    assert check_tvm(store) == ""
    assert check_installation(store, tuning=True) == ""
    assert not store.probes.exists()


def test_a_missing_compiler_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(EnvironmentProblemError, match="install g"):
        check_installation(open_store(tmp_path / "store"), tuning=False)
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(EnvironmentProblemError, match="set CXX"):
        check_installation(open_store(tmp_path / "store"), tuning=False)


def test_what_tuning_needs_is_told_before_anything_is_tuned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None in sys.modules is Python's own way to say that a module can't be found."""
    store = open_store(tmp_path / "store")
    monkeypatch.setitem(sys.modules, "xgboost", None)
    check_installation(store, tuning=False)
    with pytest.raises(EnvironmentProblemError, match="tuning needs xgboost") as caught:
        check_installation(store, tuning=True)
    assert "pip install 'pytest-tvmtune[tune]'" in str(caught.value)


@pytest.mark.parametrize(
    ("missing", "told"),
    [
        ("tvm", r"apache-tvm is not installed; run pip install 'apache-tvm==0\.27\.\*'"),
        ("tvm_ffi", r"which apache-tvm 0\.27.* needs; run pip install 'apache-tvm-ffi==0\.1\."),
    ],
)
def test_a_missing_package_is_told(
    missing: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package_version.cache_clear()
    monkeypatch.setitem(sys.modules, missing, None)
    try:
        with pytest.raises(EnvironmentProblemError, match=told):
            check_tvm(open_store(tmp_path / "store"))
    finally:
        package_version.cache_clear()

"""The version of the TVM that would be imported, wherever it comes from."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

from pytest_tvmtune.machine.installed_tvm import (
    TvmOrigin,
    package_version,
    tvm_origin,
)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a folder from which this process imports first; nothing of TVM is imported yet."""
    for name in [one for one in sys.modules if one.partition(".")[0] in {"tvm", "tvm_ffi"}]:
        monkeypatch.delitem(sys.modules, name)
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    forget()
    yield folder
    forget()


def forget() -> None:
    package_version.cache_clear()
    tvm_origin.cache_clear()


def package(folder: Path, **files: str) -> Path:
    made = folder / "tvm"
    made.mkdir(parents=True)
    for name, text in {"__init__": "raise RuntimeError('imported')", **files}.items():
        (made / f"{name}.py").write_text(text)
    return made


def distribution(
    folder: Path, name: str, version: str, *, owns: str = "", checkout: str = ""
) -> None:
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "RECORD").write_text(f"{owns},,\n" if owns else "")
    if checkout:
        origin = {"url": checkout, "dir_info": {"editable": True}}
        (info / "direct_url.json").write_text(json.dumps(origin))


def test_a_wheel(site: Path) -> None:
    package(site, libinfo='__version__ = "0.1"\n')
    distribution(site, "apache-tvm", "0.27.0.post1", owns="tvm/__init__.py")
    assert package_version("tvm") == "0.27.0.post1"


def test_a_wheel_of_another_name_with_a_local_version(site: Path) -> None:
    package(site)
    distribution(site, "mlc-ai-nightly-cpu", "0.28.dev12+g1234567", owns="tvm/__init__.py")
    distribution(site, "something-else", "3", owns="other/tvm/__init__.py")
    assert package_version("tvm") == "0.28.dev12+g1234567"


def test_an_editable_installation(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout = tmp_path / "a check out"
    package(checkout / "python", libinfo='__version__ = "0.1"\n')
    distribution(site, "apache-tvm", "0.28.dev0", checkout=checkout.as_uri())
    monkeypatch.syspath_prepend(str(checkout / "python"))
    assert package_version("tvm") == "0.28.dev0"


@pytest.mark.parametrize(
    ("files", "version"),
    [
        (
            {"libinfo": 'try:\n    import x\nexcept ImportError:\n    __version__ = "0.28.0"\n'},
            "0.28.0",
        ),
        (
            {"_version": "__version__ = version = '0.28.dev3+gabc'\n", "libinfo": ""},
            "0.28.dev3+gabc",
        ),
        ({}, "unknown"),
    ],
)
def test_a_checkout_without_metadata_hides_the_installed_wheel(
    site: Path, files: dict[str, str], version: str
) -> None:
    package(site, **files)
    metadata.version("apache-tvm")  # there is another one, further along the path
    assert package_version("tvm") == version
    assert tvm_origin() == TvmOrigin(path=str(site / "tvm"), revision="")


def test_what_cannot_be_imported_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    forget()
    monkeypatch.setitem(sys.modules, "tvm", None)
    assert package_version("tvm") == "not installed"
    assert tvm_origin() == TvmOrigin(path="", revision="")
    forget()


def test_a_revision_is_that_of_the_checkout_that_tracks_the_files(site: Path) -> None:
    made = package(site / "python")

    def git(*words: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
        command = ["git", *identity, *words]
        return subprocess.run(command, cwd=site, check=True, capture_output=True, text=True).stdout

    git("init", "--quiet")
    sys.path.insert(0, str(site / "python"))
    try:
        assert tvm_origin().revision == ""  # as an environment in a project's checkout
        git("add", ".")
        git("commit", "--quiet", "-m", "x")
        forget()
        revision = git("rev-parse", "--short=12", "HEAD").strip()
        assert tvm_origin() == TvmOrigin(path=str(made), revision=revision)
        (made / "__init__.py").write_text("# edited")
        forget()
        assert tvm_origin().revision == f"{revision}-dirty"
    finally:
        sys.path.remove(str(site / "python"))

"""The plugin as users have it: sdist, wheel and version, and a run from site-packages."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest
from packaging.metadata import Metadata

from tests.plugin.snippets import TINY
from tests.support import ROOT

PIP = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
GIT = ["git", "-c", "user.name=tests", "-c", "user.email=tests@localhost"]
TESTS = """
@pytest.mark.tvm_tune
def test_tiny(tvm_tune):
    tvm_tune(Tiny(), **GIVEN).check(EXPECTED)

def test_which():
    import pytest_tvmtune
    print("IMPORTED FROM", pytest_tvmtune.__file__)
"""


@pytest.fixture(scope="module")
def build_tools(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return an environment in which hatchling can be run."""
    folder = tmp_path_factory.mktemp("build_tools")
    requires = ["hatchling>=1.26", "hatch-vcs>=0.4"]
    subprocess.run([*PIP, "install", "--target", str(folder), *requires], check=True)
    return {**os.environ, "PYTHONPATH": str(folder)}


@pytest.fixture(scope="module")
def sdist(build_tools: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sdist")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "sdist"]
    subprocess.run(
        [*build, "--directory", str(folder)],
        cwd=ROOT,
        env=build_tools,
        stdout=subprocess.DEVNULL,
        check=True,
    )
    (built,) = folder.iterdir()
    return built


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the wheel that pip makes of the sdist."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([*PIP, "wheel", "--no-deps", "-w", str(folder), str(sdist)], check=True)
    (built,) = folder.iterdir()
    return built


def package_files() -> set[str]:
    paths = (ROOT / "pytest_tvmtune").rglob("*")
    return {
        path.relative_to(ROOT).as_posix()
        for path in paths
        if path.is_file() and path.suffix != ".pyc"
    }


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == package_files()
    assert "pytest_tvmtune/py.typed" in names


def test_the_sdist_holds_all_that_the_tests_need(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert package_files() < names
    own = Path(__file__).relative_to(ROOT).as_posix()
    listed = {own, "docs/index.md", "benchmarks/models.py", "Makefile", "mkdocs.yml", "LICENSE"}
    assert listed < names
    made = {name for name in names if {"__pycache__", ".venv", ".tvmtune"} & {*name.split("/")}}
    assert made == set()


def test_the_metadata(wheel: Path) -> None:
    """As `twine check` does, but for the rendering of the README."""
    with zipfile.ZipFile(wheel) as archive:
        (folder,) = {name.split("/")[0] for name in archive.namelist() if ".dist-info/" in name}
        metadata = Metadata.from_email(archive.read(f"{folder}/METADATA"), validate=True)
        entry_points = archive.read(f"{folder}/entry_points.txt").decode()
    assert metadata.name == "pytest-tvmtune"
    assert metadata.license_expression == "Apache-2.0"
    assert metadata.description_content_type == "text/markdown"
    assert metadata.description == (ROOT / "README.md").read_text()
    assert "[pytest11]\ntvmtune = pytest_tvmtune.plugin\n" in entry_points
    assert "[console_scripts]\ntvmtune = pytest_tvmtune.cli:main\n" in entry_points


def test_the_version_is_the_tags(build_tools: dict[str, str], tmp_path: Path) -> None:
    def version() -> str:
        command = [sys.executable, "-m", "hatchling", "version"]
        return subprocess.run(
            command, cwd=tmp_path, env=build_tools, capture_output=True, text=True, check=True
        ).stdout.strip()

    def git(*arguments: str) -> None:
        subprocess.run([*GIT, *arguments], cwd=tmp_path, check=True)

    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    assert version() == "0.1.0.dev0"
    git("init", "--quiet")
    git("add", "pyproject.toml")
    git("commit", "--quiet", "--message", "first")
    assert version().startswith("0.1")
    git("tag", "v1.2.3")
    assert version() == "1.2.3"
    git("commit", "--quiet", "--allow-empty", "--message", "second")
    assert version().startswith("1.2.4.dev1+g")


def test_with_backports_beside_it(suite: pytest.Pytester, tmp_path: Path, wheel: Path) -> None:
    """Such as `dataclasses` and `enum34`: whoever finds them first can't import anything."""
    home = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    python = home / "bin" / "python"
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(home)}))
    subprocess.run(
        [*PIP, "install", "--no-deps", "--target", str(packages), str(wheel)], check=True
    )
    ours = [path for path in sys.path if path.endswith("site-packages")]
    (packages / "rest.pth").write_text("\n".join(ours))
    for name in ("dataclasses", "enum", "typing", "contextvars"):
        (packages / f"{name}.py").write_text(f"raise ImportError('{name} for Python 2')")
    suite.makepyfile(TINY + TESTS)
    # Fresh processes and the tuner's, too.
    done = subprocess.run(
        [str(python), "-m", "pytest", "-s", "--tvm-trials=4", "-p", "no:cacheprovider"],
        env=dict(os.environ), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"IMPORTED FROM {packages}" in done.stdout
    assert "2 passed" in done.stdout

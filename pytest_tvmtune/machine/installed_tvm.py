"""Which TVM this process imports: version, folder, and git revision, found without an import.

The version of a package is that of the distribution that owns its folder: PyPI's wheel, a wheel of
another name, or an editable installation. A checkout on PYTHONPATH has no distribution: there the
package's own files name the version.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlparse

Package = Literal["tvm", "tvm_ffi"]
NOT_INSTALLED = "not installed"
UNKNOWN = "unknown"
_DISTRIBUTIONS: dict[Package, str] = {"tvm": "apache-tvm", "tvm_ffi": "apache-tvm-ffi"}
# The first is written by a build, the second is what a checkout has without one.
_VERSION_FILES = ("_version.py", "libinfo.py")
_VERSION = re.compile(
    r"""^\s*__version__\s*=(?:\s*version\s*=)?\s*["']([^"']+)["']""", re.MULTILINE
)
_GIT_TIMEOUT_S = 10.0


@dataclass(frozen=True, kw_only=True)
class TvmOrigin:
    """Where the imported TVM comes from.

    revision: of the git checkout that tracks its files, with `-dirty` after changes; "" where none
    does.
    """

    path: str
    revision: str


@lru_cache(maxsize=2)
def package_version(package: Package) -> str:
    """Return the version of the package that `import` finds, else "unknown" or "not installed"."""
    folder = _folder(package)
    if folder is None:
        return NOT_INSTALLED
    for distribution in _owners(package, folder):
        return distribution.version
    return _version_in(folder)


@lru_cache(maxsize=1)
def tvm_origin() -> TvmOrigin:
    """Return where the imported TVM comes from, empty texts where it isn't installed."""
    folder = _folder("tvm")
    if folder is None:
        return TvmOrigin(path="", revision="")
    return TvmOrigin(path=str(folder), revision=_revision(folder))


def _folder(package: Package) -> Path | None:
    module = sys.modules.get(package)
    try:
        spec = module.__spec__ if module is not None else find_spec(package)
    except (ValueError, ImportError):  # None in sys.modules: its import is blocked
        return None
    # A folder without __init__.py is a namespace: what an uninstalled package leaves behind.
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent


def _owners(package: Package, folder: Path) -> Iterator[metadata.Distribution]:
    """Yield the distributions that own a package's folder, the usual one first."""
    for distribution in metadata.distributions(name=_DISTRIBUTIONS[package]):
        if _owns(distribution, package, folder):
            yield distribution
    record = f"\n{package}/__init__.py,"
    for found in metadata.distributions(path=[str(folder.parent)]):
        if record in "\n" + (found.read_text("RECORD") or ""):
            yield found


def _owns(distribution: metadata.Distribution, package: Package, folder: Path) -> bool:
    located = Path(str(distribution.locate_file(package)))
    return located == folder or _is_editable_in(distribution, folder)


def _is_editable_in(distribution: metadata.Distribution, folder: Path) -> bool:
    """Return whether a distribution is an editable installation of a checkout with this folder."""
    try:
        origin = json.loads(distribution.read_text("direct_url.json") or "{}")
        if not origin.get("dir_info", {}).get("editable"):
            return False
        checkout = Path(unquote(urlparse(origin["url"]).path))
        return folder.resolve().is_relative_to(checkout.resolve())
    except (OSError, ValueError, KeyError, AttributeError):
        return False


def _version_in(folder: Path) -> str:
    for name in _VERSION_FILES:
        try:
            found = _VERSION.search((folder / name).read_text(errors="replace"))
        except OSError:
            continue
        if found:
            return found.group(1)
    return UNKNOWN


def _revision(folder: Path) -> str:
    """Return the revision of the checkout that tracks a folder's files, "" where none does."""
    # An environment in a project's checkout isn't part of the project.
    if not _git(folder, "ls-files", "__init__.py"):
        return ""
    return _git(folder, "describe", "--always", "--abbrev=12", "--dirty", "--exclude=*")


def _git(folder: Path, *words: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *words],
            capture_output=True,
            check=False,
            timeout=_GIT_TIMEOUT_S,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode(errors="replace").strip() if done.returncode == 0 else ""

"""The identity of a toolchain: by content, and by all of it."""

from __future__ import annotations

import json
import os
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from pytest_tvmtune.relax.installation.tvm_files import tvm_identity
from pytest_tvmtune.store.layout import Store, open_store
from tests.support import REAL_PYTHON

# Edits stand-ins for TVM, one after the other, in a process that has imported nothing of it.
EDITS = """
import json, os, shutil, sys
from pathlib import Path
from pytest_tvmtune.relax.installation import toolchain_identity, tvm_files
from pytest_tvmtune.store.layout import open_store
work = Path(sys.argv[1])
store = open_store(work / "store")
at = work / "here"
sys.path.insert(0, str(at))

def now():
    for cached in (tvm_files._identity, toolchain_identity._compiler):
        cached.cache_clear()
    return toolchain_identity.toolchain_identity(store)

found = {"first": now(), "again": now()}
relu = at / "tvm" / "topi" / "relu.py"
library = at / "tvm" / "lib" / "libtvm.so"
sound, looks = relu.read_bytes(), os.stat(relu)
relu.write_bytes(b"min(x, 0)")
os.utime(relu, ns=(looks.st_atime_ns, looks.st_mtime_ns))
found["edited"] = now()
relu.write_bytes(sound)
found["put back"] = now()
library.write_bytes(b"machine c0de")
found["rebuilt"] = now()
library.write_bytes(b"machine code")
(at / "tvm" / "topi" / "more.py").touch()
found["added"] = now()
(at / "tvm" / "topi" / "more.py").rename(at / "tvm" / "more.py")
found["moved"] = now()
(at / "tvm" / "more.py").unlink()
(at / "tvm_ffi" / "registry.py").unlink()
found["removed"] = now()
(at / "tvm_ffi" / "registry.py").touch()
(at / "tvm" / "topi" / "__pycache__").mkdir()
(at / "tvm" / "topi" / "__pycache__" / "relu.cpython-311.pyc").write_bytes(b"bytecode")
(at / "tvm" / "README.md").write_text("new")
found["no code"] = now()
shutil.copytree(at, work / "there")
sys.path[0] = str(work / "there")
found["elsewhere"] = now()
os.environ["CXX"] = str(work / "cxx")
found["other compiler"] = now()
(work / "cxx").write_text("#!/bin/sh\\necho version 2\\n")
found["newer compiler"] = now()
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Any:
    work = tmp_path_factory.mktemp("identity")
    for name, content in {
        "tvm/__init__.py": "",
        "tvm/topi/relu.py": "max(x, 0)",
        "tvm/lib/libtvm.so": "machine code",
        "tvm_ffi/__init__.py": "",
        "tvm_ffi/registry.py": "",
    }.items():
        path = work / "here" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    compiler = work / "cxx"
    compiler.write_text("#!/bin/sh\necho version 1\n")
    compiler.chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if name not in {"CXX", "CC"}}
    done = subprocess.run(
        [REAL_PYTHON, "-c", EDITS, str(work)],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert not done.returncode, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("which", ["again", "put back", "no code", "elsewhere"])
def test_the_same_code_is_the_same(found: Any, which: str) -> None:
    assert found[which] == found["first"]


def test_whatever_changes_code_changes_it(found: Any) -> None:
    changed = ["edited", "rebuilt", "added", "moved", "removed", "other compiler", "newer compiler"]
    assert len({found[which] for which in ["first", *changed]}) == 1 + len(changed)


def test_a_library_outside_of_the_package_counts(tmp_path: Path) -> None:
    """As in a source checkout, whose libraries are in its build folder."""
    code = (
        "import ctypes, sys; from pathlib import Path\n"
        "from pytest_tvmtune.relax.installation.tvm_files import tvm_identity\n"
        "from pytest_tvmtune.store.layout import Store\n"
        "ctypes.CDLL(sys.argv[2])\n"
        "print(tvm_identity(Store(root=Path(sys.argv[1]))))"
    )
    source, library = tmp_path / "lib.c", tmp_path / "build" / "libtvm_compiler.so"
    library.parent.mkdir()
    told = set()
    for number in range(2):
        source.write_text(f"int number(void) {{ return {number}; }}")
        subprocess.run(["cc", "-shared", "-o", str(library), str(source)], check=True)
        done = subprocess.run(
            [REAL_PYTHON, "-c", code, str(tmp_path), str(library)],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        told.add(done.stdout)
    assert len(told) == 2


def test_all_code_of_the_installed_tvm_is_looked_at(tmp_path: Path) -> None:
    store: Store = open_store(tmp_path / "store")
    assert len(tvm_identity(store)) == 64
    files = {Path(path) for path in json.loads(store.digests.read_text())}
    for package in ("tvm", "tvm_ffi"):
        spec = find_spec(package)
        assert spec is not None
        assert spec.origin is not None
        below = Path(spec.origin).parent.rglob("*")
        assert {path for path in below if path.suffix in {".py", ".so"}} <= files


OF_A_CHECKOUT = """
import json, os, sys
from pathlib import Path
from pytest_tvmtune.relax.installation import tvm_files
from pytest_tvmtune.store.layout import open_store
work = Path(sys.argv[1])
store = open_store(work / "store")
sys.path[:0] = [str(work / "python"), str(work / "3rdparty/tvm-ffi/python")]
os.environ["LD_LIBRARY_PATH"] = str(work / "elsewhere")

def now():
    tvm_files._identity.cache_clear()
    return tvm_files.tvm_files_identity(store)

found = [now()]
for path in sorted(work.rglob("*.so")):
    path.write_text(f"rebuilt {path}")
    found.append(now())
print(json.dumps(found))
"""


def test_libraries_of_a_checkout_count_wherever_tvm_looks_for_them(tmp_path: Path) -> None:
    libraries = (
        "build/lib/libtvm_compiler.so",
        "lib/libtvm_runtime.so",
        "3rdparty/tvm-ffi/build/lib/libtvm_ffi.so",
        "elsewhere/libtvm_runtime_extra.so",
    )
    packages = ("python/tvm/__init__.py", "3rdparty/tvm-ffi/python/tvm_ffi/__init__.py")
    for name in (*libraries, *packages):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    done = subprocess.run(
        [REAL_PYTHON, "-c", OF_A_CHECKOUT, str(tmp_path)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert len(set(json.loads(done.stdout))) == 1 + len(libraries)

"""Exported folders, run as somebody who has nothing but tvm and numpy."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np

from pytest_tvmtune.machine.installed_tvm import tvm_origin
from pytest_tvmtune.store.artifacts import MANIFEST
from pytest_tvmtune.store.exported_folders import digests_of, read_export_manifest
from tests.support import REAL_PYTHON

# `import tvm` imports torch wherever it is installed, and takes twice as long. -S: no `.pth` file,
# by which this package would be found.
_WITH_TVM_ALONE = """
import importlib.util, runpy, sys
sys.path += sys.argv[1].split(":")
sys.modules["torch"] = None
assert importlib.util.find_spec("pytest_tvmtune") is None
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run_alone(script: Path, *arguments: object, cwd: Path) -> str:
    """Run a script in an interpreter that finds tvm, and not this package; return its output."""
    # The environments of older versions have TVM alone, and share numpy.
    sites = dict.fromkeys(str(Path(one).parent) for one in (tvm_origin().path, *np.__path__))
    command = [REAL_PYTHON, "-I", "-S", "-c", _WITH_TVM_ALONE, ":".join(sites), str(script)]
    done = subprocess.run(
        [*command, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def outputs_of_folder(folder: Path, *inputs: Any, cwd: Path) -> list[Any]:
    """Return the outputs of an exported folder's load.py, given these inputs."""
    cwd.mkdir()
    paths = [cwd / f"x{index}.npy" for index in range(len(inputs))]
    for path, array in zip(paths, inputs, strict=True):
        np.save(path, array)
    said = run_alone(folder / "load.py", *paths, cwd=cwd)
    return [np.load(cwd / f"output_{number}.npy") for number in range(len(said.splitlines()))]


def is_whole(folder: Path) -> bool:
    """Whether a folder has the files that its manifest lists, and no others."""
    manifest = read_export_manifest(folder)
    assert manifest is not None
    found = digests_of(folder)
    del found[MANIFEST]
    return found == manifest.files

"""Environments for benchmarks/vet_power.py: equal ones, and some with a TVM made slower by hand.

Each is a virtual environment whose TVM has the files of this one by symbolic links, except for a
file that a patch changes.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path

# In a slow environment, the function that the model calls sleeps.
SLEEP_S = 50e-6
MARK = "sleeps"
# The VM copies an argument of each kernel before the call.
_EXTRA_COPY = """\
        self._setup_device(device, memory_cfg)
        def extra_copy(_function, _name, before, _ret, *arguments):
            if before and arguments and hasattr(arguments[-1], "numpy"):
                arguments[-1].numpy()
            return 0
        self._set_instrument(extra_copy)
"""
_VM_THAT_COPIES = {"runtime/vm.py": (_EXTRA_COPY.splitlines(keepends=True)[0], _EXTRA_COPY)}
# The compiler fuses nothing.
_FUSION = "transform.FuseOps(),\n                transform.FuseTIR(),"
_NO_FUSION = {"relax/pipeline.py": (_FUSION, "")}
PATCHES: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "plain": {},
    "same": {},
    "function that sleeps": {},
    "VM that copies": _VM_THAT_COPIES,
    "code without fusion": _NO_FUSION,
}
SUITE = """
import numpy as np
import pytest
import tvm
from tvm import relax
from tvm.relax import TensorType


def module():
    small, large = (TensorType(shape, "float32") for shape in ((4, 256), (256, 256)))
    x, w, z = relax.Var("x", small), relax.Var("w", large), relax.Var("z", large)
    builder = relax.BlockBuilder()
    with builder.function("main", [x, w, z], attrs={"num_input": 1}):
        with builder.dataflow():
            y = builder.emit(relax.op.matmul(x, w))
            y = builder.emit(relax.op.call_dps_packed("vet.pass_through", (y,), small))
            v = z
            for _ in range(8):
                v = builder.emit(relax.op.add(relax.op.multiply(v, z), z))
                v = builder.emit(relax.op.nn.relu(v))
            result = builder.emit_output(relax.Tuple([y, v]))
        builder.emit_func_output(result)
    return builder.finalize()


@pytest.mark.tvm_tune(prepack="off")
def test_model(tvm_tune):
    rng = np.random.default_rng(0)
    params = {name: rng.standard_normal((256, 256)).astype("float32") / 16 for name in ("w", "z")}
    run = tvm_tune(module(), params=params, inputs={"x": np.ones((4, 256), "float32")})
    y = run.outputs[0]
    np.testing.assert_allclose(y, np.ones((4, 256)) @ params["w"], rtol=1e-3, atol=1e-3)
    run.check()
"""
SETUP = f'''
import sys
import time
from pathlib import Path

import tvm

SLEEPS = (Path(sys.prefix) / "{MARK}").exists()


@tvm.register_global_func("vet.pass_through", override=True)
def pass_through(x, out):
    if SLEEPS:
        time.sleep({SLEEP_S})
    out.copyfrom(x)
'''


def make_environment(name: str, folder: Path) -> Path:
    """Return the interpreter of an environment, made if it doesn't exist."""
    place = folder / name.replace(" ", "-")
    interpreter = place / "bin" / "python"
    if interpreter.exists():
        return interpreter
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True)
    own = Path(
        sysconfig.get_path("purelib", "venv", {"base": str(place), "platbase": str(place)})
        if "venv" in sysconfig.get_scheme_names()
        else place / f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
    )
    theirs = [path for path in sys.path if "site-packages" in path]
    (own / "benchmark.pth").write_text("\n".join([*theirs, str(Path(__file__).parents[1])]))
    spec = importlib.util.find_spec("tvm")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    _link_all(Path(next(iter(spec.submodule_search_locations))), own / "tvm")
    for file, (before, after) in PATCHES[name].items():
        patched = own / "tvm" / file
        text = patched.read_text()
        assert before in text, (file, before)
        patched.unlink()
        patched.write_text(text.replace(before, after))
    if name == "function that sleeps":
        (place / MARK).touch()
    return interpreter


def _link_all(source: Path, place: Path) -> None:
    for root, folders, files in os.walk(source):
        folders[:] = [name for name in folders if name != "__pycache__"]
        there = place / Path(root).relative_to(source)
        there.mkdir(parents=True, exist_ok=True)
        for file in files:
            (there / file).symlink_to(Path(root, file))


def write_suite(folder: Path) -> Path:
    """Write the suite; return its folder."""
    suite = folder / "suite"
    suite.mkdir(exist_ok=True)
    (suite / "test_model.py").write_text(SUITE)
    (suite / "vet_functions.py").write_text(SETUP)
    (suite / "pytest.ini").write_text("[pytest]\ntvm_setup = vet_functions.py\n")
    return suite

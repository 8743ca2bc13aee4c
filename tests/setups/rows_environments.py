"""Set-ups with odd environment variables, interpreters and options of the run."""

from __future__ import annotations

from pathlib import Path

from tests.setups.harness import Setup, Step
from tests.setups.suites import LAZY, MODEL, ONE, TUNED
from tests.support import ROOT

FILES = {"test_one.py": ONE}
TUNED_FILES = {"test_one.py": TUNED}

OWN_LOWERING = """
from tvm import topi
from tvm.ir import register_op_attr
from tvm.relax.transform.legalize_ops.common import _call_topi_without_attr


def negated(tensor):
    return topi.negative(topi.nn.relu(tensor))


register_op_attr(
    "relax.nn.relu", "FLegalize", _call_topi_without_attr(negated, "negated_relu"), level=11
)
"""

LOWERED = """
import numpy as np
import own_lowering
import pytest
from tvm.relax.frontend import nn


class Relu(nn.Module):
    def forward(self, x):
        return nn.op.relu(x)


@pytest.mark.tvm_tune(trials=0)
def test_relu(tvm_tune):
    x = np.linspace(-1, 1, 16, dtype="float32").reshape(2, 8)
    spec = {"forward": {"x": nn.spec.Tensor((2, 8), "float32")}}
    tvm_tune(Relu(), spec=spec, inputs={"x": x}).check(EXPECTED)
"""
LOWERED_FILES = {
    "own_lowering.py": OWN_LOWERING,
    "test_one.py": LOWERED.replace("EXPECTED", "-np.maximum(x, 0)"),
}

# The string, the object and the dict mean the same target.
TARGETS = (
    MODEL.replace("import pytest", "import os\nimport pytest\nimport tvm")
    + """
TARGETS = {
    "string": "llvm",
    "object": tvm.target.Target("llvm"),
    "dict": {"kind": "llvm"},
    "json": '{"kind": "llvm"}',
}

@pytest.mark.tvm_tune(trials=0, target=TARGETS[os.environ["GIVEN_AS"]])
def test_tiny(tvm_tune):
    tvm_tune(Tiny(), **GIVEN).check(EXPECTED)
"""
)

CUDA = ONE.replace("trials=0", 'trials=0, target="cuda"')
NO_INTERPRETER = """
import sys
from pathlib import Path

sys.executable = str(Path(__file__).with_name("interpreter"))
"""
BACKPORT = "raise ImportError('a backport for Python 3.6')\n"
# As where the wheel is installed: backports lie in the package's parent.
SITE = """
import os
import sys

sys.path = [path for path in sys.path if path != os.environ["REPO"]] + [os.environ["SITE"]]
sys.modules["torch"] = None
"""


def _write_interpreter(folder: Path) -> None:
    (folder / "interpreter").write_text("not to be executed\n")


def _make_site(folder: Path) -> None:
    (folder / "site").mkdir()
    (folder / "site" / "pytest_tvmtune").symlink_to(ROOT / "pytest_tvmtune")
    for name in ("dataclasses", "enum", "typing"):
        (folder / "site" / f"{name}.py").write_text(BACKPORT)


ENVIRONMENTS = [
    Setup(
        name="target cuda in the marker",
        files={"test_one.py": CUDA, "test_two.py": ONE},
        steps=(
            Step(says=("1 passed, 1 skipped",), failed=0),
            Step(arguments="-rs", says=("cuda",)),
        ),
    ),
    Setup(
        name="target cuda in the marker, under xdist",
        files={"test_one.py": CUDA, "test_two.py": ONE},
        steps=(Step(arguments="-n 2", says=("1 passed, 1 skipped",), failed=0),),
    ),
    Setup(
        name="target cuda on the command line",
        files=FILES,
        steps=(Step(arguments="--tvm-target=cuda", exit_codes=(4,), says=("cuda",)),),
    ),
    Setup(
        name="a broken ml_dtypes.py in the test folder",
        files={**LAZY, "ml_dtypes.py": "raise RuntimeError('not the one you want')\n"},
        steps=(
            Step(exit_codes=(4,), says=("not the one you want",)),
            Step(arguments="-n 2", exit_codes=(4,), says=("not the one you want",)),
        ),
    ),
    Setup(
        name="backports in the folder of the installed package",
        files={**FILES, "start/sitecustomize.py": SITE},
        prepare=_make_site,
        cold=True,
        steps=(
            Step(
                environment={
                    "PYTHONPATH": "{folder}/start",
                    "REPO": str(ROOT),
                    "SITE": "{folder}/site",
                },
                says=("1 passed",),
                cases=1,
            ),
        ),
    ),
    Setup(
        name="an interpreter that can't be executed",
        files={**FILES, "conftest.py": NO_INTERPRETER},
        prepare=_write_interpreter,
        cold=True,
        steps=(Step(exit_codes=(1, 4), says=("interpreter",)),),
    ),
    Setup(
        name="PYTHONWARNINGS=error::DeprecationWarning, tuning",
        files=TUNED_FILES,
        cold=True,
        steps=(
            Step(
                environment={"PYTHONWARNINGS": "error::DeprecationWarning"},
                says=("1 passed",),
                silent=("untuned", "none valid", "nothing valid"),
            ),
        ),
    ),
    Setup(
        name="CXX=/bin/false while tuning, then a compiler",
        files=TUNED_FILES,
        cold=True,
        steps=(
            Step(environment={"CXX": "/bin/false"}, exit_codes=(1, 4)),
            Step(says=("1 passed",), silent=("untuned", "none valid", "nothing valid")),
        ),
    ),
    Setup(
        name="-W error",
        files=FILES,
        steps=(
            Step(arguments="-W error --tvm-update-new", says=("1 passed",), cases=1),
            Step(environment={"PYTHONWARNINGS": "error"}, says=("1 passed",), cases=1),
        ),
    ),
    Setup(
        name="one target as a string, an object, a dict, JSON",
        files={"test_one.py": TARGETS},
        steps=tuple(
            Step(
                arguments="--tvm-update-new",
                environment={"GIVEN_AS": given},
                says=("1 passed",),
                silent=() if given == "string" else (r"\bNEW\b",),
                baselines=1,
            )
            for given in ("string", "object", "dict", "json")
        ),
    ),
    Setup(
        name="an own lowering without tvm_setup",
        files=LOWERED_FILES,
        cold=True,
        steps=(Step(exit_codes=(1,), says=("tvm_setup|--tvm-setup",)),),
    ),
    Setup(
        name="an own lowering with --tvm-setup",
        files=LOWERED_FILES,
        cold=True,
        steps=(Step(arguments="--tvm-setup=own_lowering", says=("1 passed",), cases=1),),
    ),
    Setup(
        name="an own lowering with the ini tvm_setup",
        files={**LOWERED_FILES, "pytest.ini": "[pytest]\ntvm_setup = own_lowering\n"},
        cold=True,
        steps=(Step(says=("1 passed",), cases=1),),
    ),
    Setup(
        name="pytest-dotenv",
        files={**FILES, ".env": "TVM_TEST_TARGETS=cuda\n"},
        plugins=("pytest-dotenv",),
        steps=(Step(exit_codes=(4,), says=("cuda",)),),
    ),
    Setup(
        name="pytest-env",
        files={**FILES, "pytest.ini": "[pytest]\nenv =\n    TVM_TEST_TARGETS=cuda\n"},
        plugins=("pytest-env",),
        steps=(Step(exit_codes=(4,), says=("cuda",)),),
    ),
    Setup(
        name="PYTHONHASHSEED 1, then 2",
        files=FILES,
        steps=(
            Step(environment={"PYTHONHASHSEED": "1"}, arguments="--tvm-update-new", baselines=1),
            Step(
                environment={"PYTHONHASHSEED": "2"},
                says=("1 passed", "same code"),
                silent=(r"\bNEW\b", "compiled 1"),
            ),
        ),
    ),
    Setup(
        name="python -OO",
        files=FILES,
        cold=True,
        steps=(
            Step(environment={"PYTHONOPTIMIZE": "2"}, arguments="--tvm-update-new", baselines=1),
            Step(environment={"PYTHONOPTIMIZE": "2"}, says=("1 passed",), cases=1, failed=0),
        ),
    ),
    Setup(
        name="PYTHONSAFEPATH=1",
        files=FILES,
        cold=True,
        steps=(Step(environment={"PYTHONSAFEPATH": "1"}, says=("1 passed",), cases=1),),
    ),
    Setup(
        name="python -I -X dev",
        files=FILES,
        cold=True,
        steps=(
            Step(
                environment={"PYTHONDEVMODE": "1"},
                says=("1 passed",),
                silent=("ResourceWarning",),
                cases=1,
            ),
        ),
    ),
    Setup(
        name="LC_ALL=C, TERM unset, no colours",
        files=FILES,
        cold=True,
        steps=(
            Step(
                environment={"LC_ALL": "C", "TERM": None, "NO_COLOR": "1"},
                says=("1 passed",),
                cases=1,
            ),
        ),
    ),
    Setup(
        name="TVMTUNE_KEY set, then another, then none",
        files=FILES,
        steps=(
            Step(environment={"TVMTUNE_KEY": "a secret"}, arguments="--tvm-update-new"),
            Step(environment={"TVMTUNE_KEY": "a secret"}, says=("1 passed",), cases=1),
            Step(environment={"TVMTUNE_KEY": "another"}, exit_codes=(0, 1)),
        ),
    ),
    Setup(
        name="CI=true on GitHub Actions",
        files=FILES,
        steps=(
            Step(
                environment={
                    "CI": "true",
                    "GITHUB_ACTIONS": "true",
                    "GITHUB_STEP_SUMMARY": "{folder}/summary.md",
                },
                says=("1 passed",),
                cases=1,
            ),
        ),
    ),
]

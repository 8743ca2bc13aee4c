"""Set-ups with odd places and kinds of tests: rootdirs, doctests, TestCase, BDD, ONNX files."""

from __future__ import annotations

import os
from pathlib import Path

from tests.setups.harness import Setup, Step
from tests.setups.suites import MODEL, ONE

TEST_CASE = (
    MODEL
    + """
import unittest


class TinyTest(unittest.TestCase):
    @pytest.mark.tvm_tune(trials=0)
    def test_tiny(self):
        self.assertEqual(1, 1)
"""
)

TEST_CASE_WITH_FIXTURE = TEST_CASE.replace("(self)", "(self, tvm_tune)")

FEATURE = """
Feature: speed
  Scenario: as fast as before
    Given a model
    Then it is right
"""

BDD = (
    MODEL
    + """
from pytest_bdd import given, scenario, then

@pytest.mark.tvm_tune(trials=0)
@scenario("speed.feature", "as fast as before")
def test_speed(SCENARIO):
    pass

@given("a model", target_fixture="run")
def a_model(tvm_tune):
    return tvm_tune(Tiny(), **GIVEN)

@then("it is right")
def it_is_right(run):
    run.check(EXPECTED)
"""
)

DOCTEST = '''
def tuned():
    """
    >>> tvm_tune = getfixture("tvm_tune")
    """
'''


def _make_onnx(folder: Path) -> None:
    """Write models/linear.onnx, whose first dimension is called batch."""
    import onnx
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 4])],
    )
    (folder / "models").mkdir()
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8)
    onnx.save(model, folder / "models" / "linear.onnx")


def _make_name_of_bytes(folder: Path) -> None:
    place = folder / os.fsdecode(b"caf\xe9")
    place.mkdir()
    (place / "test_one.py").write_text(ONE)


def _make_link(folder: Path) -> None:
    (folder / "real").mkdir()
    (folder / "real" / "pytest.ini").write_text("[pytest]\n")
    (folder / "real" / "test_one.py").write_text(ONE)
    (folder / "link").symlink_to("real")


IMPORTLIB = {
    "pytest.ini": "[pytest]\naddopts = --import-mode=importlib\n",
    "tests/a/test_one.py": ONE,
    "tests/b/test_one.py": ONE,
}

LAYOUTS = [
    Setup(
        name="-c conf/pytest.ini tests: outside the rootdir",
        files={"conf/pytest.ini": "[pytest]\n", "tests/test_one.py": ONE},
        cold=True,
        steps=(
            Step(arguments="-c conf/pytest.ini tests --tvm-update-new", says=("1 passed",)),
            Step(
                arguments="-c conf/pytest.ini tests",
                says=("1 passed",),
                silent=(r"\bNEW\b",),
                cases=1,
            ),
        ),
    ),
    Setup(
        name="--rootdir through a symbolic link",
        files={},
        prepare=_make_link,
        steps=(
            Step(arguments="--rootdir=link real --tvm-update-new", says=("1 passed",)),
            Step(arguments="--rootdir=link link", says=("1 passed",), cases=1, failed=0),
            Step(arguments="--rootdir=real link", says=("1 passed",), cases=1, failed=0),
        ),
    ),
    Setup(
        name="--pyargs, an installed package",
        files={"site/suite/__init__.py": "", "site/suite/test_one.py": ONE, "here/x": ""},
        steps=(
            Step(
                arguments="--pyargs suite --rootdir=here --tvm-update-new",
                environment={"PYTHONPATH": "{folder}/site"},
                says=("1 passed",),
                cases=1,
            ),
            Step(
                arguments="--pyargs suite --rootdir=here",
                environment={"PYTHONPATH": "{folder}/site"},
                says=("1 passed",),
                silent=(r"\bNEW\b",),
            ),
        ),
    ),
    Setup(
        name="--import-mode=importlib, two files of one name",
        files=IMPORTLIB,
        steps=(Step(arguments="--tvm-update-new", says=("2 passed",), cases=2, baselines=2),),
    ),
    Setup(
        name="a path with spaces and letters beyond ASCII",
        files={"tésts with späces/test_模型.py": ONE},
        steps=(
            Step(arguments="--tvm-update-new", says=("1 passed",), baselines=1),
            Step(environment={"LC_ALL": "C"}, says=("1 passed",), silent=(r"\bNEW\b",)),
            Step(
                arguments="-p no:cacheprovider",
                environment={"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
                says=("1 passed",),
                cases=1,
            ),
        ),
    ),
    # pytest's own cache and JUnit file can't hold such a path.
    Setup(
        name="a path that is no UTF-8",
        files={},
        prepare=_make_name_of_bytes,
        steps=(
            Step(
                arguments="--tvm-update-new -p no:cacheprovider",
                says=("1 passed",),
                cases=1,
                baselines=1,
            ),
            Step(
                arguments="--tvm-html=page.html --tvm-markdown=page.md -p no:cacheprovider",
                says=("1 passed",),
                silent=(r"\bNEW\b",),
                cases=1,
            ),
        ),
    ),
    Setup(
        name="a marked TestCase method",
        files={"test_one.py": TEST_CASE},
        steps=(Step(exit_codes=(2, 4), says=("TestCase",)),),
    ),
    Setup(
        name="a marked TestCase method that takes tvm_tune",
        files={"test_one.py": TEST_CASE_WITH_FIXTURE},
        steps=(Step(exit_codes=(2, 4), says=("TestCase",)),),
    ),
    Setup(
        name="pytest-bdd, the scenario takes tvm_tune",
        files={"test_one.py": BDD.replace("SCENARIO", "tvm_tune"), "speed.feature": FEATURE},
        plugins=("pytest-bdd",),
        steps=(Step(arguments="--tvm-update-new", says=("1 passed",), cases=1, baselines=1),),
    ),
    Setup(
        name="pytest-bdd, only a step takes tvm_tune",
        files={
            "test_one.py": BDD.replace("SCENARIO", "").replace("@pytest.mark.tvm", "# "),
            "speed.feature": FEATURE,
        },
        plugins=("pytest-bdd",),
        steps=(Step(exit_codes=(1,), says=("scenario",)),),
    ),
    Setup(
        name="a doctest that asks for tvm_tune",
        files={"code.py": DOCTEST},
        steps=(Step(arguments="--doctest-modules", exit_codes=(1,), says=("(?i)doctest",)),),
    ),
    Setup(
        name="a folder of one dynamic ONNX file",
        files={},
        prepare=_make_onnx,
        cold=True,
        steps=(
            Step(arguments="models", says=("1 passed", "batch"), cases=1, failed=0),
            Step(arguments="models --tvm-strict", exit_codes=(1,), says=("batch",)),
            Step(
                arguments="models --tvm-dim batch=2",
                says=("1 passed",),
                silent=("batch.*taken",),
                cases=1,
            ),
        ),
    ),
]

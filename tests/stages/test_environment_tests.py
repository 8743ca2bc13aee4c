"""The run of a suite in one environment, for `tvmtune vet`: real pytest processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_tvmtune.core.errors import EnvironmentProblemError
from pytest_tvmtune.processes.other_environment import examine_environment
from pytest_tvmtune.stages.vetting import environment_tests
from tests.support import REAL_PYTHON

PLAIN = "def test_one(): pass\ndef test_two(): assert False\ndef test_three(): pass\n"
STOPS_EARLY = """
def pytest_runtest_teardown(item):
    if item.name == "test_two":
        item.session.shouldfail = "that is enough"
"""
MODEL = """
import numpy as np
import pytest
from tvm.relax.frontend import nn

class Relu(nn.Module):
    def forward(self, x):
        return nn.op.relu(x)

@pytest.mark.tvm_tune(trials=64, work_dir="wd", prepack="off")
def test_relu(tvm_tune):
    spec = {"forward": {"x": nn.spec.Tensor((2, 8), "float32")}}
    run = tvm_tune(Relu(), spec=spec, inputs={"x": np.ones((2, 8), "float32")})
    options = run._run.case.options
    assert (options.trials, options.tuning, options.work_dir) == (0, "never", None)
    run.assert_allclose()
"""


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "suite"
    folder.mkdir()
    (folder / "pytest.ini").write_text("[pytest]\naddopts = -p no:cacheprovider -x\n")
    monkeypatch.chdir(folder)
    return folder


def run(tmp_path: Path, *arguments: str) -> environment_tests.TestedEnvironment:
    environment = examine_environment("new", Path(REAL_PYTHON), tmp_path / "package")
    return environment_tests.run_tests(environment, arguments, tmp_path / "store")


def test_each_test_runs_though_the_ini_file_stops_at_the_first_failure(
    suite: Path, tmp_path: Path
) -> None:
    (suite / "test_it.py").write_text(PLAIN)
    tested = run(tmp_path)
    states = {one.nodeid.rpartition("::")[2]: one.state for one in tested.tests.values()}
    assert states == {"test_one": "passed", "test_two": "failed", "test_three": "passed"}


def test_a_run_that_stops_early_is_refused(suite: Path, tmp_path: Path) -> None:
    (suite / "test_it.py").write_text(PLAIN)
    (suite / "conftest.py").write_text(STOPS_EARLY)
    words = "pytest stopped before 1 test ran, such as test_it.py::test_three; leave out"
    with pytest.raises(EnvironmentProblemError, match=words):
        run(tmp_path)


def test_another_tvm_in_the_current_folder_is_refused(suite: Path, tmp_path: Path) -> None:
    (suite / "test_it.py").write_text("def test_one(): pass\n")
    (suite / "tvm").mkdir()
    (suite / "tvm" / "__init__.py").touch()
    with pytest.raises(
        EnvironmentProblemError, match=r"the tests import TVM from .*suite/tvm, but"
    ):
        run(tmp_path)


def test_what_markers_ask_for_is_neither_tuned_nor_read_nor_written(
    suite: Path, tmp_path: Path
) -> None:
    (suite / "test_it.py").write_text(MODEL)
    tested = run(tmp_path)
    assert {one.state for one in tested.tests.values()} == {"passed"}, tested.tests
    (case,) = tested.cases.values()
    assert case.findings == ()
    assert case.built is not None
    assert not (suite / "wd").exists()

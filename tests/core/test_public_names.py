"""What can be imported from `pytest_tvmtune`: lazily, and with types."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import pytest_tvmtune
from pytest_tvmtune.core.gating.verdict import Verdict

ROOT = Path(__file__).parents[2]
USER = """
from pytest_tvmtune import CaseResult, Nonsense, Run, Tolerance, TvmTune

def test_it(tvm_tune: TvmTune) -> None:
    run = tvm_tune("model.onnx", shapes={"x": (1, 3)})
    reveal_type(run)
    reveal_type(run.result)
    reveal_type(run.kernels().rows[0].now_s)
    run.check(outputs={"output": Tolerance(rtol=1e-3)})
    run.no_such

def result_of(run: Run) -> CaseResult:
    return run.result
"""


@pytest.mark.parametrize("name", pytest_tvmtune.__all__)
def test_each_name_is_there(name: str) -> None:
    found = getattr(pytest_tvmtune, name)
    # A Literal has no name of its own.
    assert found is Verdict if name == "Verdict" else found.__name__ == name
    assert name in dir(pytest_tvmtune)


def test_no_other_name_is() -> None:
    with pytest.raises(ImportError, match="cannot import name 'Nonsense' from 'pytest_tvmtune'"):
        exec("from pytest_tvmtune import Nonsense")
    assert not hasattr(pytest_tvmtune, "Nonsense")


def test_importing_the_package_loads_no_module_of_it() -> None:
    script = "import sys, pytest_tvmtune; print([m for m in sys.modules if 'pytest' in m])"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "['pytest_tvmtune']"


def test_a_type_checker_knows_them(tmp_path: Path) -> None:
    """And so does an editor that completes `run.` in a test."""
    (tmp_path / "user.py").write_text(USER)
    # By the project's own settings, whose cache `make lint` has filled.
    command = [sys.executable, "-m", "mypy", str(tmp_path / "user.py")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    found = [line.split(": ", 1)[1] for line in done.stdout.splitlines() if ": " in line]
    assert found == [
        'error: Module "pytest_tvmtune" has no attribute "Nonsense"  [attr-defined]',
        'note: Revealed type is "pytest_tvmtune.plugin.run.Run"',
        'note: Revealed type is "pytest_tvmtune.core.results.case_result.CaseResult"',
        'note: Revealed type is "float"',
        'error: "Run" has no attribute "no_such"  [attr-defined]',
    ]

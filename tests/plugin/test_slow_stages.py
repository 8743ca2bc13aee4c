"""What is shown while a stage of a case lasts: a real job, and what pytest's process does."""

from __future__ import annotations

import re

import pytest

from tests.plugin.snippets import TINY
from tests.plugin.terminals import run_on_a_terminal

DOZER = """
import time
from pytest_tvmtune.core.job_stage import JobStage
from pytest_tvmtune.processes.job import Job, WorkerContext

def run(request: float, context: WorkerContext[None]) -> None:
    context.enter_stage(JobStage("blinking"))
    time.sleep(0.5)
    context.enter_stage(JobStage("dozing off"))
    time.sleep(request)

JOB = Job(run=run)
"""

# Three seconds in a job, two in this process; what it prints is captured meanwhile.
SLOW = """
import time
from pathlib import Path

import dozer
from pytest_tvmtune.core.results.progress import StageProgress
from pytest_tvmtune.plugin.progress_display import progress_display
from pytest_tvmtune.processes.job import JobContext
from pytest_tvmtune.processes.run_job import run_job
from pytest_tvmtune.stages.stage_progress import under_way

def test_slow(request, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    show = progress_display(request.config, first_after_s=1.0, every_s=1.0)
    context = JobContext(
        scratch=tmp_path / "scratch",
        log_path=tmp_path / "job.log",
        timeout_s=60,
        num_threads=1,
        on_stage=lambda stage, spent_s: show(
            StageProgress(label="mlp[llvm]", stage=stage.text, spent_s=spent_s)
        ),
    )
    run_job(dozer.JOB, 3.0, context)
    with under_way(show, "mlp[llvm]", "opening the model"):
        for _ in range(20):
            print("importing")
            time.sleep(0.1)
    assert capfd.readouterr() == ("importing\\n" * 20, "")
"""


@pytest.fixture
def slow_suite(suite: pytest.Pytester) -> pytest.Pytester:
    suite.makepyfile(dozer=DOZER, test_slow=SLOW)
    return suite


def test_a_slow_stage_is_shown_in_plain_lines(slow_suite: pytest.Pytester) -> None:
    done = slow_suite.runpytest_subprocess()
    done.assert_outcomes(passed=1)
    lines = [line for line in done.errlines if line]
    assert all(re.fullmatch(r"mlp\[llvm\]: [a-z ]+, \d s", line) for line in lines), lines
    dozing = [line for line in lines if "dozing off" in line]
    assert 2 <= len(dozing) <= 4
    assert any("opening the model" in line for line in lines)
    assert not any("blinking" in line for line in lines)


@pytest.mark.parametrize("quiet", [("-q",), ("-n", "1")], ids=["quiet", "xdist"])
def test_no_stage_is_shown_to_who_does_not_look(
    slow_suite: pytest.Pytester, quiet: tuple[str, ...]
) -> None:
    done = slow_suite.runpytest_subprocess(*quiet)
    done.assert_outcomes(passed=1)
    assert "mlp[llvm]" not in done.stderr.str() + done.stdout.str()


def test_a_terminal_shows_a_slow_stage_in_one_line(slow_suite: pytest.Pytester) -> None:
    shown = run_on_a_terminal(slow_suite)
    states = [state.strip() for state in re.split(r"[\r\n]", shown) if "mlp[llvm]" in state]
    assert "mlp[llvm]: dozing off, 2 s" in states
    assert "mlp[llvm]: opening the model, 1 s" in states
    assert "importing" not in shown
    # It is gone at the end.
    assert re.search(r"opening the model, \d s *\r +\r", shown)


def test_a_case_that_takes_more_than_ten_seconds_says_what_it_does(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        TINY
        + """
import time

@pytest.mark.tvm_tune(trials=0)
def test_tiny(tvm_tune):
    def slowly(x):
        time.sleep(11)
        return EXPECTED

    tvm_tune(Tiny(), **GIVEN).assert_allclose(slowly)
"""
    )
    done = suite.runpytest_subprocess()
    done.assert_outcomes(passed=1)
    done.stderr.fnmatch_lines(["tiny[[]llvm[]]: computing the expected outputs, * s"])

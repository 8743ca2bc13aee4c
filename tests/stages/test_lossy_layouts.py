"""Schedules that leave part of a weight out: TVM makes them, applies them, and says nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pytest_tvmtune.core.comparing.tolerances import Tolerance
from pytest_tvmtune.processes.job import Job, JobContext
from pytest_tvmtune.processes.run_job import run_job
from pytest_tvmtune.stages.case import Case
from pytest_tvmtune.stages.compiling import BuiltModel, load
from pytest_tvmtune.stages.explaining.divergence_search import first_divergence
from pytest_tvmtune.stages.tuned_build import reference_build
from tests.stages.lossy import EXPECTED, Deconvolution, Request, W, X, make_work_dir
from tests.support import IMPORTABLE
from tests.support.cases import build_of, built_run
from tests.support.modules import OpenCase

DATA: dict[str, Any] = {"prepack": True, "params": [W], "inputs": [X]}
CLOSE: dict[str, Any] = {"rtol": 1e-4, "atol": 1e-5}


def outputs(case: Case, built: BuiltModel) -> Any:
    return load(case, built).outputs()


@pytest.fixture
def work_dir(open_: OpenCase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's tuning database whose best record is such a schedule."""
    monkeypatch.setenv("PYTHONPATH", IMPORTABLE)
    case = open_(Deconvolution, **DATA)
    job = Job(run=make_work_dir, preload="pytest_tvmtune.relax.tuning.preload")
    request = Request(target=case.target_json, work_dir=tmp_path / "work_dir")
    context = JobContext(
        scratch=case.store.scratch, log_path=tmp_path / "log", timeout_s=300.0, num_threads=1
    )
    made = run_job(job, request, context)
    assert made == ["", "its layout of w has 4 of 32 elements"]
    return tmp_path / "work_dir"


def test_it_is_told_where_one_was_given_and_refused_when_tuned_anew(
    open_: OpenCase, work_dir: Path
) -> None:
    given = open_(Deconvolution, **DATA, settings={"work_dir": str(work_dir), "tuning": "never"})
    built = build_of(given)
    assert not np.allclose(outputs(given, built), EXPECTED, atol=0.1)
    reference = reference_build(given, built)
    assert reference is not None
    told = first_divergence(given, built, reference, against="it", tolerance=Tolerance())
    assert told.kind == "transform"
    assert told.cause == (
        "parameter 0 from main_transform_params has 4 of 32 elements: the layout of its schedule "
        "loses elements, a fault of TVM's RewriteLayout; --tvm-tuning=refresh refuses such "
        "records"
    )

    anew = open_(Deconvolution, **DATA, settings={"trials": 8, "tuning": "refresh"})
    run = built_run(anew)
    assert all(task.is_settled for task in run.result.tasks)
    np.testing.assert_allclose(outputs(anew, run.built), EXPECTED, **CLOSE)


def test_the_tuner_makes_none_though_they_would_be_the_quickest(open_: OpenCase) -> None:
    case = open_(Deconvolution, **DATA, settings={"trials": 8})
    run = built_run(case)
    (task,) = run.result.tasks
    assert (task.is_settled, task.trials, task.valid_trials) == (True, 8, 8)
    np.testing.assert_allclose(outputs(case, run.built), EXPECTED, **CLOSE)

"""The gate on real artifacts: two libraries side by side in a child."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from modules import OpenCase, Scaled, Square

from pytest_tvmtune.core.baseline import Baseline, Identity
from pytest_tvmtune.core.errors import BaselineError
from pytest_tvmtune.relax.measure import EPOCHS, MAX_PAIRS
from pytest_tvmtune.runner.building import Built, load
from pytest_tvmtune.runner.case import Case
from pytest_tvmtune.runner.latency import judge_latency, make_baseline
from pytest_tvmtune.runner.preparing import tune_and_build

IDENTITY = Identity(
    path="t.py", cls="", function="t", params="", name="t", entry="main", target_name="llvm",
    prepack=False,
)  # fmt: skip
WEIGHTS = {"w": np.eye(8, dtype="float32") * 2, "s": np.array(3.0, "float32")}


def accept(case: Case, built: Built) -> Baseline:
    latency, _ = judge_latency(case, built, load(case, built), None)
    assert latency.verdict == "NEW"
    assert latency.median_s
    return make_baseline(case, IDENTITY, built, latency)


@pytest.fixture
def baseline_and_other(open_: OpenCase) -> tuple[Baseline, Case, Built]:
    """Return a plain artifact, accepted, and the prepacked one of the same model."""
    plain = open_(Scaled, params=WEIGHTS)
    baseline = accept(plain, tune_and_build(plain))
    packed = open_(Scaled, params=WEIGHTS, prepack=True, settings={"num_threads": 1})
    built = tune_and_build(packed)
    assert built.artifact.sha256 != baseline.artifact
    return baseline, packed, built


def test_two_libraries_are_timed_in_pairs_and_epochs(
    baseline_and_other: tuple[Baseline, Case, Built],
) -> None:
    """Prepacking takes the transpose out of the run; a parameter of rank 0 is shared."""
    baseline, case, built = baseline_and_other
    latency, samples = judge_latency(case, built, load(case, built), baseline)
    assert latency.epochs == EPOCHS
    assert latency.pairs == len(samples) == EPOCHS * MAX_PAIRS
    assert latency.num_threads == 1
    assert latency.interval
    assert latency.slowdown_ratio
    assert latency.interval[0] <= latency.slowdown_ratio <= latency.interval[1]
    assert latency.slowdown_ratio < 1
    assert latency.confidence
    assert latency.confidence >= 0.99
    assert latency.baseline_median_s
    assert not latency.same_code


def test_little_time_means_fewer_pairs_never_fewer_epochs(
    baseline_and_other: tuple[Baseline, Case, Built],
) -> None:

    baseline, case, built = baseline_and_other
    hurried = replace(case, options=replace(case.options, max_time_s=1e-3))
    latency, _ = judge_latency(hurried, built, load(case, built), baseline)
    assert latency.epochs == EPOCHS
    # The first epoch, which tells what a pair costs, is a full one.
    assert latency.pairs == MAX_PAIRS + EPOCHS - 1


def test_the_same_code_is_not_measured_against_itself(open_: OpenCase) -> None:
    case = open_(Square)
    built = tune_and_build(case)
    baseline = accept(case, built)
    latency, samples = judge_latency(case, built, load(case, built), baseline)
    assert (latency.verdict, latency.same_code, latency.epochs) == ("PASS", True, 0)
    assert samples
    other_threads = open_(Square, settings={"num_threads": case.num_threads + 1})
    latency, _ = judge_latency(other_threads, built, load(case, built), baseline)
    assert (latency.same_code, latency.epochs) == (False, EPOCHS)


def test_what_can_not_be_compared(open_: OpenCase) -> None:
    case = open_(Square)
    built = tune_and_build(case)
    session = load(case, built)
    baseline = accept(case, built)

    def reason(baseline: Any) -> str:
        latency, _ = judge_latency(case, built, session, baseline)
        assert latency.verdict == "INCOMPARABLE"
        assert latency.median_s
        return latency.message

    assert "torn page; accept this run with --tvm-update" in reason(BaselineError("torn page"))

    assert "interface changed" in reason(replace(baseline, signature={"entry": "other"}))
    assert "artifact 000000000000 is missing" in reason(replace(baseline, artifact="0" * 64))

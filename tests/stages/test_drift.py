"""Verdicts next to the anchor: measured with the baseline, alone, or not at all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pytest_tvmtune.core.errors import BaselineError, ChildError
from pytest_tvmtune.core.gating.accepted_baseline import Baseline
from pytest_tvmtune.core.gating.confidence_sequence import item_alpha
from pytest_tvmtune.core.job_stage import LOADING_BASELINE, JobStage
from pytest_tvmtune.core.results.latency_comparison import LatencyComparison
from pytest_tvmtune.relax.measuring import gate_job
from pytest_tvmtune.stages.case import Case
from pytest_tvmtune.stages.compiling import BuiltModel, load
from pytest_tvmtune.stages.latency import paired_measurement
from pytest_tvmtune.stages.latency.drift import REPAIR, drift_finding
from pytest_tvmtune.stages.latency.latency_gate import judge_latency
from pytest_tvmtune.stages.latency.paired_measurement import Measure
from pytest_tvmtune.stages.outcomes import LatencyOutcome
from pytest_tvmtune.store import artifacts
from pytest_tvmtune.store.artifacts import Artifact
from pytest_tvmtune.store.layout import Store, open_store
from tests.support.cases import accept, build_of, opener
from tests.support.chains import chain, chain_data

pytestmark = pytest.mark.timed
X, W = chain_data()
WIDE = {"threshold": "20%", "max_drift": "20%", "max_time": "60s", "num_threads": 1}


class Asked:
    """Measures as the package does, and keeps what it was asked for."""

    def __init__(self) -> None:
        self.anchors: list[bool] = []

    def __call__(self, case: Case, old: Artifact, new: Artifact, **options: Any) -> gate_job.Result:
        self.anchors.append(options.get("anchor") is not None)
        return paired_measurement.measure(case, old, new, **options)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return open_store(tmp_path_factory.mktemp("drift") / "store")


@pytest.fixture(scope="module")
def built(store: Store) -> dict[str, tuple[Case, BuiltModel]]:
    open_ = opener(store)
    modules = {"usual": chain(), "renamed": chain(naming="other"), "shorter": chain(60)}
    cases = {
        name: open_(mod, params=[W], inputs=[X], settings=WIDE) for name, mod in modules.items()
    }
    return {name: (case, build_of(case)) for name, case in cases.items()}


@pytest.fixture(scope="module")
def accepted(built: dict[str, tuple[Case, BuiltModel]]) -> dict[str, Baseline]:
    return {name: accept(*one) for name, one in built.items()}


def judged(
    one: tuple[Case, BuiltModel],
    baseline: Baseline | None,
    anchor: Baseline | BaselineError,
    asked: Measure | None = None,
) -> LatencyOutcome:
    case, built = one
    return judge_latency(
        case, built, load(case, built), baseline, anchor=anchor, measure=asked or Asked()
    )


def drift(outcome: LatencyOutcome) -> LatencyComparison:
    assert outcome.drift is not None
    assert (outcome.drift.compared_with, outcome.drift.asked) == ("the anchor", True)
    return outcome.drift


def test_the_anchor_is_measured_with_the_baseline(
    built: dict[str, tuple[Case, BuiltModel]], accepted: dict[str, Baseline]
) -> None:
    """As fast as the baseline, and slower than the anchor, whose kernels are the same."""
    asked = Asked()
    outcome = judged(built["usual"], accepted["renamed"], accepted["shorter"], asked)
    found = drift(outcome)
    assert (outcome.latency.verdict, found.verdict) == ("PASS", "REGRESSION")
    assert asked.anchors == [True]
    assert outcome.decisions == 2
    assert found.latency.confidence == pytest.approx(1 - 2 * item_alpha(1, 1))
    assert found.kernels is not None
    finding = drift_finding(built["usual"][0], found).splitlines()
    assert finding[0].startswith("it[llvm]: drift from the anchor: 1.")
    assert finding[0].endswith(", limit 1.20x")
    assert finding[-1] == "  accept with --tvm-update-anchor"
    assert f"accepted at {accepted['shorter'].accepted_at} with TVM 0." in finding[-2]


def test_without_a_measurement_of_the_gate_the_anchor_is_measured_alone(
    built: dict[str, tuple[Case, BuiltModel]], accepted: dict[str, Baseline]
) -> None:
    for baseline in (None, accepted["usual"]):
        asked = Asked()
        outcome = judged(built["usual"], baseline, accepted["renamed"], asked)
        assert outcome.latency.verdict == ("NEW" if baseline is None else "PASS")
        found = drift(outcome)
        assert (found.verdict, asked.anchors, outcome.decisions) == ("PASS", [False], 1)
        # It is the first decision of the item.
        assert found.latency.confidence == pytest.approx(1 - 2 * item_alpha(1))
        assert drift_finding(built["usual"][0], drift(outcome)) == ""


def test_the_same_code_as_the_anchor_is_not_measured(
    built: dict[str, tuple[Case, BuiltModel]], accepted: dict[str, Baseline]
) -> None:
    asked = Asked()
    found = drift(judged(built["usual"], accepted["usual"], accepted["usual"], asked))
    assert (found.verdict, found.latency.same_code, asked.anchors) == ("PASS", True, [])


def test_an_anchor_that_can_not_be_run_leaves_the_gate_alone(
    built: dict[str, tuple[Case, BuiltModel]],
    accepted: dict[str, Baseline],
    store: Store,
    tmp_path: Path,
) -> None:
    usual, baseline = built["usual"], accepted["renamed"]

    def problem(anchor: Baseline | BaselineError) -> str:
        outcome = judged(usual, baseline, anchor)
        found = drift(outcome)
        assert (outcome.latency.verdict, found.verdict) == ("PASS", "INCOMPARABLE")
        assert found.latency.message.endswith(f"; {REPAIR}")
        return found.latency.message.removesuffix(f"; {REPAIR}")

    assert problem(BaselineError("torn page")) == "torn page"
    gone = replace(baseline, artifact="0" * 64)
    assert problem(gone) == "the anchor's artifact 000000000000 is missing"
    half = tmp_path / "half.so"
    half.write_bytes(usual[1].artifact.library.read_bytes()[:1000])
    broken = artifacts.publish(store, half, usual[1].artifact.manifest)
    told = problem(replace(baseline, artifact=broken.sha256))
    assert told.startswith("the anchor's artifact can't be run: ")


def test_a_crash_with_the_anchor_is_repeated_without_it(
    built: dict[str, tuple[Case, BuiltModel]], accepted: dict[str, Baseline]
) -> None:
    """Memory for three may be short, or the anchor crash while it is measured."""
    asked = Asked()

    def crashes(case: Case, *artifacts_: Artifact, **options: Any) -> gate_job.Result:
        if options.get("anchor") is not None or len(asked.anchors) == 1:
            stage = LOADING_BASELINE if asked.anchors else JobStage("measuring")
            raise ChildError("it crashed", stage=stage)
        return asked(case, *artifacts_, **options)

    outcome = judged(built["usual"], accepted["renamed"], accepted["shorter"], crashes)
    assert (outcome.latency.verdict, asked.anchors) == ("PASS", [False])
    assert drift(outcome).verdict == "INCOMPARABLE"
    assert "the anchor's artifact can't be run: it crashed" in drift(outcome).latency.message


def test_a_crash_of_this_run_is_its_own(
    built: dict[str, tuple[Case, BuiltModel]], accepted: dict[str, Baseline]
) -> None:
    """Only what fails while an accepted artifact is loaded isn't this run's."""

    def crashes(*_: Any, **__: Any) -> gate_job.Result:
        raise ChildError("it crashed", stage=JobStage("measuring"))

    for baseline in (accepted["renamed"], None):
        with pytest.raises(ChildError, match="it crashed"):
            judged(built["usual"], baseline, accepted["shorter"], crashes)

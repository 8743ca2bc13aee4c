"""A new build next to itself untuned and plain: measured once; if it's slower, with a warning."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from pytest_tvmtune.core.errors import CompileError
from pytest_tvmtune.core.results.latency_comparison import PLAIN
from pytest_tvmtune.stages.case import Case, with_prepack
from pytest_tvmtune.stages.compiling import BuiltModel, load
from pytest_tvmtune.stages.latency import kept_comparisons
from pytest_tvmtune.stages.latency.kept_comparisons import compare_once
from pytest_tvmtune.stages.outcomes import KeptComparisons
from pytest_tvmtune.stages.tuned_build import build_tuned
from pytest_tvmtune.stages.tuning_tasks import extract_tasks, tune_missing
from pytest_tvmtune.store import builds
from tests.support.cases import build_of, build_with_records
from tests.support.modules import OpenCase, Square


def compared(case: Case, built: BuiltModel) -> KeptComparisons:
    return compare_once(case, built, load(case, built))


def tuned(case: Case) -> BuiltModel:
    plan = extract_tasks(case)
    assert tune_missing(case, plan).error is None
    return build_tuned(case, plan).built


def names(found: KeptComparisons) -> list[str]:
    return [one.compared_with for one in found.comparisons]


def test_a_tuned_model_slower_than_its_untuned_twin_warns(open_: OpenCase) -> None:
    """Schedules start threads, which takes longer than these kernels do."""
    settings = {"trials": 4, "num_threads": 2}
    case = open_(Square, settings=settings)
    built = build_with_records(case)
    assert len(built.build.applied) == 2
    found = compared(case, built)
    (said,) = found.warnings
    (comparison,) = found.comparisons
    assert "slower than the untuned model (costs more: " in said
    assert any(name in said for name in ("matmul", "transpose"))
    assert (comparison.compared_with, comparison.asked) == ("untuned", False)
    assert comparison.ratio > 1
    assert comparison.latency.samples_s == ()

    # Kept with the build: a later run says the same, and measures nothing.
    path = case.store.builds / f"{built.key}.json"
    kept = json.loads(path.read_text())
    kept["compared"][0]["comparison"]["latency"]["slowdown_ratio"] = 7.0
    path.write_text(json.dumps(kept))
    later = open_(Square, settings=settings)
    rebuilt = build_of(later)
    (said,) = compared(later, rebuilt).warnings
    assert said.startswith("the tuned model is 7.0x slower than")
    assert "gate" not in later.logs.written()

    # What it takes with another number of threads, or elsewhere, is another matter.
    alone = open_(Square, settings={**settings, "num_threads": 1})
    other = compared(alone, build_of(alone))
    assert other.comparisons[0].ratio != 7.0


@pytest.mark.parametrize("trials", [0, 2])
def test_a_prepacked_build_is_measured_next_to_the_plain_one(open_: OpenCase, trials: int) -> None:
    """With trials, once a test with the same settings has tuned that: nothing is tuned for it."""
    case = open_(Square, prepack=True, settings={"trials": trials})
    built = tuned(case)
    if trials:
        assert PLAIN not in names(compared(case, built))
        tuned(with_prepack(case, prepack=False))
    found = compared(case, built)
    assert PLAIN in names(found)
    kept = builds.read_build(case.store, built.key)
    assert kept is not None
    assert [one.comparison for one in kept.compared] == list(found.comparisons)
    again = compared(case, replace(built, build=kept))
    assert (again.comparisons, again.warnings) == (found.comparisons, found.warnings)


def test_what_no_record_is_applied_to_is_its_own_twin(open_: OpenCase) -> None:
    case = open_(Square)
    found = compared(case, build_of(case))
    assert (found.comparisons, found.warnings) == ((), ())


def test_an_undecided_comparison_is_measured_again_twice(open_: OpenCase) -> None:
    case = open_(Square, prepack=True, settings={"trials": 0})
    built = compared(case, build_of(case)).built
    (kept,) = built.build.compared
    latency = replace(kept.comparison.latency, verdict="INCONCLUSIVE", message="as before")
    undecided = replace(kept, comparison=replace(kept.comparison, latency=latency))
    for attempts, is_kept in ((1, False), (2, False), (3, True)):
        before = replace(built.build, compared=(replace(undecided, attempts=attempts),))
        found = compared(case, replace(built, build=before))
        assert (found.comparisons[0].latency.message == "as before") == is_kept
        if not is_kept:
            assert found.built.build.compared[0].attempts == attempts + 1


def test_a_plain_build_that_fails_is_a_warning(
    open_: OpenCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The prepacked build under test is sound."""

    def fail(_case: Case) -> BuiltModel:
        raise CompileError("no plain build")

    monkeypatch.setattr(kept_comparisons, "counterpart_build", fail)
    case = open_(Square, prepack=True, settings={"trials": 0})
    assert compared(case, build_of(case)).warnings == (
        "whether prepacking made the model faster is not known: no plain build",
    )

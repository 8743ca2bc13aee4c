"""A tuned model next to itself without records: slower, it warns, once measured, with kernels."""

from __future__ import annotations

import json

from pytest_tvmtune.stages.case import Case
from pytest_tvmtune.stages.compiling import BuiltModel, load
from pytest_tvmtune.stages.tuned_build import tune_and_build
from pytest_tvmtune.stages.untuned_twin import slower_than_untuned
from tests.support.cases import forget_untuned
from tests.support.modules import OpenCase, Square


def warning_of(case: Case, built: BuiltModel) -> str:
    return slower_than_untuned(case, built, load(case, built))


def test_a_tuned_model_slower_than_its_untuned_twin_warns(open_: OpenCase) -> None:
    """Schedules start threads, which takes longer than these kernels do."""
    settings = {"trials": 4, "num_threads": 2}
    tune_and_build(open_(Square, settings=settings))
    case = open_(Square, settings=settings)
    forget_untuned(case.store)
    built = tune_and_build(case)
    assert len(built.build.applied) == 2
    said = warning_of(case, built)
    assert "times as long as the untuned one (costs more: " in said
    assert any(name in said for name in ("matmul", "transpose"))
    assert case.result.untuned_ratio
    assert case.result.untuned_ratio > 1

    # Kept with the build: a later run says the same, and measures nothing.
    path = case.store.builds / f"{built.key}.json"
    kept = json.loads(path.read_text())
    path.write_text(json.dumps({**kept, "untuned_ratio": 7.0}))
    later = open_(Square, settings=settings)
    rebuilt = tune_and_build(later)
    assert warning_of(later, rebuilt).startswith("the tuned model takes 7.00 times as long as")
    assert "gate" not in later.result.logs

    # What it takes with another number of threads, or elsewhere, is another matter.
    alone = open_(Square, settings={**settings, "num_threads": 1})
    assert not warning_of(alone, tune_and_build(alone)).startswith("the tuned model takes 7.00")
    assert alone.result.untuned_ratio not in {None, 7.0}


def test_what_no_record_is_applied_to_is_its_own_twin(open_: OpenCase) -> None:
    case = open_(Square)
    assert warning_of(case, tune_and_build(case)) == ""
    assert case.result.untuned_ratio is None

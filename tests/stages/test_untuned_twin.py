"""A tuned model next to itself without records: slower, it warns, once measured, with kernels."""

from __future__ import annotations

import json

from pytest_tvmtune.stages.case import Case
from pytest_tvmtune.stages.compiling import BuiltModel, load
from pytest_tvmtune.stages.latency.untuned_twin import compare_with_untuned
from pytest_tvmtune.stages.outcomes import UntunedOutcome
from tests.support.cases import build_of, build_with_records
from tests.support.modules import OpenCase, Square


def compared(case: Case, built: BuiltModel) -> UntunedOutcome:
    return compare_with_untuned(case, built, load(case, built))


def test_a_tuned_model_slower_than_its_untuned_twin_warns(open_: OpenCase) -> None:
    """Schedules start threads, which takes longer than these kernels do."""
    settings = {"trials": 4, "num_threads": 2}
    case = open_(Square, settings=settings)
    built = build_with_records(case)
    assert len(built.build.applied) == 2
    found = compared(case, built)
    said = found.warning
    assert "slower than the untuned model (costs more: " in said
    assert any(name in said for name in ("matmul", "transpose"))
    assert found.ratio
    assert found.ratio > 1

    # Kept with the build: a later run says the same, and measures nothing.
    path = case.store.builds / f"{built.key}.json"
    kept = json.loads(path.read_text())
    path.write_text(json.dumps({**kept, "untuned_ratio": 7.0}))
    later = open_(Square, settings=settings)
    rebuilt = build_of(later)
    assert compared(later, rebuilt).warning.startswith("the tuned model is 7.0x slower than")
    assert "gate" not in later.logs.written()

    # What it takes with another number of threads, or elsewhere, is another matter.
    alone = open_(Square, settings={**settings, "num_threads": 1})
    other = compared(alone, build_of(alone))
    assert not other.warning.startswith("the tuned model is 7.0x")
    assert other.ratio not in {None, 7.0}


def test_what_no_record_is_applied_to_is_its_own_twin(open_: OpenCase) -> None:
    case = open_(Square)
    assert compared(case, build_of(case)) == UntunedOutcome()

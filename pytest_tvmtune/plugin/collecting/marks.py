"""The `tvm_tune` marks of an item: merged, also those that came after the item was made.

Targets and prepack choices make items, so they must be known before there are any. All else may
also be said by a mark in `pytest.param(..., marks=...)` or by `item.add_marker(...)`.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pytest

from pytest_tvmtune.core.errors import OptionError
from pytest_tvmtune.core.results.case_label import choice_of
from pytest_tvmtune.core.settings.options import CaseOptions, RunOptions
from pytest_tvmtune.core.settings.parsing import parse_marker
from pytest_tvmtune.core.settings.target_spec import TargetSpec
from pytest_tvmtune.plugin.collecting.case_items import CASE_FIXTURE, MARKER
from pytest_tvmtune.plugin.collecting.item_variants import item_choices
from pytest_tvmtune.plugin.collecting.user_parameters import parametrized

_TOO_LATE = (
    "target= and prepack= decide which items a test becomes, and a mark in pytest.param(..., "
    "marks=...) or from add_marker comes after that: put them in a mark on the test function, its "
    "class or its module; write a test of its own for a parameter with other targets"
)


def merged_arguments(marks: Iterable[pytest.Mark], config: pytest.Config) -> dict[str, Any]:
    """Return the parsed arguments of marks, the closest first. Raises OptionError."""
    merged: dict[str, Any] = {}
    for mark in reversed([*marks]):
        if mark.args:
            raise OptionError(f"takes keyword arguments only, not {mark.args!r}")
        merged.update(mark.kwargs)
    if "target" in merged:
        merged["target"] = _without_objects(merged["target"])
    arguments = parse_marker(merged)
    if "work_dir" in arguments:
        arguments["work_dir"] = config.rootpath / arguments["work_dir"]
    return arguments


def _without_objects(value: object) -> object:
    """Return targets with a configuration for each `tvm.target.Target`, which only TVM can read."""
    if isinstance(value, (list, tuple)):
        return [_without_objects(one) for one in value]
    if value is None or isinstance(value, (str, Mapping, TargetSpec)):
        return value
    from pytest_tvmtune.relax.devices.targets import shortest_config

    return shortest_config(value)


def marks_of(item: pytest.Item) -> list[pytest.Mark]:
    """Return an item's marks, the closest first: those of its parameters, then as pytest has them.

    pytest itself has those of a parameter after those of the test function.
    """
    marks = list(item.iter_markers(MARKER))
    callspec = getattr(item, "callspec", None)
    own = [] if callspec is None else [mark for mark in callspec.marks if mark.name == MARKER]
    return [*own, *(mark for mark in marks if not any(one is mark for one in own))]


def same_marks(some: Sequence[pytest.Mark], others: Sequence[pytest.Mark]) -> bool:
    """Whether these are the very same marks, in one order."""
    return len(some) == len(others) and all(map(operator.is_, some, others))


def options_of(item: pytest.Function, run: RunOptions) -> CaseOptions | None:
    """Return what an item is to do by the marks that it has now; None where it is left out.

    Raises OptionError for a mark that is wrong, or that wants another item.
    """
    made = item.callspec.params[CASE_FIXTURE]
    assert made is None or isinstance(made, CaseOptions)
    early, marks = parametrized(item).marks, marks_of(item)
    if same_marks(marks, early):
        return made
    before, now = (merged_arguments(some, item.config) for some in (early, marks))
    return rechosen(run, before, now, made)


def mark_problem(item: pytest.Item, error: OptionError) -> str:
    """Return what to say of an item with a mark that is wrong."""
    return f"{item.nodeid}: marker {MARKER}: {error}"


def wrong_mark(item: pytest.Item, error: OptionError) -> BaseException:
    """Return what fails an item with a mark that is wrong."""
    return pytest.fail.Exception(mark_problem(item, error), pytrace=False)


def rechosen(
    run: RunOptions, before: Mapping[str, Any], now: Mapping[str, Any], made: CaseOptions | None
) -> CaseOptions | None:
    """Return an item's options by other arguments than those that it was made by.

    Raises OptionError where these make other items.
    """
    choices = item_choices(run, now)
    if [one.id for one in choices] != [one.id for one in item_choices(run, before)]:
        raise OptionError(_TOO_LATE)
    if made is None:
        return None
    own = choice_of(made.target.name, prepack=made.prepack)
    return next(one.options for one in choices if one.id == own)

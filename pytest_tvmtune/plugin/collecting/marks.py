"""The `tvm_tune` markers of an item, merged, also if they are added after the item is made.

Targets and prepack choices decide which items are made, so they must be known before that. A marker
in `pytest.param(..., marks=...)`, or from `item.add_marker(...)`, can set everything else.
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
    "target= and prepack= decide which items a test becomes, so pytest.param(..., marks=...) and "
    "add_marker come too late for them: put them in a marker on the test function, its class, or "
    "its module; for a parameter with other targets, write a separate test"
)


def merged_arguments(marks: Iterable[pytest.Mark], config: pytest.Config) -> dict[str, Any]:
    """Return the parsed arguments of markers, the closest marker first. Raises OptionError."""
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
    """Return targets without `tvm.target.Target` objects, which only TVM can read."""
    if isinstance(value, (list, tuple)):
        return [_without_objects(one) for one in value]
    if value is None or isinstance(value, (str, Mapping, TargetSpec)):
        return value
    from pytest_tvmtune.relax.devices.targets import shortest_config

    return shortest_config(value)


def marks_of(item: pytest.Item) -> list[pytest.Mark]:
    """Return an item's markers, the closest first.

    Markers of parameters come first. In pytest's order, they come after the test function's.
    """
    marks = list(item.iter_markers(MARKER))
    callspec = getattr(item, "callspec", None)
    own = [] if callspec is None else [mark for mark in callspec.marks if mark.name == MARKER]
    return [*own, *(mark for mark in marks if not any(one is mark for one in own))]


def same_marks(some: Sequence[pytest.Mark], others: Sequence[pytest.Mark]) -> bool:
    """Whether these are identical markers, in the same order."""
    return len(some) == len(others) and all(map(operator.is_, some, others))


def options_of(item: pytest.Function, run: RunOptions) -> CaseOptions | None:
    """Return an item's options by its present markers; None if it's left out.

    Raises OptionError for a marker that is wrong, or that needs another item.
    """
    made = item.callspec.params[CASE_FIXTURE]
    assert made is None or isinstance(made, CaseOptions)
    early, marks = parametrized(item).marks, marks_of(item)
    if same_marks(marks, early):
        return made
    before, now = (merged_arguments(some, item.config) for some in (early, marks))
    return rechosen(run, before, now, made)


def mark_problem(item: pytest.Item, error: OptionError) -> str:
    """Return the message for an item with a wrong marker."""
    return f"{item.nodeid}: marker {MARKER}: {error}"


def wrong_mark(item: pytest.Item, error: OptionError) -> BaseException:
    """Return the exception that fails an item with a wrong marker."""
    return pytest.fail.Exception(mark_problem(item, error), pytrace=False)


def rechosen(
    run: RunOptions, before: Mapping[str, Any], now: Mapping[str, Any], made: CaseOptions | None
) -> CaseOptions | None:
    """Return an item's options with other arguments than it was made with.

    Raises OptionError if these arguments make other items.
    """
    choices = item_choices(run, now)
    if [one.id for one in choices] != [one.id for one in item_choices(run, before)]:
        raise OptionError(_TOO_LATE)
    if made is None:
        return None
    own = choice_of(made.target.name, prepack=made.prepack)
    return next(one.options for one in choices if one.id == own)

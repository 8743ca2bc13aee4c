"""The source of an item's parameters. A baseline's identity has only the user's parameters.

Plugins that repeat tests (pytest-repeat, flake-finder) add a parameter that no test requests, so
all repetitions of a test have the same baseline. A parameter is the user's if the test requests it
(as an argument, a fixture, or a mark), or if the user's code (a conftest, the test's module or
class) adds it.
"""

from __future__ import annotations

import contextlib
import inspect
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from pytest_tvmtune.machine.import_errors import is_in_site_packages
from pytest_tvmtune.plugin.collecting.case_items import CASE_FIXTURE, MARKER


@dataclass(frozen=True, kw_only=True)
class Parametrized:
    """The parameters and markers that an item was made with.

    ids: the user's parametrization ids, in order. marks: the `tvm_tune` markers of the test when
    its items were made, the closest first.
    """

    ids: tuple[str, ...]
    marks: tuple[pytest.Mark, ...]

    @property
    def params(self) -> str:
        """The ids as in a test's id."""
        return "-".join(self.ids)


# By the identity of the item's callspec, which is kept with it.
_CALLS = pytest.StashKey[dict[int, tuple[Any, Parametrized]]]()
_MADE = pytest.StashKey[Parametrized]()


def parametrized(item: pytest.Function) -> Parametrized:
    """Return the parameters that a test function's item was made with.

    If another plugin replaced the item, all parameters count as the user's. So it can have a
    baseline too many, but it never shares a baseline with another test.
    """
    made = item.stash.get(_MADE, None)
    if made is None:
        assert item.parent is not None
        calls = item.parent.stash.get(_CALLS, {})
        _, made = calls.get(id(item.callspec), (None, None))
    if made is None:
        ids = [str(one) for one in item.callspec._idlist]  # noqa: SLF001
        own = {id(mark) for mark in item.callspec.marks}
        marks = (mark for mark in item.iter_markers(MARKER) if id(mark) not in own)
        # Ours is added last.
        made = Parametrized(ids=tuple(ids[:-1]), marks=tuple(marks))
    item.stash[_MADE] = made
    return made


@contextlib.contextmanager
def parameters_noted(metafunc: pytest.Metafunc) -> Iterator[None]:
    """Note where the parameters of a test's items come from, while the items are made."""
    watch = _Watch(metafunc)
    metafunc.parametrize = watch.parametrize  # type: ignore[method-assign]
    try:
        yield
    finally:
        vars(metafunc).pop("parametrize", None)
        watch.leave_notes()


class _Watch:
    """The calls of a Metafunc's `parametrize`, and the user's ids of each item."""

    def __init__(self, metafunc: pytest.Metafunc) -> None:
        self._metafunc = metafunc
        self._parametrize = metafunc.parametrize
        self._asked = _asked_names(metafunc)
        # Parameters that another plugin added before this count as the user's.
        self._ids = [_ids(call) for call in self._calls()]

    def parametrize(self, argnames: str | Sequence[str], *arguments: Any, **keywords: Any) -> None:
        """Parametrize, and note whether the new ids are the user's."""
        __tracebackhide__ = True
        is_own = self._is_own(_names(argnames), sys._getframe(1))  # noqa: SLF001
        before = [(len(_ids(call)), own) for call, own in zip(self._calls(), self._ids)]  # noqa: B905
        before = before or [(0, ())]
        self._parametrize(argnames, *arguments, **keywords)
        calls = self._calls()
        # Each call from before became as many as there are parameter sets, in order.
        each = max(1, len(calls) // len(before))
        self._ids = []
        for index, call in enumerate(calls):
            count, own = before[min(index // each, len(before) - 1)]
            self._ids.append((*own, *_ids(call)[count:]) if is_own else own)

    def leave_notes(self) -> None:
        """Store the notes for the items, which don't exist yet."""
        definition = self._metafunc.definition
        assert definition.parent is not None
        kept = definition.parent.stash.setdefault(_CALLS, {})
        marks = tuple(definition.iter_markers(MARKER))
        for call, ids in zip(self._calls(), self._ids):  # noqa: B905  after another plugin's work
            kept[id(call)] = (call, Parametrized(ids=ids, marks=marks))

    def _is_own(self, names: Sequence[str], caller: FrameType) -> bool:
        if CASE_FIXTURE in names:
            return False
        return not self._asked.isdisjoint(names) or self._is_users_call(caller)

    def _is_users_call(self, caller: FrameType) -> bool:
        """Whether the user's code calls `parametrize` in a hook."""
        frame: FrameType | None = caller
        while frame is not None and not _is_pluggy(frame):
            if _is_users_file(frame.f_code.co_filename, self._metafunc):
                return True
            frame = frame.f_back
        return False

    def _calls(self) -> list[Any]:
        calls = self._metafunc._calls  # noqa: SLF001
        # pytest-cases has something else there for a while.
        return calls if isinstance(calls, list) else []


def _ids(call: Any) -> tuple[str, ...]:
    return tuple(map(str, getattr(call, "_idlist", ())))


def _names(argnames: str | Sequence[str]) -> list[str]:
    given = argnames.split(",") if isinstance(argnames, str) else argnames
    return [name.strip() for name in given]


def _is_pluggy(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__", "")).startswith("pluggy.")


def _asked_names(metafunc: pytest.Metafunc) -> set[str]:
    """Return the names that the test requests, directly or through fixtures, and user fixtures."""
    definition = metafunc.definition
    known = definition._fixtureinfo.name2fixturedefs  # noqa: SLF001
    pending = [*inspect.signature(metafunc.function).parameters]
    for mark in definition.iter_markers("usefixtures"):
        pending += mark.args
    pending += metafunc.config.getini("usefixtures")
    for mark in definition.iter_markers("parametrize"):
        pending += _names(mark.args[0] if mark.args else mark.kwargs.get("argnames", ()))
    for name, fixtures in known.items():
        if any(_is_users_file(_file_of(one.func), metafunc) for one in fixtures):
            pending.append(name)
    asked: set[str] = set()
    while pending:
        name = pending.pop()
        if name not in asked:
            asked.add(name)
            pending += [needed for one in known.get(name, ()) for needed in one.argnames]
    return asked


def _file_of(function: Any) -> str:
    code = getattr(inspect.unwrap(function), "__code__", None)
    return "" if code is None else str(code.co_filename)


def _is_users_file(name: str, metafunc: pytest.Metafunc) -> bool:
    """Whether a file is the test's, a conftest, or a file of the project outside site-packages."""
    path = Path(name)
    if path.name == "conftest.py" or path == metafunc.definition.path:
        return True
    return path.is_relative_to(metafunc.config.rootpath) and not is_in_site_packages(path)

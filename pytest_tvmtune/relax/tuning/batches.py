"""Candidates of a task on their way through a round, and those that meet again at the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_tvmtune.relax.tuning.candidates.candidate_builder import BuiltCandidate
from pytest_tvmtune.relax.tuning.task_search import Search

if TYPE_CHECKING:
    from tvm.ir import IRModule
    from tvm.s_tir.meta_schedule.search_strategy import MeasureCandidate


@dataclass(kw_only=True)
class Batch:
    """Candidates of one task on their way to be built and measured.

    is_first: of the task in this run. Then the kernel as it is without a schedule comes with them,
    as the first.
    """

    search: Search
    candidates: list[MeasureCandidate]
    is_first: bool

    @property
    def untuned(self) -> list[IRModule]:
        """The kernel without a schedule, where this is the first batch."""
        return [self.search.extracted.dispatched[0]] if self.is_first else []

    @property
    def mods(self) -> list[IRModule]:
        """What is to be built."""
        return [*self.untuned, *(candidate.sch.mod for candidate in self.candidates)]

    @property
    def arguments(self) -> list[Any]:
        """MetaSchedule's JSON of the arguments of each module."""
        own = (plain_arguments(candidate.args_info) for candidate in self.candidates)
        return [*map(arguments_of, self.untuned), *own]


@dataclass(frozen=True, kw_only=True)
class Finalist:
    """A candidate that may be the best of its task.

    data: its record, as MetaSchedule writes it; None for the kernel without a schedule.
    """

    run_s: float
    data: list[Any] | None
    args_info: Any
    built: BuiltCandidate


def arguments_of(mod: IRModule) -> Any:
    """Return MetaSchedule's JSON of the arguments of a module's kernel."""
    from tvm.s_tir.meta_schedule.arg_info import ArgInfo

    return plain_arguments(ArgInfo.from_entry_func(mod, remove_preproc=True))


def plain_arguments(infos: Sequence[Any]) -> Any:
    """Return MetaSchedule's JSON of these `ArgInfo`, in Python's own types."""
    return [_plain(info.as_json()) for info in infos]


def _plain(value: Any) -> Any:
    """Return TVM's arrays as lists and its strings and integers as Python's."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        return int(value)
    return [_plain(one) for one in value]

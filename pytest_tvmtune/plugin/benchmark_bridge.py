"""pytest-benchmark: every case that was timed is one of its session's benchmarks, too.

Its timer is a virtual clock that our samples move, so that its table, files, comparisons and
histograms show just these. Nothing is measured again.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import TYPE_CHECKING, Any

import pytest

from pytest_tvmtune.plugin.collecting.case_items import CASE_FIXTURE
from pytest_tvmtune.plugin.collecting.model_file_items import ModelItem
from pytest_tvmtune.plugin.state import ITEM_STATE, ItemState

if TYPE_CHECKING:
    from pytest_tvmtune.core.results.case_result import CaseResult
    from pytest_tvmtune.stages.case_run import CaseRun

# What its session is registered as, and the fixture by which it knows a benchmark.
SESSION = "pytest-benchmark"
FIXTURE = "benchmark"
# What an item added to that session.
_ADDED = pytest.StashKey[list[Any]]()


class SampleClock:
    """A clock that stands at 0, and on the sample from when it is moved until it is read."""

    def __init__(self, samples_s: Iterable[float]) -> None:
        self._samples_s = iter(samples_s)
        self._now_s = 0.0

    def advance(self) -> None:
        """Move to the next sample; after the last one (under --benchmark-cprofile) stand still."""
        self._now_s = next(self._samples_s, 0.0)

    def read(self) -> float:
        """Return the time and go back to 0: sums of samples would round, a sample less 0 won't."""
        now_s, self._now_s = self._now_s, 0.0
        return now_s


class Benchmarks:
    """The hooks by which tvmtune's cases take part; pytest-benchmark itself may be switched off."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    @pytest.hookimpl(wrapper=True)
    def pytest_collection_modifyitems(
        self, items: list[pytest.Item]
    ) -> Generator[None, None, None]:
        """Let --benchmark-skip and --benchmark-only take items that time a model for benchmarks."""
        session = self._config.pluginmanager.get_plugin(SESSION)
        # At other times it would only say that it doesn't work under xdist.
        asked = session is not None and (session.skip or session.only)
        timed: list[Any] = [item for item in items if _may_time(item)] if asked else []
        names = [getattr(item, "fixturenames", []) for item in timed]
        for item, own in zip(timed, names, strict=True):
            item.fixturenames = [*own, FIXTURE]
        yield
        # Or pytest would make each of them the fixture, which warns where it isn't used.
        for item, own in zip(timed, names, strict=True):
            item.fixturenames = own

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        """Tell pytest-benchmark what a test has timed, also where that made it fail."""
        try:
            return (yield)
        finally:
            state = item.stash.get(ITEM_STATE, None)
            session = self._config.pluginmanager.get_plugin(SESSION)
            if state is not None and session is not None and not (session.skip or session.disabled):
                _tell(session, item, state)


def _may_time(item: pytest.Item) -> bool:
    return isinstance(item, ModelItem) or "tvm_tune" in getattr(item, "fixturenames", ())


def _tell(session: Any, item: pytest.Item, state: ItemState) -> None:
    own = getattr(item, "funcargs", {}).get(FIXTURE)
    if own is not None:
        # The test benchmarks by itself, such as `benchmark(run)`: that is the item's benchmark.
        for run in state.runs:
            info = extra_info(run.result)
            own.extra_info.update(info if len(state.runs) == 1 else {run.result.name: info})
        if own.stats is not None:
            own.stats.params = _params(item, state)
        return
    # Of a test that is run again, the last attempt counts.
    for stats in item.stash.get(_ADDED, []):
        session.benchmarks.remove(stats)
    item.stash[_ADDED] = []
    for run in state.runs:
        if run.samples:
            _add(session, item, state, run)


def _add(session: Any, item: pytest.Item, state: ItemState, run: CaseRun) -> None:
    from pytest_benchmark.fixture import BenchmarkFixture
    from pytest_benchmark.utils import NameWrapper

    clock = SampleClock(run.samples)
    added: list[Any] = []
    marker = item.get_closest_marker(FIXTURE)
    options = {**session.options, **(marker.kwargs if marker else {})}
    # Not by `request.getfixturevalue`: a test may time several models, a model file has no fixture.
    benchmark = BenchmarkFixture(
        item,
        add_stats=added.append,
        logger=session.logger,
        warner=item.warn,
        disabled=session.disabled,
        **{**options, "timer": NameWrapper(clock.read)},
    )
    if run.result.name != state.origin.name:
        benchmark.name = f"{item.name}::{run.result.name}"
        benchmark.fullname = f"{item.nodeid}::{run.result.name}"
    benchmark.params = _params(item, state)
    benchmark.extra_info.update(extra_info(run.result))
    benchmark.pedantic(clock.advance, rounds=len(run.samples))
    session.benchmarks += added
    item.stash[_ADDED] += added


def _params(item: pytest.Item, state: ItemState) -> dict[str, Any]:
    """Return what --benchmark-group-by=param:NAME may name: the user's own, target and prepack."""
    callspec = getattr(item, "callspec", None)
    own = dict(callspec.params) if callspec else {}
    options = state.options
    given = {name: value for name, value in own.items() if name != CASE_FIXTURE}
    return {**given, "target": options.target.name, "prepack": options.prepack}


def extra_info(result: CaseResult) -> dict[str, Any]:
    """Return what pytest-benchmark's files say of a case beside its times."""
    latency = result.latency
    return {
        "target": result.target,
        "prepack": result.prepack,
        "tuned_tasks": result.tuned_tasks,
        "tasks": len(result.tasks),
        "artifact": result.artifact,
        "verdict": None if latency is None else latency.verdict,
        "slowdown_ratio": None if latency is None else latency.slowdown_ratio,
        "interval": None if latency is None else latency.interval,
    }

"""pytest-benchmark: each timed case is also a benchmark of its session.

The timer of such a benchmark is a virtual clock that the gate's samples move. So its files,
comparisons, histograms, and table show exactly these samples, and nothing is measured again.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Generator, Iterable
from typing import TYPE_CHECKING, Any

import pytest

from pytest_tvmtune.core.results.case_quantities import QUANTITIES
from pytest_tvmtune.plugin.collecting.case_items import CASE_FIXTURE
from pytest_tvmtune.plugin.collecting.model_file_items import ModelItem
from pytest_tvmtune.plugin.state import ITEM_STATE, ItemState

if TYPE_CHECKING:
    from pytest_tvmtune.core.results.case_result import CaseResult
    from pytest_tvmtune.stages.case_run import CaseRun

# The name of its session's plugin, and the fixture that makes a test a benchmark.
SESSION = "pytest-benchmark"
FIXTURE = "benchmark"
# The benchmarks that an item added to the session.
_ADDED = pytest.StashKey[list[Any]]()
# A user who gives one of its options wants its results.
_OPTION = "--benchmark-"


class SampleClock:
    """A clock that shows 0, and after `advance`, until the next `read`, a sample."""

    def __init__(self, samples_s: Iterable[float]) -> None:
        self._samples_s = iter(samples_s)
        self._now_s = 0.0

    def advance(self) -> None:
        """Move to the next sample. After the last sample (--benchmark-cprofile), don't move."""
        self._now_s = next(self._samples_s, 0.0)

    def read(self) -> float:
        """Return the time and go back to 0, since a sum of samples would be rounded."""
        now_s, self._now_s = self._now_s, 0.0
        return now_s


class Benchmarks:
    """The hooks that add cases to a session of pytest-benchmark, if it has any."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        # The benchmarks that came from cases, by identity.
        self._from_cases: list[Any] = []

    @pytest.hookimpl(wrapper=True)
    def pytest_collection_modifyitems(
        self, items: list[pytest.Item]
    ) -> Generator[None, None, None]:
        """Make --benchmark-skip and --benchmark-only see items that time a model."""
        session = self._config.pluginmanager.get_plugin(SESSION)
        # Otherwise, it would only warn that it doesn't work with xdist.
        asked = session is not None and (session.skip or session.only)
        timed: list[Any] = [item for item in items if _may_time(item)] if asked else []
        names = [getattr(item, "fixturenames", []) for item in timed]
        for item, own in zip(timed, names, strict=True):
            item.fixturenames = [*own, FIXTURE]
        yield
        # Otherwise, pytest would create the fixture, which warns if a test doesn't use it.
        for item, own in zip(timed, names, strict=True):
            item.fixturenames = own

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        """Give pytest-benchmark the samples of a test, even if the test fails."""
        try:
            return (yield)
        finally:
            state = item.stash.get(ITEM_STATE, None)
            session = self._config.pluginmanager.get_plugin(SESSION)
            if state is not None and session is not None and not (session.skip or session.disabled):
                self._from_cases += _add_cases(session, item, state)

    @pytest.hookimpl(tryfirst=True)
    def pytest_terminal_summary(self) -> None:
        """Leave out pytest-benchmark's table, unless it has other benchmarks or was asked for."""
        session = self._config.pluginmanager.get_plugin(SESSION)
        # Options in a file (@FILE), or from a conftest, aren't among the arguments. Of these, the
        # session itself knows the option that needs the table. Its other checks ignore `quiet`.
        if session is None or session.histogram or _is_asked_for(self._config):
            return
        known = {id(one) for one in self._from_cases}
        if all(id(one) in known for one in session.benchmarks):
            session.quiet = True


def _is_asked_for(config: pytest.Config) -> bool:
    """Whether the command line, the ini file, or the environment has an option of it."""
    given = [*config.invocation_params.args, *config.getini("addopts")]
    given += shlex.split(os.environ.get("PYTEST_ADDOPTS", ""))
    return any(str(one).startswith(_OPTION) for one in given)


def _may_time(item: pytest.Item) -> bool:
    return isinstance(item, ModelItem) or "tvm_tune" in getattr(item, "fixturenames", ())


def _add_cases(session: Any, item: pytest.Item, state: ItemState) -> list[Any]:
    """Add a benchmark for each timed case of an item; return the added benchmarks."""
    own = getattr(item, "funcargs", {}).get(FIXTURE)
    if own is not None:
        # The test calls the fixture, as in `benchmark(run)`. This is the item's benchmark.
        for run in state.runs:
            info = extra_info(run.result)
            own.extra_info.update(info if len(state.runs) == 1 else {run.result.name: info})
        if own.stats is not None:
            own.stats.params = _params(item, state)
        return []
    # The last attempt of a test counts.
    for stats in item.stash.get(_ADDED, []):
        session.benchmarks.remove(stats)
    item.stash[_ADDED] = []
    for run in state.runs:
        if run.samples:
            _add(session, item, state, run)
    return item.stash[_ADDED]


def _add(session: Any, item: pytest.Item, state: ItemState, run: CaseRun) -> None:
    from pytest_benchmark.fixture import BenchmarkFixture
    from pytest_benchmark.utils import NameWrapper

    clock = SampleClock(run.samples)
    added: list[Any] = []
    marker = item.get_closest_marker(FIXTURE)
    options = {**session.options, **(marker.kwargs if marker else {})}
    # `request.getfixturevalue` can't do this: a test can time several models, and a model file has
    # no fixture.
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
    """Return the parameters for --benchmark-group-by=param:NAME: the user's, target, prepack."""
    callspec = getattr(item, "callspec", None)
    own = dict(callspec.params) if callspec else {}
    options = state.options
    given = {name: value for name, value in own.items() if name != CASE_FIXTURE}
    return {**given, "target": options.target.name, "prepack": options.prepack}


def extra_info(result: CaseResult) -> dict[str, Any]:
    """Return the values that pytest-benchmark's files have for a case, except times."""
    latency = result.latency
    return {
        "target": result.target,
        "prepack": result.prepack,
        "tuned_tasks": result.tuned_tasks,
        "tasks": len(result.tasks),
        "artifact": result.artifact,
        "verdict": None if latency is None else latency.verdict,
        "slowdown_ratio": None if latency is None else latency.known_ratio,
        "interval": None if latency is None else latency.interval,
        **{one.field: one.now(result) for one in QUANTITIES},
    }

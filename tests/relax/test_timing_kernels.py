"""What the instrument sees of a call, by the clock."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tvm
from tvm import relax

from pytest_tvmtune.core.errors import ModelError
from pytest_tvmtune.core.kernels.kernel_table import BUILT_INS, table_of
from pytest_tvmtune.processes.job import WorkerContext
from pytest_tvmtune.relax import compat
from pytest_tvmtune.relax.measuring import epochs
from pytest_tvmtune.relax.measuring.epochs import ArtifactPair
from pytest_tvmtune.relax.measuring.kernel_times_job import (
    Request,
    _by_kernel,
    _kernels,
    _null,
    run,
)
from pytest_tvmtune.relax.measuring.stopwatch import Called, Stopwatch, TimedCall, Watch
from tests.relax.layers import COUNT, WEIGHTS, X, build, entry_call, layers


@pytest.fixture
def with_garbage() -> Iterator[None]:
    """Collect it again: a job ends with its child, and turns that off."""
    yield
    gc.enable()


@pytest.mark.parametrize("compiler", ["the usual", "none"])
def test_a_relax_function_that_calls_kernels_is_not_counted_beside_them(
    compiler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensor = compat.tensor_type()((1,), "float32")
    builder = relax.BlockBuilder()
    x, y = (relax.Var(name, tensor) for name in "xy")
    with builder.function("inner", [y]):
        kernel = builder.add_func(_null(2), "kernel")
        value: Any = y
        for _ in range(3):
            value = builder.emit(relax.call_tir(kernel, (value,), tensor))
        builder.emit_func_output(value)
    with builder.function("main", [x]):
        inner = builder.get().get_global_var("inner")
        builder.emit_func_output(builder.emit(relax.Call(inner, [x])))
    vm = relax.VirtualMachine(tvm.compile(builder.finalize(), "llvm"), tvm.cpu())
    if compiler == "none":
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.delenv("CXX", raising=False)
    stopwatch = Stopwatch(tmp_path)
    assert stopwatch.is_native == (compiler != "none")
    given = [tvm.runtime.tensor(np.zeros(1, "float32"))]
    calls = Watch(stopwatch, vm, "main", given).take(2)
    assert len(calls) == 2
    for seen in calls:
        assert seen.course.count(Called("kernel", 2)) == 3
        assert "inner" not in {called.name for called in seen.course}
        assert len(seen.seconds) == len(seen.course)
        assert all(0 < taken_s < 1 for taken_s in seen.seconds)


@pytest.mark.parametrize("compiler", ["the usual", "none"])
def test_an_entry_may_call_something_else_each_time(
    compiler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if compiler == "none":
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.delenv("CXX", raising=False)
    watch = Watch(Stopwatch(tmp_path), Wavering(["ab", "a", "ba"]), "main", ())
    assert [names(seen) for seen in watch.take(4)] == ["a", "ba", "ab", "a"]


def test_a_call_of_what_was_not_called_so_far_is_left_out(tmp_path: Path) -> None:
    stopwatch = Stopwatch(tmp_path)
    assert stopwatch.is_native
    watch = Watch(stopwatch, Wavering(["a", "b", "aa"]), "main", ())
    assert [names(seen) for seen in watch.take(3)] == ["aa", "a"]
    # One more call has told the name.
    assert [names(seen) for seen in watch.take(3)] == ["aa", "a", "b"]


def test_there_is_room_for_all_calls_of_a_long_one(tmp_path: Path) -> None:
    watch = Watch(Stopwatch(tmp_path), Wavering(["a" * 5000]), "main", ())
    assert [len(seen.seconds) for seen in watch.take(2)] == [5000, 5000]


def test_caches_are_emptied_before_each_call(tmp_path: Path) -> None:
    calls: list[str] = []
    vm = Wavering(["a"], calls)
    watch = Watch(Stopwatch(tmp_path), vm, "main", (), flush=lambda: calls.append("flush"))
    watch.take(2)
    assert calls == ["flush", "a"] * 3


def test_of_several_courses_the_most_frequent_counts_where_both_sides_took_theirs() -> None:
    odd = [seen(a=1.0), seen(a=9.0, b=9.0)], [seen(b=1.0)], [seen(a=3.0, b=4.0)]
    plain = [[seen(c=1.0)], [seen(c=2.0)], [seen(c=3.0), seen(c=4.0)]]
    assert _kernels([plain, odd], (0, 1), (0.0, 0.0)) == [
        {"c": (1, [1.0, 3.5])},
        {"a": (1, [9.0, 3.0]), "b": (1, [9.0, 4.0])},
    ]
    assert _kernels([[], odd], (1,), (0.0, 0.0))[0] == {}


def test_sides_that_never_took_their_usual_course_at_once_can_not_be_compared() -> None:
    with pytest.raises(ModelError, match="it calls different kernels in each call"):
        _kernels([[[], [seen(b=1.0)]], [[seen(a=1.0)], []]], (0, 1), (0.0, 0.0))


def test_an_entry_may_call_no_kernel() -> None:
    assert _kernels([[[seen()]], [[seen()]]], (0, 1), (0.0, 0.0)) == [{}, {}]


def test_each_call_of_a_kernel_counts_with_its_median_in_a_pair() -> None:
    course = [Called("a", 2), Called("vm.builtin.null_value", 2), Called("a", 2)]
    slow, quick = [[2.0, 1.5, 1.0], [9.0, 1.5, 3.0], [3.0, 1.5, 2.0]], [[1.0, 1.0, 0.25]]
    times = _by_kernel(course, [slow, quick], (0.25, 0.125))
    assert times == {"a": (2, [4.0, 0.5]), BUILT_INS: (1, [1.0, 0.5])}


def names(seen: TimedCall) -> str:
    return "".join(called.name for called in seen.course)


def seen(**seconds: float) -> TimedCall:
    course = tuple(Called(name, 2) for name in seconds)
    return TimedCall(course=course, seconds=np.array(list(seconds.values())))


class Wavering:
    """In place of a VirtualMachine: its entry calls other kernels from call to call.

    courses: the names of the kernels of each call, a letter each, over and over. done: notes them.
    """

    def __init__(self, courses: list[str], done: list[str] | None = None) -> None:
        self.courses = cycle(courses)
        self.done = [] if done is None else done
        self.kernels = {name: tvm.runtime.convert(len) for name in "ab"}
        self.instrument: Any = None

    def set_instrument(self, instrument: Any) -> None:
        """Have it called before and after each call."""
        self.instrument = instrument

    def __getitem__(self, _entry: str) -> Any:
        """Return the entry."""
        return self._call

    def _call(self) -> None:
        for name in next(self.courses):
            self.done.append(name)
            for before in (True, False):
                self.instrument(self.kernels[name], name, before, None, 1.0, 2.0)


@pytest.mark.usefixtures("with_garbage")
def test_the_slowed_kernel_costs_most_and_no_other_differs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Hundreds of times as much work as before: no neighbour's load makes another kernel's of that.
    before, now = (
        build(layers(rounds=rounds), tmp_path / name, prepack=True)
        for name, rounds in (("before", {}), ("now", {4: 500}))
    )
    call = entry_call(WEIGHTS, [X])
    pair = ArtifactPair(baseline=before, now=now, call=call, cold_cache=False, seed=0)
    request = Request(pair=pair, alone=False, budget_s=0.0)
    context = WorkerContext[None](folder=tmp_path)
    told = run(request, context)
    table = table_of(
        told.now, now.manifest.kernels, told.overhead_s, told.baseline, before.manifest.kernels
    )
    assert table.rows[0].name.rstrip("1") == "layere"
    assert table.rows[0].cost_s > sum(abs(row.cost_s) for row in table.rows[1:])
    assert [row.name for row in table.rows if row.code_differs] == [table.rows[0].name]
    calls = {row.name: (row.baseline_calls, row.calls) for row in table.rows}
    assert calls.pop(BUILT_INS)[1] > 0
    assert set(calls.values()) == {(1, 1)}
    assert len(calls) == COUNT
    flushes: list[None] = []
    monkeypatch.setattr(epochs, "cache_flusher", lambda: lambda: flushes.append(None))
    alone = run(
        replace(request, pair=replace(pair, baseline=now, cold_cache=True), alone=True), context
    )
    # Of each pair the call without the instrument, and three with it.
    assert len(flushes) > 4 * len(alone.now.end_to_end_s)
    assert alone.baseline is None
    assert alone.now.kernels.keys() == told.now.kernels.keys()

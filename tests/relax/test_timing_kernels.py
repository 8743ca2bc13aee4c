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
from pytest_tvmtune.relax.devices import machine
from pytest_tvmtune.relax.devices.machine import ThisMachine
from pytest_tvmtune.relax.measuring.epochs import ComparedArtifacts
from pytest_tvmtune.relax.measuring.kernel_times_job import (
    Request,
    _by_kernel,
    _kernels,
    _null,
    run,
)
from pytest_tvmtune.relax.measuring.stopwatch import (
    Called,
    Stopwatch,
    TimedCall,
    Watch,
    open_stopwatch,
)
from tests.relax.layers import COUNT, WEIGHTS, X, build, entry_call, layers

HERE = ThisMachine("cpu")
TENSOR = compat.tensor_type()((1,), "float32")


@pytest.fixture
def with_garbage() -> Iterator[None]:
    """Collect it again: a job ends with its child, and turns that off."""
    yield
    gc.enable()


@pytest.fixture(params=["the usual", "none"])
def stopwatch(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Stopwatch | None:
    """Return the stopwatch where there is the usual compiler, and where there is none."""
    if request.param == "none":
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.delenv("CXX", raising=False)
    found = open_stopwatch(HERE, tmp_path)
    assert (found is None) == (request.param == "none")
    return found


@pytest.fixture
def native(tmp_path: Path) -> Stopwatch:
    """Return the stopwatch of native code."""
    found = open_stopwatch(HERE, tmp_path)
    assert found is not None
    return found


def test_a_relax_function_that_calls_kernels_is_not_counted_beside_them(
    stopwatch: Stopwatch | None,
) -> None:
    builder = relax.BlockBuilder()
    inner = add_inner(builder, "inner", "aaa")
    x = relax.Var("x", TENSOR)
    with builder.function("main", [x]):
        builder.emit_func_output(builder.emit(relax.Call(inner, [x])))
    calls = Watch(stopwatch, HERE, machine_of(builder), "main", [zero()]).take(2)
    assert len(calls) == 2
    for seen in calls:
        assert seen.course.count(Called("a", 2)) == 3
        assert "inner" not in {called.name for called in seen.course}
        assert len(seen.seconds) == len(seen.course)
        assert all(0 < taken_s < 1 for taken_s in seen.seconds)


def test_an_entry_may_call_something_else_each_time(stopwatch: Stopwatch | None) -> None:
    watch = Watch(stopwatch, HERE, wavering("ab", "a", "ba"), "main", [zero()])
    assert [names(seen) for seen in watch.take(4)] == ["a", "ba", "ab", "a"]


def test_a_call_of_what_was_not_called_so_far_is_left_out(native: Stopwatch) -> None:
    watch = Watch(native, HERE, wavering("a", "b", "aa"), "main", [zero()])
    assert [names(seen) for seen in watch.take(3)] == ["aa", "a"]
    # One more call has told the name.
    assert [names(seen) for seen in watch.take(3)] == ["aa", "a", "b"]


def test_there_is_room_for_all_calls_of_a_long_one(native: Stopwatch) -> None:
    builder = relax.BlockBuilder()
    inner = add_inner(builder, "inner", "a" * 50)
    x = relax.Var("x", TENSOR)
    with builder.function("main", [x]):
        value: Any = x
        for _ in range(100):
            value = builder.emit(relax.Call(inner, [value]))
        builder.emit_func_output(value)
    watch = Watch(native, HERE, machine_of(builder), "main", [zero()])
    assert [len(names(seen)) for seen in watch.take(2)] == [5000, 5000]


def test_memory_that_is_short_once_is_no_fault_later(native: Stopwatch) -> None:
    vm = wavering("a")
    vm.save_function("main", "saved", zero(), include_return=False)
    helper, too_much = native._helper, 1 << 50
    with pytest.raises(RuntimeError, match="no memory for stamps"):
        helper["watch_times"](vm.module, too_much >> 5)
    with pytest.raises(RuntimeError, match="no memory to empty the caches"):
        helper["seconds"](vm.module, "saved", 1, too_much)
    assert helper["seconds"](vm.module, "saved", 1, 1 << 20) > 0
    assert [names(seen) for seen in Watch(native, HERE, vm, "main", [zero()]).take(1)] == ["a"]


def test_caches_are_emptied_before_each_call(
    stopwatch: Stopwatch | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    monkeypatch.setattr(machine, "cache_flusher", lambda: lambda: done.append("flush"))
    watch = Watch(stopwatch, HERE, wavering("a", done=done), "main", [zero()], cold_cache=True)
    watch.take(2)
    assert done == ["flush", "a"] * 3


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
    """Return the names of the kernels: these have one letter."""
    return "".join(called.name for called in seen.course if len(called.name) == 1)


def seen(**seconds: float) -> TimedCall:
    course = tuple(Called(name, 2) for name in seconds)
    return TimedCall(course=course, seconds=np.array(list(seconds.values())))


def zero() -> Any:
    return tvm.runtime.tensor(np.zeros(1, "float32"))


def machine_of(builder: relax.BlockBuilder) -> relax.VirtualMachine:
    return relax.VirtualMachine(tvm.compile(builder.finalize(), "llvm"), HERE.device)


def add_inner(builder: relax.BlockBuilder, name: str, course: str) -> relax.GlobalVar:
    """Add a function that calls kernels of these names, a letter each: `a` or `b`."""
    kernels = {letter: builder.add_func(_null(2 + "ab".index(letter)), letter) for letter in course}
    x = relax.Var("x", TENSOR)
    with builder.function(name, [x]):
        value: Any = x
        for letter in course:
            given = (value,) * (1 + "ab".index(letter))
            value = builder.emit(relax.call_tir(kernels[letter], given, TENSOR))
        builder.emit_func_output(value)
    return builder.get().get_global_var(name)


def wavering(*courses: str, done: list[str] | None = None) -> relax.VirtualMachine:
    """Return a VM whose entry calls other kernels from call to call.

    courses: the names of the kernels of each call, a letter each, over and over. done: notes them.
    """
    turns = cycle(range(len(courses)))
    turn = 0

    def is_its_turn(told: Any) -> Any:
        nonlocal turn
        index = int(told.numpy())
        if index == 0:
            turn = next(turns)
            if done is not None:
                done.append(courses[turn])
        return tvm.runtime.tensor(np.array(index == turn))

    tvm.register_global_func("tests.is_its_turn", is_its_turn, override=True)
    builder = relax.BlockBuilder()
    inner = [add_inner(builder, f"course{index}", one) for index, one in enumerate(courses)]
    packed, x = relax.ExternFunc("tests.is_its_turn"), relax.Var("x", TENSOR)
    with builder.function("main", [x], pure=False):
        value: Any = x
        for index, function in enumerate(inner):
            given = [relax.const(index, "int64")]
            is_its = builder.emit(
                relax.Call(packed, given, None, [compat.tensor_type()((), "bool")])
            )
            value = builder.emit(relax.If(is_its, relax.Call(function, [value]), value))
        builder.emit_func_output(value)
    return machine_of(builder)


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
    compared = ComparedArtifacts(baseline=before, now=now, call=call, cold_cache=False, seed=0)
    request = Request(compared=compared, alone=False, budget_s=0.0)
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
    monkeypatch.setattr(machine, "cache_flusher", lambda: lambda: flushes.append(None))
    alone = run(
        replace(request, compared=replace(compared, baseline=now, cold_cache=True), alone=True),
        context,
    )
    # Of each pair the call without the instrument, and three with it.
    assert len(flushes) > 4 * len(alone.now.end_to_end_s)
    assert alone.baseline is None
    assert alone.now.kernels.keys() == told.now.kernels.keys()

"""Job: what each kernel takes, by the clock, through the VM's instrument."""

from __future__ import annotations

import gc
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

from pytest_tvmtune.core.kernel_times import BUILT_INS, SideTimes
from pytest_tvmtune.relax.child import enter_stage
from pytest_tvmtune.relax.measure import MIN_SAMPLE_S, fixed_affinity, open_contest
from pytest_tvmtune.relax.placement import open_copies, place
from pytest_tvmtune.relax.stopwatch import Seen, Stopwatch
from pytest_tvmtune.relax.timing import calls_per_sample

_CALLS = 3
_LEAST_ROUNDS = 3
_MOST_ROUNDS = 30
# Of the null kernels that tell what the instrument costs: few arguments, and many.
_ARGUMENTS = (2, 8)
_NULL_CALLS = 20


def time_kernels(request: dict[str, Any]) -> dict[str, Any]:
    """Job: time the kernels of `now`, and of `baseline` in turn with it.

    request: as for `measure_pair`, and alone: time `now` only (`baseline` is the same then);
    budget_s: no round begins after so long. In each round both are placed anew, as in the gate, and
    called a few times with and without the instrument. What the instrument itself takes, as null
    kernels tell, is taken off each call. A round in which the entry never took its usual course, of
    either side, tells nothing of kernels.
    Returns {"sides": (SideTimes of baseline or None, SideTimes of now), "overhead_s": mean cost of
    the instrument for one kernel or built-in}.
    """
    folder = request["folder"]
    contest = open_contest(request)
    enter_stage(folder, "timing the kernels")
    stopwatch = Stopwatch(folder)
    cost = _instrument_cost(stopwatch)
    copies = open_copies(contest, folder)
    rng = random.Random(request["seed"])  # noqa: S311  an order, not a secret
    sides = (1,) if request["alone"] else (0, 1)
    seen: tuple[list[list[list[Seen]]], list[list[list[Seen]]]] = ([], [])
    plain: tuple[list[float], list[float]] = ([], [])
    gc.disable()
    started = time.perf_counter()
    for rounds in range(_MOST_ROUNDS):
        if rounds >= _LEAST_ROUNDS and time.perf_counter() - started > request["budget_s"]:
            break
        calls: tuple[list[list[Seen]], list[list[Seen]]] = ([], [])
        called_s: tuple[list[float], list[float]] = ([], [])
        for arrangement in place(contest, copies, rng):
            arrangement.enter()
            with fixed_affinity():
                for side in rng.sample(sides, len(sides)):
                    timer = arrangement.timers[side]
                    one_call_s = timer(1)
                    # With cold caches a sample is one call.
                    number = 1 if contest.flush else calls_per_sample(one_call_s, MIN_SAMPLE_S)
                    called_s[side].append(timer(number))
                    vm, arguments = arrangement.vms[side], arrangement.arguments[side]
                    watched = stopwatch.watch(vm, contest.entry, arguments, _CALLS)
                    calls[side].extend(watched)
        for side in sides:
            seen[side].append(calls[side])
            plain[side].append(median(called_s[side]))
    usual = [_usual(seen[side]) if side in sides else [] for side in (0, 1)]
    told = [index for index in range(len(plain[1])) if all(usual[side][index] for side in sides)]
    times = [
        asdict(
            SideTimes(
                kernels=_by_kernel([usual[side][index] for index in told], cost),
                end_to_end_s=plain[side],
            )
        )
        if side in sides
        else None
        for side in (0, 1)
    ]
    costs = [
        cost[0] + cost[1] * one.arguments for calls in seen[1] for call in calls for one in call
    ]
    return {"sides": times, "overhead_s": sum(costs) / max(1, len(costs))}


def _usual(rounds: Sequence[Sequence[list[Seen]]]) -> list[list[list[Seen]]]:
    """Return, of each round, the calls of the entry that took its most frequent course."""
    courses = Counter(_course(call) for calls in rounds for call in calls)
    usual = courses.most_common(1)[0][0] if courses else ()
    return [[call for call in calls if _course(call) == usual] for calls in rounds]


def _course(call: Sequence[Seen]) -> tuple[str, ...]:
    return tuple(one.name for one in call)


def _by_kernel(
    rounds: Sequence[Sequence[Sequence[Seen]]], cost: tuple[float, float]
) -> dict[str, tuple[int, list[float]]]:
    """Return kernel -> (calls, seconds of them together in each round).

    rounds: of each, calls of the entry, all of one course. Each of a kernel's calls counts with its
    median over the round.
    """
    found: dict[str, tuple[int, list[float]]] = {}
    if not rounds:
        return found
    for index, one in enumerate(rounds[0][0]):
        name = BUILT_INS if one.name.startswith("vm.builtin.") else one.name
        cost_s = cost[0] + cost[1] * one.arguments
        spent_s = [
            max(0.0, median(call[index].seconds for call in calls) - cost_s) for calls in rounds
        ]
        count, others_s = found.get(name, (0, [0.0] * len(rounds)))
        found[name] = (count + 1, [a + b for a, b in zip(others_s, spent_s, strict=True)])
    return found


def _instrument_cost(stopwatch: Stopwatch) -> tuple[float, float]:
    """Return the instrument's cost within a kernel's time: (seconds, seconds for each argument)."""
    import tvm
    from tvm import relax

    tensor = relax.TensorType((1,), "float32")
    x = relax.Var("x", tensor)
    builder = relax.BlockBuilder()
    with builder.function("main", [x]):
        with builder.dataflow():
            value: Any = x
            for count in _ARGUMENTS:
                null = builder.add_func(_null(count), f"null{count}")
                for _ in range(_NULL_CALLS):
                    value = builder.emit(relax.call_tir(null, (value,) * (count - 1), tensor))
            out = builder.emit_output(value)
        builder.emit_func_output(out)
    vm = relax.VirtualMachine(tvm.compile(builder.finalize(), "llvm"), tvm.cpu())
    given = [tvm.runtime.tensor(_zero())]
    calls = stopwatch.watch(vm, "main", given, _NULL_CALLS)
    few_s, many_s = (
        median(one.seconds for call in calls for one in call if one.name == f"null{count}")
        for count in _ARGUMENTS
    )
    each_s = max(0.0, (many_s - few_s) / (_ARGUMENTS[1] - _ARGUMENTS[0]))
    return few_s - _ARGUMENTS[0] * each_s, each_s


def _zero() -> Any:
    import numpy as np

    return np.zeros(1, "float32")


def _null(count: int) -> Any:
    """Return a PrimFunc of so many tensors that adds to one number: a copy would be a reshape."""
    from tvm import te

    given = [te.placeholder((1,), "float32", name=f"x{index}") for index in range(count - 1)]
    added = te.compute((1,), lambda i: given[0][i] + 1.0, name="y")
    return te.create_prim_func([*given, added]).without_attr("global_symbol")

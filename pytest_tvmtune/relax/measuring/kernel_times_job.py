"""Job: what each kernel takes, by the clock, through the VM's instrument."""

from __future__ import annotations

import gc
import math
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from pytest_tvmtune.core.clock import monotonic_s
from pytest_tvmtune.core.errors import ModelError
from pytest_tvmtune.core.job_stage import JobStage
from pytest_tvmtune.core.kernels.kernel_table import BUILT_INS, SideTimes
from pytest_tvmtune.processes.job import Job, WorkerContext
from pytest_tvmtune.relax import compat
from pytest_tvmtune.relax.devices.cross_compiler import export_library
from pytest_tvmtune.relax.devices.lost_device import telling_lost_devices
from pytest_tvmtune.relax.devices.machine import Machine
from pytest_tvmtune.relax.measuring.epochs import (
    ComparedArtifacts,
    open_measurement,
    pairs_per_epoch,
    warm_up,
)
from pytest_tvmtune.relax.measuring.placement import open_copies, place
from pytest_tvmtune.relax.measuring.session import EntryCall
from pytest_tvmtune.relax.measuring.stopwatch import (
    Called,
    Stopwatch,
    TimedCall,
    Watch,
    open_stopwatch,
)

_CALLS = 3
_LEAST_ROUNDS = 3
_MOST_ROUNDS = 30
# Of the null kernels that tell what the instrument costs: few arguments, and many.
_ARGUMENTS = (2, 8)
_NULL_CALLS = 20
# Seconds of an instrumented call: of the instrument itself, and for each argument.
Cost = tuple[float, float]


@dataclass(frozen=True, kw_only=True, eq=False)
class Request:
    """What is measured. alone: `now` only, next to the same baseline.

    budget_s: no round begins after so long.
    """

    compared: ComparedArtifacts
    alone: bool
    budget_s: float


@dataclass(frozen=True, kw_only=True)
class Result:
    """What the kernels take. overhead_s: mean cost of the instrument for a kernel or built-in."""

    baseline: SideTimes | None
    now: SideTimes
    overhead_s: float


@telling_lost_devices
def run(request: Request, context: WorkerContext[None]) -> Result:
    """Time the kernels of `now`, and of `baseline` in turn with it.

    In each round both are placed anew, and called in as many pairs as in an epoch of the gate, with
    and without the instrument. Null kernels show the time of the instrument itself, which is taken
    off each call. A pair in which a side never took its usual course shows nothing about kernels.

    Args:
        request: What is measured.
        context: Of this process.

    Returns:
        What the kernels take.

    Raises:
        ModelError: The entry calls different kernels in each call.

    """
    measurement = open_measurement(request.compared, context)
    context.enter_stage(JobStage("timing the kernels"))
    machine = measurement.machine
    stopwatch = open_stopwatch(machine, context.folder)
    cost = _instrument_cost(stopwatch, machine, request.compared.call, context.folder)
    copies = open_copies(measurement, context.folder)
    rng = random.Random(request.compared.seed)  # noqa: S311  an order, not a secret
    sides = (1,) if request.alone else (0, 1)
    seen: tuple[list[list[TimedCall]], list[list[TimedCall]]] = ([], [])
    plain: tuple[list[float], list[float]] = ([], [])
    gc.disable()
    number, pair_s = warm_up(measurement, copies, rng)
    started = monotonic_s()
    for rounds in range(_MOST_ROUNDS):
        if rounds >= _LEAST_ROUNDS and monotonic_s() - started > request.budget_s:
            break
        arrangements = place(measurement, copies, rng)
        for arrangement in arrangements:
            arrangement.enter()
            with machine.fixed_affinity():
                watches = {
                    side: Watch(
                        stopwatch,
                        machine,
                        arrangement.vms[side],
                        measurement.entry,
                        arrangement.arguments[side],
                        cold_cache=measurement.cold_cache,
                    )
                    for side in rng.sample(sides, len(sides))
                }
                for _ in range(math.ceil(pairs_per_epoch(pair_s) / len(arrangements))):
                    for side in rng.sample(sides, len(sides)):
                        plain[side].append(arrangement.timers[side](number))
                        seen[side].append(watches[side].take(_CALLS))
    kernels = _kernels(seen, sides, cost)
    courses = [one.course for calls in seen[1] for one in calls]
    costs = [_cost_s(cost, called) for course in courses for called in course]
    baseline, now = (
        SideTimes(kernels=by_name, end_to_end_s=end_to_end_s)
        for by_name, end_to_end_s in zip(kernels, plain, strict=True)
    )
    return Result(
        baseline=None if request.alone else baseline,
        now=now,
        overhead_s=sum(costs) / max(1, len(costs)),
    )


def _kernels(
    seen: Sequence[Sequence[Sequence[TimedCall]]], sides: Sequence[int], cost: Cost
) -> list[dict[str, tuple[int, list[float]]]]:
    """Return, for each side, kernel -> (calls, seconds of them together in each pair).

    seen: for each side the calls of each pair. Of several courses that the entry took the most
    frequent counts, and only pairs in which both sides took theirs. Raises ModelError where there
    is none.
    """
    usual = [_usual_course(pairs) for pairs in seen]
    alike = [
        [[one.seconds for one in calls if one.course == course] for calls in pairs]
        for course, pairs in zip(usual, seen, strict=True)
    ]
    told = [index for index in range(len(seen[1])) if all(alike[side][index] for side in sides)]
    if not told:
        raise ModelError("it calls different kernels in each call, so they can't be compared")
    return [
        _by_kernel(course, [alike[side][index] for index in told], cost) if side in sides else {}
        for side, course in enumerate(usual)
    ]


def _usual_course(pairs: Sequence[Sequence[TimedCall]]) -> tuple[Called, ...]:
    courses = Counter(one.course for calls in pairs for one in calls)
    return courses.most_common(1)[0][0] if courses else ()


def _by_kernel(
    course: Sequence[Called], pairs: Sequence[Sequence[Any]], cost: Cost
) -> dict[str, tuple[int, list[float]]]:
    """Return kernel -> (calls, seconds of them together in each pair).

    pairs: at least one; the seconds of each call of the entry. Each place in the course counts with
    its median.
    """
    costs_s = [_cost_s(cost, called) for called in course]
    spent_s = np.maximum(0.0, [np.median(calls, axis=0) - costs_s for calls in pairs])
    found: dict[str, tuple[int, Any]] = {}
    for place_s, called in zip(spent_s.T, course, strict=True):
        name = BUILT_INS if called.name.startswith("vm.builtin.") else called.name
        count, others_s = found.get(name, (0, 0.0))
        found[name] = (count + 1, others_s + place_s)
    return {name: (count, together_s.tolist()) for name, (count, together_s) in found.items()}


def _cost_s(cost: Cost, called: Called) -> float:
    return cost[0] + cost[1] * called.arguments


def _instrument_cost(
    stopwatch: Stopwatch | None, machine: Machine, call: EntryCall, folder: Path
) -> Cost:
    """Return what the instrument takes within a kernel's time. folder: for a library."""
    import tvm
    from tvm import relax

    tensor = compat.tensor_type()((1,), "float32")
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
    vm = machine.virtual_machine(_loaded(builder.finalize(), machine, call, folder))
    given = [tvm.runtime.tensor(np.zeros(1, "float32"), machine.device)]
    calls = Watch(stopwatch, machine, vm, "main", given).take(_NULL_CALLS)
    few_s, many_s = (
        median(
            seconds
            for one in calls
            for called, seconds in zip(one.course, one.seconds, strict=True)
            if called.name == f"null{count}"
        )
        for count in _ARGUMENTS
    )
    each_s = max(0.0, float(many_s - few_s) / (_ARGUMENTS[1] - _ARGUMENTS[0]))
    return float(few_s) - _ARGUMENTS[0] * each_s, each_s


def _loaded(mod: Any, machine: Machine, call: EntryCall, folder: Path) -> Any:
    import tvm

    if call.remote is None:
        return tvm.compile(mod, "llvm")
    library = folder / "null-kernels.so"
    export_library(tvm.compile(mod, compat.Target(call.target)), library, call.remote.compiler)
    return machine.load(library)


def _null(count: int) -> Any:
    """Return a PrimFunc of so many tensors that adds to one number: a copy would be a reshape."""
    from tvm import te

    given = [te.placeholder((1,), "float32", name=f"x{index}") for index in range(count - 1)]
    added = te.compute((1,), lambda i: given[0][i] + 1.0, name="y")
    return te.create_prim_func([*given, added]).without_attr("global_symbol")


JOB = Job(run=run)

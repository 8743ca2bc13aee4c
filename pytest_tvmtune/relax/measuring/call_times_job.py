"""Job: the time of single calls of a library, placed anew again and again."""

from __future__ import annotations

import gc
import random
from dataclasses import dataclass

from pytest_tvmtune.core.clock import monotonic_s
from pytest_tvmtune.core.job_stage import JobStage
from pytest_tvmtune.processes.job import Job, WorkerContext
from pytest_tvmtune.relax.devices.lost_device import telling_lost_devices
from pytest_tvmtune.relax.measuring.epochs import ComparedArtifacts, open_measurement, warm_up
from pytest_tvmtune.relax.measuring.placement import open_copies, place

# Of the time and of the calls that there are, so that the state of one placement doesn't decide.
_PLACEMENTS = 20
# However long they take: enough for an interval of the median.
_LEAST_CALLS = 20


@dataclass(frozen=True, kw_only=True, eq=False)
class Request:
    """What is timed: both sides are the same library.

    budget_s: no placement begins after so long, once there are enough calls for an interval.
    most_calls: to time in all.
    """

    compared: ComparedArtifacts
    budget_s: float
    most_calls: int


@dataclass(frozen=True, kw_only=True)
class Result:
    """The seconds of each call, in order."""

    calls_s: tuple[float, ...]
    num_threads: int


@telling_lost_devices
def run(request: Request, context: WorkerContext[None]) -> Result:
    """Time single calls in one placement of code and tensors after the other.

    Args:
        request: What is timed.
        context: Of this process.

    Returns:
        The times.

    Raises:
        CompileError: The library doesn't take what its model promised.

    """
    measurement = open_measurement(request.compared, context)
    context.enter_stage(JobStage("timing single calls"))
    machine = measurement.machine
    copies = open_copies(measurement, context.folder)
    rng = random.Random(request.compared.seed)  # noqa: S311  an order, not a secret
    gc.disable()
    warm_up(measurement, copies, rng)
    calls_s: list[float] = []
    started_s = monotonic_s()
    while len(calls_s) < _LEAST_CALLS or (
        len(calls_s) < request.most_calls and monotonic_s() - started_s < request.budget_s
    ):
        arrangement = place(measurement, copies, rng)[0]
        arrangement.enter()
        timer = arrangement.timers[0]
        end_s = monotonic_s() + request.budget_s / _PLACEMENTS
        with machine.fixed_affinity():
            timer(1)  # maps the code and takes memory
            for _ in range(max(1, request.most_calls // _PLACEMENTS)):
                calls_s.append(timer(1))
                if monotonic_s() > end_s:
                    break
    return Result(calls_s=tuple(calls_s), num_threads=machine.num_threads_used())


JOB = Job(run=run)

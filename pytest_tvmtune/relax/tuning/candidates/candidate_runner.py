"""Measures candidates in one long-lived process, started anew only when a candidate kills it.

As MetaSchedule's LocalRunner it means to take 100 ms for each candidate, but only for those that
may become the best: a slow one is known for slow after 10 ms, or after its first call.
"""

from __future__ import annotations

import math
import signal
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_tvmtune.core.error_text import typed_cause_of
from pytest_tvmtune.core.errors import DeviceError
from pytest_tvmtune.machine.remote_device import RemoteDevice
from pytest_tvmtune.relax.devices.lost_device import is_lost
from pytest_tvmtune.relax.devices.rpc_connection import MISSING_S
from pytest_tvmtune.relax.tuning.candidates.candidate_builder import KILLED, BuiltCandidate
from pytest_tvmtune.relax.tuning.candidates.candidate_timing import (
    SESSION_S,
    MeasuringState,
    have_device,
    measure_in_turn,
    measure_one,
    release_device,
)
from pytest_tvmtune.relax.tuning.candidates.tuner_forks import fork

# TVM never unmaps a library, so the process is replaced now and then.
_MOST_LIBRARIES = 200
_START_S = 60.0
LOST_DEVICE = "the device's server ended the session"


@dataclass(frozen=True, kw_only=True)
class MeasuredCandidate:
    """Seconds of one call, or why there are none."""

    run_s: float | None = None
    problem: str = ""


class Runner:
    """A measuring process and the connection to it; `close` ends it.

    timeout_s: for one candidate. kind: of the device. remote: the device behind TVM RPC that the
    process measures on, None for itself; threads: of TVM's runtime there. num_threads: what it
    really uses, known once something was measured.
    """

    def __init__(
        self,
        *,
        timeout_s: float,
        kind: str = "cpu",
        remote: RemoteDevice | None = None,
        threads: int = 1,
    ) -> None:
        self._timeout_s = timeout_s
        self._place = remote, kind, threads
        self._remote = remote
        self._process: Any = None
        self._connection: Any = None
        self._measured = 0
        self.num_threads = 0
        self.has_device = False

    def start(self) -> None:
        """Fork the process, if there is none, so that it is ready when the first library is."""
        if self._process is None:
            self._process, self._connection = fork("tvmtune-runner", _serve, *self._place)
            self._measured = 0

    def measure_all(
        self, built: Sequence[BuiltCandidate], arguments: Sequence[Any], *, best_s: float
    ) -> list[MeasuredCandidate]:
        """Return how long each candidate takes, in their order, as `measure` does."""
        measured: list[MeasuredCandidate] = []
        for one, args_info in zip(built, arguments, strict=True):
            if one.library is None:
                measured.append(MeasuredCandidate(problem=one.problem))
                continue
            measured.append(self.measure(one.library, args_info, best_s=best_s))
            best_s = min(best_s, measured[-1].run_s or math.inf)
        return measured

    def measure(self, library: Path, args_info: Any, *, best_s: float) -> MeasuredCandidate:
        """Return how long one call of a candidate takes; its crash or hang costs it alone.

        args_info: MetaSchedule's JSON of the arguments. best_s: of this task so far, infinity
        at first. Where the process was killed from outside (by hand, for want of memory), the
        candidate is not to blame: it is measured once more.
        """
        call = (measure_one, (str(library), args_info, best_s))
        answer = self._ask(*call)
        is_lost = answer.get("problem") == LOST_DEVICE
        # A device that stopped answering looks like a candidate that hangs.
        has_hung = self._remote is not None and not self.has_device and not is_lost
        if answer.get("problem") == KILLED or is_lost or has_hung:
            self.have_device()
            answer = self._ask(*call)
        if "problem" in answer:
            return MeasuredCandidate(problem=f"run: {answer['problem']}")
        self.num_threads = answer["num_threads"]
        return MeasuredCandidate(run_s=answer["run_s"])

    def compare(self, sides: Sequence[tuple[Path, Any]]) -> list[float]:
        """Return the seconds of one call of several candidates, measured in turn and at random.

        sides: library and args_info of each. Measured together, they differ by their own speed,
        not by the state of the machine at the time. Empty where that fails.
        """
        told = [(str(library), args_info) for library, args_info in sides]
        answer = self._ask(measure_in_turn, (told,))
        return list(answer.get("run_secs", ()))

    def have_device(self) -> None:
        """Hold a device, where candidates are measured on one. Raises DeviceError."""
        if self._remote is None:
            return
        self.has_device = False
        # One on which a candidate hung is free again when its session is over.
        wait_s = max(self._remote.wait_s, SESSION_S)
        answer = self._ask(have_device, (), timeout_s=wait_s + SESSION_S + MISSING_S)
        if "problem" in answer:
            raise DeviceError(str(answer["problem"]))
        self.has_device = True

    def release_device(self) -> None:
        """Let others have the device."""
        if self.has_device:
            self.has_device = False
            self._ask(release_device, ())

    def abandon(self) -> None:
        """End a call that waits in another thread: it fails there."""
        if (process := self._process) is not None:
            process.kill()

    def _ask(
        self,
        function: Callable[..., Any],
        arguments: tuple[Any, ...],
        timeout_s: float | None = None,
    ) -> dict[str, Any]:
        """Call a function in the process; return its answer, or {"problem"}."""
        timeout_s = timeout_s or self._timeout_s
        # A candidate that ran well may have left a process that died since.
        worn = self._measured >= _MOST_LIBRARIES
        if self._process is not None and (worn or self._process.poll() is not None):
            self.close()
        fresh = self._process is None
        self.start()
        self._measured += function in {measure_one, measure_in_turn}
        try:
            self._connection.send((function, arguments))
            # A fresh process answers late: the server may still be importing.
            if not self._connection.poll(timeout_s + (_START_S if fresh else 0)):
                self.close()
                return {"problem": f"time-out after {timeout_s:g} s"}
            return dict(self._connection.recv())
        except (EOFError, OSError):
            return {"problem": self._how_it_ended()}

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._connection.close()
            self._process = None
            self.has_device = False

    def _how_it_ended(self) -> str:
        code = None
        with suppress(subprocess.TimeoutExpired):
            code = self._process.wait(5)
        self.close()
        if code is not None and code < 0:
            return f"crashed with {signal.Signals(-code).name}"
        return f"ended with exit code {code}"


def _serve(connection: Any, remote: RemoteDevice | None, kind: str, threads: int) -> None:
    """Call each requested function, until the other end is closed."""
    state = MeasuringState(remote, kind, threads)
    while True:
        try:
            function, arguments = connection.recv()
        except EOFError:
            return
        try:
            answer = function(*arguments, state)
        except Exception as error:  # noqa: BLE001  whatever a candidate does is its result
            if is_lost(error):
                answer = {"problem": LOST_DEVICE}
                state.release_device()
            else:
                state.forget_arguments()  # it may have been for want of memory
                answer = {"problem": typed_cause_of(error)}
        connection.send(answer)

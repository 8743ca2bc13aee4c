"""Measures candidates on several devices at once: one measuring process for each."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pytest_tvmtune.core.error_text import cause_of
from pytest_tvmtune.core.errors import DeviceError, TuningError
from pytest_tvmtune.machine.remote_device import RemoteDevice
from pytest_tvmtune.relax.devices.rpc_connection import count_devices
from pytest_tvmtune.relax.tuning.candidates.candidate_builder import BuiltCandidate
from pytest_tvmtune.relax.tuning.candidates.candidate_runner import MeasuredCandidate, Runner


class DeviceRunner:
    """As a Runner, on as many devices as there are at an address.

    Each is reserved only while a batch is measured, so that others can use it between batches. A
    device that others use delays nothing: the candidates go to the devices that are free.
    """

    def __init__(self, *, timeout_s: float, kind: str, remote: RemoteDevice, threads: int) -> None:
        self._lanes = [
            Runner(timeout_s=timeout_s, kind=kind, remote=remote, threads=threads)
            for _ in range(max(1, count_devices(remote.address, wait_s=remote.wait_s)))
        ]

    @property
    def num_threads(self) -> int:
        """What TVM's runtime really uses there."""
        return max(lane.num_threads for lane in self._lanes)

    def measure_all(
        self, built: Sequence[BuiltCandidate], arguments: Sequence[Any], *, best_s: float
    ) -> list[MeasuredCandidate]:
        """Return how long each candidate takes, in their order, as `Runner.measure` does.

        Raises TuningError where there is no device for those that are left.
        """
        batch = _Batch(built, arguments, best_s, workers=len(self._lanes))
        for lane in self._lanes:
            # From this thread: what one starts ends with it.
            lane.start()
        threads = {
            lane: threading.Thread(target=batch.work_off, args=(lane,)) for lane in self._lanes
        }
        for thread in threads.values():
            thread.start()
        batch.wait()
        for lane, thread in threads.items():
            if not lane.has_device:
                # It waits for a device that isn't needed any more.
                lane.abandon()
            thread.join()
            lane.release_device()
        return batch.measured()

    def measure(self, library: Path, args_info: Any, *, best_s: float) -> MeasuredCandidate:
        """Return how long one candidate takes."""
        return self.measure_all([BuiltCandidate(library=library)], [args_info], best_s=best_s)[0]

    def compare(self, sides: Sequence[tuple[Path, Any]]) -> list[float]:
        """Return the seconds of several candidates, in turn, on one device."""
        lane = self._lanes[0]
        try:
            lane.have_device()
            return lane.compare(sides)
        except DeviceError:
            return []
        finally:
            lane.release_device()

    def close(self) -> None:
        """End the processes."""
        for lane in self._lanes:
            lane.close()


class _Batch:
    """Candidates that several threads work off: each waits, is under way, or has a result."""

    def __init__(
        self,
        built: Sequence[BuiltCandidate],
        arguments: Sequence[Any],
        best_s: float,
        *,
        workers: int,
    ) -> None:
        self._built, self._arguments, self._best_s = built, arguments, best_s
        self._results = {
            index: MeasuredCandidate(problem=one.problem)
            for index, one in enumerate(built)
            if one.library is None
        }
        self._waiting = [index for index in range(len(built)) if index not in self._results]
        self._under_way = 0
        self._workers = workers
        self._problems: list[str] = []
        self._changed = threading.Condition()

    @property
    def _is_done(self) -> bool:
        return len(self._results) == len(self._built)

    def wait(self) -> None:
        """Wait until all are measured, or no lane is left to measure them."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_done or not self._workers)

    def measured(self) -> list[MeasuredCandidate]:
        """Return the results in order. Raises TuningError where some are missing."""
        if not self._is_done:
            raise TuningError(f"tuning stopped: {self._problems[0]}; no result was recorded")
        return [self._results[index] for index in range(len(self._built))]

    def work_off(self, lane: Runner) -> None:
        """Measure candidates on a lane's device until none is left."""
        try:
            while (index := self._take(lane)) is not None:
                self._measure(lane, index)
        except Exception as error:  # noqa: BLE001  whoever waits for the batch raises it
            self._problems.append(cause_of(error))
        finally:
            with self._changed:
                self._workers -= 1
                self._changed.notify_all()

    def _take(self, lane: Runner) -> int | None:
        """Return a candidate, with a device for it; None when all have results."""
        while not self._is_done:
            lane.have_device()
            with self._changed:
                if self._waiting:
                    self._under_way += 1
                    return self._waiting.pop(0)
            # Another lane may lose its device, and leave its candidate to this one.
            lane.release_device()
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or not self._under_way)
        return None

    def _measure(self, lane: Runner, index: int) -> None:
        library = self._built[index].library
        assert library is not None
        result = None
        try:
            result = lane.measure(library, self._arguments[index], best_s=self._best_s)
        finally:
            with self._changed:
                self._under_way -= 1
                if result is None:
                    self._waiting.append(index)
                else:
                    self._results[index] = result
                    self._best_s = min(self._best_s, result.run_s or math.inf)
                self._changed.notify_all()

"""Measures candidates on several devices at once: one measuring process for each."""

from __future__ import annotations

import math
import queue
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pytest_tvmtune.core.errors import DeviceError, TuningError
from pytest_tvmtune.machine.remote_device import RemoteDevice
from pytest_tvmtune.relax.devices.rpc_connection import count_devices
from pytest_tvmtune.relax.tuning.candidate_builder import BuiltCandidate
from pytest_tvmtune.relax.tuning.candidate_runner import MeasuredCandidate, Runner


class DeviceRunner:
    """As a Runner, on as many devices as there are at an address.

    Each is reserved only while a batch is measured, so that others can use it between batches. A
    device that others use delays nothing: the candidates go to the devices that are free.
    """

    def __init__(self, *, timeout_s: float, kind: str, remote: RemoteDevice, threads: int) -> None:
        self._lanes = [
            Runner(timeout_s=timeout_s, kind=kind, remote=remote, threads=threads)
            for _ in range(max(1, count_devices(remote.address)))
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
        batch = _Batch(built, arguments, best_s)
        # Those that wait for a device in vain are ended with the batch.
        threads = {
            lane: threading.Thread(target=batch.work_off, args=(lane,)) for lane in self._lanes
        }
        for thread in threads.values():
            thread.start()
        batch.finished.wait()
        for lane, thread in threads.items():
            if not lane.has_device:
                lane.abandon()
            thread.join()
            lane.release_device()
        if batch.problems and batch.left:
            raise TuningError(f"tuning stopped: {batch.problems[0]}; no result was recorded")
        return batch.results

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
    """Candidates that several threads work off."""

    def __init__(
        self, built: Sequence[BuiltCandidate], arguments: Sequence[Any], best_s: float
    ) -> None:
        self.results = [MeasuredCandidate(problem=one.problem) for one in built]
        self.problems: list[str] = []
        self.finished = threading.Event()
        self._built, self._arguments, self._best_s = built, arguments, best_s
        self._waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._changed = threading.Lock()
        self._at_work = 0
        to_measure = [index for index, one in enumerate(built) if one.library is not None]
        self.left = len(to_measure)
        for index in to_measure:
            self._waiting.put(index)
        if not self.left:
            self.finished.set()

    def work_off(self, lane: Runner) -> None:
        """Measure candidates on a lane's device until none is left."""
        with self._changed:
            self._at_work += 1
        index: int | None = None
        try:
            while self.left:
                lane.have_device()
                try:
                    index = self._waiting.get_nowait()
                except queue.Empty:
                    break
                self._enter(index, self._measure(lane, index))
                index = None
        except DeviceError as error:
            if index is not None:
                self._waiting.put(index)
            self.problems.append(str(error))
        finally:
            with self._changed:
                self._at_work -= 1
                if not self._at_work:
                    self.finished.set()

    def _measure(self, lane: Runner, index: int) -> MeasuredCandidate:
        library = self._built[index].library
        assert library is not None
        return lane.measure(library, self._arguments[index], best_s=self._best_s)

    def _enter(self, index: int, result: MeasuredCandidate) -> None:
        with self._changed:
            self.results[index] = result
            self._best_s = min(self._best_s, result.run_s or math.inf)
            self.left -= 1
            if not self.left:
                self.finished.set()

"""What measures the candidates of a tuning run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from pytest_tvmtune.machine.remote_device import RemoteDevice
from pytest_tvmtune.relax.tuning.candidates.candidate_builder import BuiltCandidate
from pytest_tvmtune.relax.tuning.candidates.candidate_runner import MeasuredCandidate, Runner
from pytest_tvmtune.relax.tuning.candidates.device_runner import DeviceRunner

RUN_TIMEOUT_S = 30.0


class TuningRunner(Protocol):
    """A Runner of this machine, or one of devices."""

    @property
    def num_threads(self) -> int:
        """What TVM's runtime really uses, known once something was measured."""

    def measure_all(
        self, built: Sequence[BuiltCandidate], arguments: Sequence[Any], *, best_s: float
    ) -> list[MeasuredCandidate]:
        """Return how long each candidate takes, in their order."""

    def measure(self, library: Path, args_info: Any, *, best_s: float) -> MeasuredCandidate:
        """Return how long one candidate takes."""

    def compare(self, sides: Sequence[tuple[Path, Any]]) -> list[float]:
        """Return the seconds of several candidates, measured in turn; empty where that fails."""

    def close(self) -> None:
        """End its processes."""


def open_runner(kind: str, remote: RemoteDevice | None, threads: int) -> TuningRunner:
    """Return what measures on a device, or on this machine. Raises DeviceError."""
    if remote is None:
        return Runner(timeout_s=RUN_TIMEOUT_S, kind=kind)
    return DeviceRunner(timeout_s=RUN_TIMEOUT_S, kind=kind, remote=remote, threads=threads)

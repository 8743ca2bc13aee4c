"""Candidates on several devices: who measures what, and what becomes of them when devices go."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_tvmtune.core.errors import DeviceError, TuningError
from pytest_tvmtune.relax.tuning.candidates.candidate_builder import BuiltCandidate
from pytest_tvmtune.relax.tuning.candidates.candidate_runner import MeasuredCandidate
from pytest_tvmtune.relax.tuning.candidates.device_runner import DeviceRunner

BUILT = [BuiltCandidate(library=Path(f"{index}.so")) for index in range(12)]


class Lane:
    """A measuring process that needs none: what it does with each candidate is given."""

    def __init__(self, act: Callable[[str], float | None], *, device: Callable[[], None]) -> None:
        self._act, self._device = act, device
        self.has_device = False
        self.abandoned = threading.Event()
        self.num_threads = 1

    def start(self) -> None:
        pass

    def have_device(self) -> None:
        self._device()
        self.has_device = True

    def release_device(self) -> None:
        self.has_device = False

    def abandon(self) -> None:
        self.abandoned.set()

    def measure(self, library: Path, _arguments: Any, *, best_s: float) -> MeasuredCandidate:
        return MeasuredCandidate(run_s=self._act(library.name))


def runner_of(*lanes: Lane) -> DeviceRunner:
    runner = DeviceRunner.__new__(DeviceRunner)
    runner._lanes = list(lanes)  # type: ignore[arg-type]
    return runner


def free() -> None:
    """Have the device at once."""


def measured(runner: DeviceRunner, built: list[BuiltCandidate] = BUILT) -> list[MeasuredCandidate]:
    return runner.measure_all(built, [None] * len(built), best_s=1.0)


def test_each_is_measured_once_by_whoever_is_free() -> None:
    taken: list[str] = []

    def act(name: str) -> float:
        taken.append(name)
        return float(len(name))

    failed = BuiltCandidate(problem="build: it is wrong")
    found = measured(runner_of(*(Lane(act, device=free) for _ in range(3))), [*BUILT, failed])
    assert sorted(taken) == sorted(one.library.name for one in BUILT if one.library)
    assert [one.run_s for one in found] == [*(float(len(f"{i}.so")) for i in range(12)), None]
    assert found[-1].problem == "build: it is wrong"


def test_what_one_leaves_another_takes() -> None:
    done: list[str] = []

    def lose(_name: str) -> float:
        raise DeviceError("no device any more")

    def note(name: str) -> float:
        done.append(name)
        return 1.0

    found = measured(runner_of(Lane(lose, device=free), Lane(note, device=free)))
    assert all(one.run_s == 1.0 for one in found)
    assert sorted(done) == sorted(f"{index}.so" for index in range(12))


def test_one_that_waits_for_a_device_holds_up_nobody() -> None:
    waiting: Lane

    def never() -> None:
        assert waiting.abandoned.wait(20)
        raise DeviceError("abandoned")

    waiting = Lane(lambda _: 1.0, device=never)
    found = measured(runner_of(waiting, Lane(lambda _: 2.0, device=free)))
    assert all(one.run_s == 2.0 for one in found)


@pytest.mark.parametrize("error", [DeviceError("it is gone"), OSError("it is gone")])
def test_nothing_is_said_of_candidates_that_nobody_measured(error: Exception) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(TuningError, match="it is gone; no result was recorded"):
        measured(runner_of(Lane(lambda _: 1.0, device=fail), Lane(lambda _: 1.0, device=fail)))

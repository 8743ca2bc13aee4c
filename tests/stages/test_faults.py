"""kill -9 of every process of the tuner, at random moments, in real runs.

TVMTUNE_KILLS kills of each (default 1; `python benchmarks/faults.py` takes 50). After each: no
record that was in the store is lost, the store is sound, no process is left, the next run goes on.
"""

from __future__ import annotations

import contextlib
import os
import random
import shlex
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest

from pytest_tvmtune.stages.case import Case
from pytest_tvmtune.stages.tuning_tasks import extract_tasks, stored_workloads, tune_missing
from pytest_tvmtune.store.builds import Plan
from pytest_tvmtune.store.inventory import problems
from pytest_tvmtune.store.layout import Store
from pytest_tvmtune.store.tuning.records import KEPT_RECORDS, Workload
from pytest_tvmtune.store.tuning.workload_files import read_workload, stored_keys
from tests.support import IMPORTABLE, REAL_PYTHON
from tests.support.cases import built_run
from tests.support.modules import OpenCase, Square

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="tells processes by their names")
KILLS = int(os.environ.get("TVMTUNE_KILLS", "1"))
PYTEST = [REAL_PYTHON, "-m", "pytest", "-p", "no:cacheprovider", "--rootdir=.", "test_it.py"]
SUITE = """
import pytest
from tests.support.cases import built_run
from tests.support.modules import Square

@pytest.mark.tvm_tune(trials=8)
def test_square(tvm_tune):
    run = tvm_tune(Square)
    run.check()
    assert [task.is_settled for task in run.tasks] == [True, True]
"""


def records(store: Store) -> set[tuple[str, str]]:
    """Return what a reader finds finished: hashes of workloads and of schedules."""
    found = [read_workload(store, key, shash) for key, shash in stored_keys(store)]
    return {(one.shash, record.digest) for one in found if one for record in one.records}


def nothing_lost(before: set[tuple[str, str]], after: set[tuple[str, str]]) -> bool:
    """Whether every record is still there, unless its workload has as many better ones."""
    counts = Counter(shash for shash, _ in after)
    return all(one in after or counts[one[0]] == KEPT_RECORDS for one in before)


def children(name: str, root: int | None = None) -> list[psutil.Process]:
    found = []
    for process in psutil.Process(root).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.name() == name:
                found.append(process)
    return found


class Killer(threading.Thread):
    """Kills up to `kills` children of a name, each a random while after it appeared.

    seen: the records that were in the store right before each kill.
    """

    def __init__(
        self, store: Store, name: str, *, most_s: float, seed: int, kills: int = KILLS
    ) -> None:
        super().__init__(daemon=True)
        self._store = store
        self._victim = name
        self._most_s = most_s
        self._kills = kills
        self._random = random.Random(seed)
        self._over = threading.Event()
        self.killed: set[int] = set()
        self.seen: set[tuple[str, str]] = set()
        self.family: list[psutil.Process] = []

    def run(self) -> None:
        while not self._over.is_set() and len(self.killed) < self._kills:
            for process in children(self._victim)[: self._kills - len(self.killed)]:
                if process.pid not in self.killed:
                    self._over.wait(self._random.uniform(0, self._most_s))
                    self.seen |= records(self._store)
                    with contextlib.suppress(psutil.NoSuchProcess):
                        # Whose parent dies is nobody's child: known now or never.
                        self.family += process.children(recursive=True)
                        process.kill()
                        self.killed.add(process.pid)
            time.sleep(0.002)

    def __enter__(self) -> Killer:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        self.join()
        _, alive = psutil.wait_procs(self.family, timeout=10)
        assert alive == []


@pytest.mark.parametrize(("name", "most_s"), [("tvmtune-build", 0.02), ("tvmtune-runner", 0.5)])
def test_killed_builders_and_runners_cost_their_candidate(
    open_: OpenCase, name: str, most_s: float
) -> None:
    killed = 0
    while killed < KILLS:
        case = open_(Square, settings={"trials": 24, "tuning": "refresh"})
        plan = extract_tasks(case)
        left = KILLS - killed
        with Killer(case.store, name, most_s=most_s, seed=killed, kills=left) as killer:
            tune_missing(case, plan)
        assert killer.killed
        killed += len(killer.killed)
        assert list(problems(case.store)) == []
        assert nothing_lost(killer.seen, records(case.store))
        known = known_of(case, plan)
        assert all(one.served[-1].complete for one in known)
        # One may have a single schedule, and that killed twice: then its ledger says so.
        assert all(one.records or "SIGKILL" in one.served[-1].reason for one in known)
        # What was killed from outside is tried once more.
        lost = sum(one.served[-1].spent - one.served[-1].valid for one in known)
        assert lost <= len(killer.killed) // 2


def test_a_killed_server_of_forks_is_begun_anew(open_: OpenCase) -> None:
    case = open_(Square, settings={"trials": 24})
    plan = extract_tasks(case)
    with Killer(case.store, "tvmtune-forks", most_s=2, seed=1, kills=1) as killer:
        tune_missing(case, plan)
    assert killer.killed
    known = known_of(case, plan)
    assert all(one.records and one.served[-1].complete for one in known)
    assert all(one.served[-1].spent == one.served[-1].valid for one in known)


def test_killed_tuners_lose_no_record_and_the_next_goes_on(open_: OpenCase) -> None:
    killed = 0
    for number in range(1, 10 * KILLS):
        # More each time, so that there is something to do.
        case = open_(Square, settings={"trials": 8 + 4 * number})
        plan = extract_tasks(case)
        # Into the start, the search, the build, the measuring or the writing.
        with Killer(case.store, "tvmtune-job", most_s=8, seed=number, kills=1) as killer:
            said = str(tune_missing(case, plan).error or "")
        # Late, it may have answered already.
        assert not said or "crashed with SIGKILL" in said
        killed += bool(said)
        assert list(problems(case.store)) == []
        assert nothing_lost(killer.seen, records(case.store))
        assert said or all(one.served[-1].complete for one in known_of(case, plan))
        if killed == KILLS:
            break
    assert killed == KILLS
    tune_missing(case, plan)
    assert all(one.records and one.served[-1].complete for one in known_of(case, plan))


def known_of(case: Case, plan: Plan) -> list[Workload]:
    return list(stored_workloads(case, plan).values())


def test_killed_pytest_leaves_a_sound_store_and_no_process(tmp_path: Path) -> None:
    store = Store(root=tmp_path / ".tvmtune")
    environment = {**os.environ, "PYTHONPATH": IMPORTABLE}
    chance = random.Random(3)
    killed = 0
    for number in range(1, 10 * KILLS):
        # More each time, so that there is something to do.
        (tmp_path / "test_it.py").write_text(SUITE.replace("trials=8", f"trials={8 * number}"))
        run = subprocess.Popen(
            PYTEST,
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while not children("tvmtune-job") and run.poll() is None:
            time.sleep(0.02)
        with contextlib.suppress(subprocess.TimeoutExpired):
            run.wait(chance.uniform(0, 5))
        killed += run.poll() is None
        family = psutil.Process(run.pid).children(recursive=True) if run.poll() is None else []
        seen = records(store)
        run.kill()
        run.wait()
        _, alive = psutil.wait_procs(family, timeout=10)
        assert alive == []
        assert list(problems(store)) == []
        assert nothing_lost(seen, records(store))
        if killed == KILLS:
            break
    assert killed == KILLS
    done = subprocess.run(
        [*PYTEST, "--tvm-strict", "--tvm-update-new"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert list(problems(store)) == []


def test_a_full_disk_is_one_failed_test_and_a_sound_store(tmp_path: Path) -> None:
    """No file may grow beyond a limit: records can be written, and libraries can't.

    The smallest library with a kernel takes some pages, whatever linked it. For a disk that has no
    room for a request either: tests/relax/test_jobs.py.
    """
    (tmp_path / "test_it.py").write_text(SUITE)
    environment = {**os.environ, "PYTHONPATH": IMPORTABLE}
    limited = f"ulimit -f 14; exec {shlex.join(PYTEST)}"
    store = Store(root=tmp_path / ".tvmtune")

    def run(command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-c", command],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    done = run(limited)
    assert done.returncode == 1, done.stdout
    assert "INTERNALERROR" not in done.stdout
    assert "square[llvm]: " in done.stdout
    assert list(problems(store)) == []
    seen = records(store)
    assert run(shlex.join(PYTEST)).returncode == 0
    assert nothing_lost(seen, records(store))


# Two of them, as workers: tests/plugin/test_sharing.py.
@pytest.mark.slow
def test_four_pytest_processes_share_one_store(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(SUITE)
    environment = {**os.environ, "PYTHONPATH": IMPORTABLE}
    runs = [
        subprocess.Popen(
            PYTEST,
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    said = [run.communicate()[0] for run in runs]
    assert [run.returncode for run in runs] == [0] * 4, said
    store = Store(root=tmp_path / ".tvmtune")
    assert list(problems(store)) == []
    keys = list(stored_keys(store))
    for key, shash in keys:
        known = read_workload(store, key, shash)
        assert known is not None
        # Tuned by one of them; the others waited for it.
        assert [line.complete for line in known.served] == [True]
    # Two that begin at once may share the tasks of a model.
    assert 1 <= sum("tuned 1 case" in text for text in said) <= len(keys)


def test_identical_workloads_of_two_models_are_tuned_once(open_: OpenCase) -> None:
    first, second = (
        built_run(open_(Square, settings={"trials": 4}, name=name)) for name in ("one", "two")
    )
    assert first.result.trials_spent
    assert not second.result.trials_spent
    assert not second.result.tuned_now

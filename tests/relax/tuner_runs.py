"""Runs of the tuner's job: what they answer, and the store that they leave."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import tvm

from pytest_tvmtune.core.results.task_result import Task
from pytest_tvmtune.machine.fingerprint import fingerprint
from pytest_tvmtune.machine.installed_tvm import package_version
from pytest_tvmtune.processes.job import Job, JobContext
from pytest_tvmtune.processes.run_job import run_job
from pytest_tvmtune.relax.compiling.prepared_module import extract, module_text, prepare
from pytest_tvmtune.relax.tuning import tune_job
from pytest_tvmtune.relax.tuning.rounds import RoundProgress
from pytest_tvmtune.store.layout import Store, open_store
from pytest_tvmtune.store.tuning.records import Workload, target_key
from pytest_tvmtune.store.tuning.workload_files import read_workload
from tests.support import IMPORTABLE
from tests.support.modules import layer

TARGET = json.dumps({"kind": "llvm", "num-cores": 2})
KEY = target_key(TARGET, package_version("tvm"))
TuneJob = Job[tune_job.Request, tune_job.Result, RoundProgress]
# Two tasks: the transpose has a single schedule, the fused matmul has many.
LAYER = layer(16, 16, 16)


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """What one job answered, and the store it worked on."""

    answer: tune_job.Result
    store: Store
    tasks: dict[str, Task]

    def known(self, name: str) -> Workload:
        found = read_workload(self.store, KEY, self.tasks[name].shash)
        assert found is not None
        return found

    def of(self, name: str) -> tune_job.TunedTask:
        return self.answer.tasks[self.tasks[name].shash]


def workload_mod(mod: tvm.IRModule, task: Task) -> tvm.IRModule:
    target = tvm.target.Target(json.loads(TARGET))
    return next(
        extracted.dispatched[0]
        for one, extracted in extract(prepare(mod, target, prepack=False), target)
        if one == task
    )


def tasks_of(mod: tvm.IRModule) -> dict[str, Task]:
    target = tvm.target.Target(json.loads(TARGET))
    return {task.name: task for task, _ in extract(prepare(mod, target, prepack=False), target)}


@pytest.fixture
def tune(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Tuned]:
    monkeypatch.setenv("PYTHONPATH", IMPORTABLE)
    store = open_store(tmp_path / "store")

    def run(
        mod: tvm.IRModule,
        *,
        trials: int,
        cap: int | None = None,
        max_time_s: float | None = None,
        job: TuneJob = tune_job.JOB,
        on_progress: Callable[[RoundProgress], None] = lambda _: None,
    ) -> Tuned:
        tasks = tasks_of(mod)
        request = tune_job.Request(
            mod_text=module_text(mod),
            target=TARGET,
            prepack=False,
            shashes=frozenset(task.shash for task in tasks.values()),
            trials=trials,
            requested_trials=trials,
            max_trials_per_task=cap,
            max_time_s=max_time_s,
            left_s=max_time_s,
            seed=0,
            store=store,
            target_key=KEY,
            run_id=secrets.token_hex(8),
            since_s=0.0,
            environment="here",
            machine=fingerprint(),
            num_threads=1,
            remote=None,
        )
        context = JobContext(
            scratch=store.scratch, log_path=tmp_path / "tune.log", timeout_s=240, num_threads=1
        )
        answer = run_job(job, request, context, on_progress)
        return Tuned(answer=answer, store=store, tasks=tasks)

    return run

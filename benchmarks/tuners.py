"""Both tuners as processes of their own, and the latency of what they found.

`python benchmarks/tuners.py stock|ours MODEL TRIALS CAP SEED FOLDER [STORE...]` tunes one model
from nothing, or from what other stores know, leaves MetaSchedule's work_dir in FOLDER, and prints
what it took as JSON. Both end with the module lowered by the stock pipeline. The environment
variable TUNERS_TARGET may be `host` instead of `llvm`; TUNERS_PREPACK=1 prepacks weights.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

RUNTIME = "onnxruntime"
FAST_STOCK = Path(__file__).parent / "fast_stock"
TARGET_NAME = os.getenv("TUNERS_TARGET", "llvm")
PREPACK = bool(os.getenv("TUNERS_PREPACK"))
CORES = len(os.sched_getaffinity(0))
# The stock runner starts one thread on two cores, ours as many as the gate: here the same for both.
THREADS = {"TVM_NUM_THREADS": str(CORES)}


def run_tuner(
    which: str,
    model: str,
    *,
    trials: int,
    cap: int,
    seed: int,
    folder: Path,
    fast_import: bool = False,
    others: Sequence[Path] = (),
) -> dict[str, Any]:
    """Tune in a fresh process; return {"wall_s", "trials", "valid"}, Python's start included.

    fast_import: let the stock tuner import its intrinsics fast, where its time doesn't matter.
    others: folders that ours was given for other models, from whose stores it may learn.
    """
    started = time.perf_counter()
    path = {"PYTHONPATH": str(FAST_STOCK)} if fast_import and which == "stock" else {}
    stores = [str(other / "store") for other in others]
    answer = _run([which, model, str(trials), str(cap), str(seed), str(folder), *stores], path)
    return {"wall_s": time.perf_counter() - started, **answer}


def latencies(
    model: str, folders: list[Path], *, seconds: float = 4.0, runtime: bool = False
) -> list[float]:
    """Return the latency of what each folder's records give, timed in turn: medians, in seconds.

    runtime: with that of onnxruntime with one thread at the end, 0 for a model that has none.
    """
    given = [*map(str, folders), *([RUNTIME] if runtime else [])]
    return list(_run(["time", model, str(seconds), *given], {}))


def _run(arguments: list[str], environment: dict[str, str]) -> Any:
    done = subprocess.run(
        [sys.executable, __file__, *arguments],
        env={**os.environ, **THREADS, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{arguments} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def _stock(
    model: str, trials: int, cap: int, _seed: int, folder: Path, *_others: Path
) -> dict[str, int]:
    _lower(model, folder, trials, cap)
    rows = [json.loads(line) for line in (folder / "database_tuning_record.json").open()]
    return {"trials": len(rows), "valid": sum(row[1][1][0] < 1e9 for row in rows)}


def _ours(
    model: str, trials: int, cap: int, seed: int, folder: Path, *others: Path
) -> dict[str, int]:
    from models import open_model

    from pytest_tvmtune.stages.finals_in_model import build_with_finals
    from pytest_tvmtune.stages.tuning_tasks import extract_tasks, stored_workloads, tune_missing
    from pytest_tvmtune.store.tuning.work_dirs import write_work_dir

    case = open_tuned_case(
        open_model(model), model, folder / "store", trials=trials, cap=cap, seed=seed, others=others
    )
    plan = extract_tasks(case)
    tuned = tune_missing(case, plan)
    if tuned.error:
        raise tuned.error
    # With the builds and finals that are part of tuning in a test.
    build_with_finals(case, plan, tuned)
    workloads = stored_workloads(case, plan).values()
    applied = [workload.deployed(case.machine.cpu) for workload in workloads]
    write_work_dir(folder, [(workload, workload.records) for workload in applied])
    _lower(model, folder, 0, None)
    served = [line for workload in workloads for line in workload.served]
    return {"trials": sum(s.spent for s in served), "valid": sum(s.valid for s in served)}


def open_tuned_case(
    model: Any,
    name: str,
    store_dir: Path,
    *,
    trials: int,
    cap: int = 0,
    seed: int,
    others: Sequence[Path] = (),
) -> Any:
    """Return a case to tune, with a store of its own and others to learn from."""
    from pytest_tvmtune.core.settings.options import resolve_run
    from pytest_tvmtune.stages.case import RunContext, open_case
    from pytest_tvmtune.store.layout import open_store

    store = open_store(store_dir, fallbacks=others)
    layer = {"trials": trials, "max_trials_per_task": cap or None, "seed": seed}
    run = resolve_run(layer, store_dir=store.root)
    options = run.case_options({}, target=_spec(), prepack=PREPACK)
    return open_case(model, options, RunContext(store=store), name=name, nodeid=name)


def _spec() -> Any:
    from pytest_tvmtune.core.settings.target_spec import parse_target

    given = TARGET_NAME if TARGET_NAME == "host" else {"kind": TARGET_NAME, "num-cores": CORES}
    return parse_target(given, "target")


def _target() -> Any:
    from pytest_tvmtune.relax.devices.targets import resolve_target

    return resolve_target(_spec())


def _lower(model: str, folder: Path, trials: int, cap: int | None) -> Any:
    from models import open_model
    from tvm import relax

    return relax.pipeline.static_shape_tuning_pipeline(
        total_trials=trials,
        target=_target(),
        work_dir=str(folder),
        max_trials_per_task=cap or None,
        cpu_weight_prepack=PREPACK,
    )(open_model(model).mod)


def _time(model: str, seconds: float, given: list[str]) -> list[float]:
    import tvm
    from models import open_model

    from pytest_tvmtune.relax.measuring.session import transform_params
    from pytest_tvmtune.relax.tuning.intrinsics import import_intrinsics

    import_intrinsics("llvm")
    opened = open_model(model)
    device, entry = tvm.cpu(), opened.signature.entry
    inputs, params = (
        [tvm.runtime.tensor(array, device) for array in arrays]
        for arrays in (opened.inputs, opened.params)
    )
    timers: list[Callable[[], float]] = []
    for index, folder in enumerate(Path(one) for one in given if one != RUNTIME):
        library = folder / f"timed-{index}.so"
        target = _target()
        tvm.compile(_lower(model, folder, 0, None), target).export_library(str(library))
        vm = tvm.relax.VirtualMachine(tvm.runtime.load_module(str(library)), device)
        ready = transform_params(vm, entry, params) if PREPACK else params
        vm.save_function(entry, "timed", *inputs, *ready, include_return=False)
        timer = vm.module.time_evaluator("timed", device, number=1, min_repeat_ms=5)
        timers.append(partial(_evaluated, timer))
    with_runtime = RUNTIME in given
    if with_runtime and RUNTIME in opened.references:
        timers.append(_runtime_timer(opened))
    samples: list[list[float]] = [[] for _ in timers]
    deadline = time.perf_counter() + seconds * len(timers)
    while time.perf_counter() < deadline or len(samples[0]) < 5:
        for index in random.sample(range(len(timers)), len(timers)):
            samples[index].append(timers[index]())
    medians = [median(one) for one in samples]
    return medians if len(medians) == len(given) else [*medians, 0.0]


def _evaluated(timer: Any) -> float:
    return float(timer().results[0])


def _runtime_timer(opened: Any) -> Callable[[], float]:
    """Return what times a call in onnxruntime, with one thread, for 5 ms."""
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder, "model.onnx")
        opened.references[RUNTIME].save(saved)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        providers = ["CPUExecutionProvider"]
        session = onnxruntime.InferenceSession(saved.read_bytes(), options, providers=providers)
    binding = session.io_binding()
    for one, array in zip(session.get_inputs(), opened.inputs, strict=True):
        binding.bind_cpu_input(one.name, array)
    for one in session.get_outputs():
        binding.bind_output(one.name, "cpu")

    def timed() -> float:
        session.run_with_iobinding(binding)
        started, calls = time.perf_counter(), 0
        while (spent_s := time.perf_counter() - started) < 0.005 or not calls:
            session.run_with_iobinding(binding)
            calls += 1
        return spent_s / calls

    return timed


if __name__ == "__main__":
    if sys.argv[1] == "time":
        answer: Any = _time(sys.argv[2], float(sys.argv[3]), sys.argv[4:])
    else:
        Path(sys.argv[6]).mkdir(parents=True, exist_ok=True)
        tuner = {"stock": _stock, "ours": _ours}[sys.argv[1]]
        answer = tuner(sys.argv[2], *map(int, sys.argv[3:6]), *map(Path, sys.argv[6:]))
    print(json.dumps(answer))

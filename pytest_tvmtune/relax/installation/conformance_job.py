"""Job that tries on a small model what this package needs of TVM, for versions it doesn't know.

Each part of TVM is tried alone, so that a part that fails is reported by name.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, get_args

from pytest_tvmtune.core.error_text import cause_of
from pytest_tvmtune.core.job_stage import JobStage
from pytest_tvmtune.processes.job import Job, WorkerContext
from pytest_tvmtune.relax import compat

Part = Literal[
    "names of TVM's core",
    "serializing an IRModule",
    "compiling with static_shape_tuning_pipeline",
    "running a library",
    "extracting a tuning task",
    "applying the trace of a record",
    "cpu_weight_prepack",
    "instrumenting kernels",
]
PARTS: tuple[Part, ...] = get_args(Part)
_TARGET = {"kind": "llvm", "num-cores": 1}
_SIZE = 8


@dataclass(frozen=True, kw_only=True)
class Request:
    """The parts to try."""

    parts: tuple[Part, ...]


@dataclass(frozen=True, kw_only=True)
class Result:
    """Part -> why it doesn't work."""

    problems: dict[Part, str] = field(default_factory=dict)


def run(request: Request, context: WorkerContext[None]) -> Result:
    """Try each part of TVM.

    A part that crashes this process is the stage that the process was in.

    Args:
        request: The parts.
        context: Of this process.

    Returns:
        The parts that failed.

    """
    problems: dict[Part, str] = {}
    for part in request.parts:
        context.enter_stage(JobStage(part))
        try:
            _TRIED[part]()
        except (OSError, MemoryError):
            raise  # the machine's, and not TVM's
        except Exception as error:  # noqa: BLE001  whatever another version raises
            problems[part] = cause_of(error)
    return Result(problems=problems)


def _names() -> None:
    if missing := compat.missing_names():
        raise LookupError(f"it has no {'; no '.join(missing)}")


def _serialize() -> None:
    loaded = compat.load_json(str(compat.save_json(_model())))
    _expect("functions", len(loaded.functions), len(_model().functions))


def _compile() -> None:
    _executable(prepack=False)


def _run() -> None:
    given, weight = _arrays()
    _close(_vm(prepack=False)["forward"](_tensor(given), _tensor(weight)), given, weight)


def _extract() -> None:
    from pytest_tvmtune.relax.compiling.prepared_module import extract, prepare

    target = compat.Target(_TARGET)
    tasks = [task.name for task, _ in extract(prepare(_model(), target, prepack=False), target)]
    _expect("the task of a matmul", "matmul" in tasks, True)


def _apply_trace() -> None:
    from tvm import te
    from tvm.s_tir.meta_schedule.database import Workload

    from pytest_tvmtune.relax.compiling.applied_record import apply_record

    given = te.placeholder((_SIZE, _SIZE), name="given")
    doubled = te.compute(given.shape, lambda i, j: given[i, j] * 2, name="doubled")
    workload = Workload(compat.IRModule({"main": te.create_prim_func([given, doubled])}))
    # A record as a work_dir has it: the trace, seconds, the target, and the arguments.
    instructions = [
        ["GetSBlock", [], ["doubled", "main"], ["b0"]],
        ["GetLoops", ["b0"], [], ["l1", "l2"]],
        ["Vectorize", ["l2"], [], []],
    ]
    _, schedule = apply_record([[instructions, []], [1.0], _TARGET, []], workload)
    _expect("vectorized", "T.vectorized" in str(schedule.mod), True)
    compat.build_kernels(schedule.mod, target=compat.Target(_TARGET))


def _prepack() -> None:
    given, weight = _arrays()
    vm = _vm(prepack=True)
    transformed = vm["forward_transform_params"]([_tensor(weight)])
    _close(vm["forward"](_tensor(given), *transformed), given, weight)


def _instrument() -> None:
    given, weight = _arrays()
    vm, seen = _vm(prepack=False), []

    def note(_function: Any, name: str, before: bool, *_: Any) -> int:
        seen.append((name, before))
        return 0

    vm.set_instrument(note)
    vm["forward"](_tensor(given), _tensor(weight))
    _expect("calls seen", any("matmul" in name for name, _ in seen), True)


_TRIED: dict[Part, Callable[[], None]] = {
    "names of TVM's core": _names,
    "serializing an IRModule": _serialize,
    "compiling with static_shape_tuning_pipeline": _compile,
    "running a library": _run,
    "extracting a tuning task": _extract,
    "applying the trace of a record": _apply_trace,
    "cpu_weight_prepack": _prepack,
    "instrumenting kernels": _instrument,
}


@lru_cache(maxsize=1)
def _model() -> Any:
    from tvm.relax.frontend import nn

    class Linear(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(_SIZE, _SIZE, bias=False)

        def forward(self, given: Any) -> Any:
            return self.linear(given)

    mod, _ = Linear().export_tvm({"forward": {"given": nn.spec.Tensor((2, _SIZE), "float32")}})
    return mod


@lru_cache(maxsize=2)
def _executable(*, prepack: bool) -> Any:
    import tvm
    from tvm.relax.pipeline import static_shape_tuning_pipeline

    target = compat.Target(_TARGET)
    with tempfile.TemporaryDirectory() as folder:
        for name in ("database_workload.json", "database_tuning_record.json"):
            (Path(folder) / name).touch()
        pipeline = static_shape_tuning_pipeline(
            total_trials=0, target=target, work_dir=folder, cpu_weight_prepack=prepack
        )
        with target:
            return tvm.compile(pipeline(_model()), target)


def _vm(*, prepack: bool) -> Any:
    """Return a VirtualMachine with a library that was exported and loaded."""
    import tvm
    from tvm import relax

    with tempfile.TemporaryDirectory() as folder:
        library = str(Path(folder) / "model.so")
        _executable(prepack=prepack).export_library(library)
        return relax.VirtualMachine(tvm.runtime.load_module(library), tvm.cpu())


def _arrays() -> tuple[Any, Any]:
    """Return an input and a weight."""
    import numpy as np

    rng = np.random.default_rng(0)
    return rng.random((2, _SIZE), dtype="float32"), rng.random((_SIZE, _SIZE), dtype="float32")


def _tensor(array: Any) -> Any:
    import tvm

    return tvm.runtime.tensor(array)


def _close(got: Any, given: Any, weight: Any) -> None:
    import numpy as np

    expected = given @ weight.T
    if not np.allclose(got.numpy(), expected, rtol=1e-4, atol=1e-4):
        error = np.abs(got.numpy() - expected).max()
        raise ArithmeticError(f"the output is wrong by up to {error:.3g}")


def _expect(what: str, got: object, expected: object) -> None:
    if got != expected:
        raise ValueError(f"{what}: {got}, expected {expected}")


JOB = Job(run=run)

"""Does the installed pair of tvm and tvm-ffi work? Asked in a child, since a bad pair crashes."""

from __future__ import annotations

from pytest_tvmtune.core.job_stage import JobStage
from pytest_tvmtune.processes.job import Job, WorkerContext


def run(request: None, context: WorkerContext[None]) -> None:  # noqa: ARG001  nothing is asked
    """Serialize a small IRModule. A bad pair crashes in `ToJSONGraph` here.

    Args:
        request: Nothing.
        context: Of this process.

    """
    context.enter_stage(JobStage("serializing an IRModule"))
    import tvm
    from tvm import relax

    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((2, 2), "float32"))
    with builder.function("main", [x]):
        builder.emit_func_output(builder.emit(relax.op.add(x, x)))
    tvm.ir.save_json(builder.get())


JOB = Job(run=run)

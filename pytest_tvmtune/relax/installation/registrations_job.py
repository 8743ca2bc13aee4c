"""Job: what a process that compiles and runs models has registered with TVM."""

from __future__ import annotations

import contextlib
import importlib
from dataclasses import dataclass

from pytest_tvmtune.processes.job import Job, WorkerContext
from pytest_tvmtune.relax.installation.frames_without_source import frames_without_source
from pytest_tvmtune.relax.installation.registrations import Registration, recorded


@dataclass(frozen=True, kw_only=True)
class Request:
    """modules: TVM's own that the asking process has imported: theirs don't count.

    Without any, no global function is asked for.
    """

    modules: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Result:
    """registered: by the setup modules; names: of the global functions there are."""

    registered: tuple[Registration, ...]
    names: tuple[str, ...]


def run(request: Request, context: WorkerContext[None]) -> Result:  # noqa: ARG001  it has no stage
    """Return what is registered here.

    Args:
        request: What is asked for.
        context: Of this process.

    Returns:
        What the setup modules registered, and the global functions there are.

    """
    with frames_without_source():  # the tensor intrinsics may be among them
        for name in request.modules:
            with contextlib.suppress(Exception):
                importlib.import_module(name)
    from tvm_ffi.registry import list_global_func_names

    names = tuple(list_global_func_names()) if request.modules else ()
    return Result(registered=tuple(recorded()), names=names)


JOB = Job(run=run)

"""When a first run crashes: run it once more, watched, to find the kernel."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pytest_tvmtune.core.errors import ChildError, TvmTuneError
from pytest_tvmtune.core.json_codec import from_json
from pytest_tvmtune.core.kernels.matching import Kernels
from pytest_tvmtune.relax.compiling import run_once_job
from pytest_tvmtune.stages.case import Case
from pytest_tvmtune.stages.devices.device_job import run_device_job
from pytest_tvmtune.stages.job_context import entry_call, job_context
from pytest_tvmtune.store.artifacts import MANIFEST, Manifest

# What faulty code ends with; SIGKILL comes from outside.
FAULTS = frozenset({"SIGSEGV", "SIGFPE", "SIGABRT", "SIGILL", "SIGBUS"})
_AGAIN = "a second run to find the kernel"


def first_run(
    case: Case, library: Path, manifest: Manifest, *, names_kernels: bool = False
) -> run_once_job.Request:
    """Return what runs a library with a case's data for the first time."""
    return run_once_job.Request(
        library=library, manifest=manifest, call=entry_call(case), names_kernels=names_kernels
    )


@contextmanager
def naming_the_kernel(
    case: Case, library: Path, manifest: Manifest | None = None
) -> Iterator[None]:
    """Add to the error of a first run that crashes in which kernel it does, where that shows.

    library: what is run. manifest: its own; None: what the job that made it left with it.
    """
    try:
        yield
    except ChildError as error:
        if error.stage.kind != "first run" or error.cause not in FAULTS:
            raise
        kernel, words = _run_watched(case, library, manifest)
        raise ChildError(
            f"{error.stage.text}: crashed with {error.cause}{words}",
            log_path=error.log_path,
            stage=error.stage,
            cause=error.cause,
            kernel=kernel,
        ) from error


def _run_watched(case: Case, library: Path, manifest: Manifest | None) -> tuple[str, str]:
    """Return the kernel, "" if it isn't known, and what to say of it."""
    try:
        if manifest is None:
            manifest = from_json(library.with_name(MANIFEST).read_bytes(), Manifest)
        request = first_run(case, library, manifest, names_kernels=True)
        run_device_job(run_once_job.JOB, request, job_context(case, "crash"))
    except ChildError as again:
        if again.cause not in FAULTS:
            return "", f"; {_AGAIN} failed in another way: {again}"
        if again.stage.kind != "kernel":
            return "", " outside of all kernels"
        name = again.stage.kernel
        return name, f" in {_words(name, manifest.kernels if manifest else {})}"
    except (OSError, ValueError, TvmTuneError) as problem:
        return "", f"; {_AGAIN} could not be made: {problem}"
    return "", f"; {_AGAIN} did not crash"


def _words(name: str, kernels: Kernels) -> str:
    if name not in kernels:
        return f"{name}, which is not a kernel of the model"
    record = kernels[name].record
    if not record:
        return f"kernel {name} (untuned)"
    return (
        f"kernel {name} (tuned, record {record[:12]}); --tvm-tuning=refresh tunes it again and "
        "leaves out records that crash"
    )

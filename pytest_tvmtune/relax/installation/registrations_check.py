"""Whether the processes that compile and run models have this process's TVM registrations."""

from __future__ import annotations

import os
import sys
from functools import lru_cache
from typing import TYPE_CHECKING

from pytest_tvmtune.core.errors import EnvironmentProblemError
from pytest_tvmtune.processes.job import JobContext
from pytest_tvmtune.processes.run_job import run_job
from pytest_tvmtune.processes.setup_modules import setup_in_use
from pytest_tvmtune.relax.installation import registrations_job
from pytest_tvmtune.relax.installation.registration_uses import concerns, function_concerns
from pytest_tvmtune.relax.installation.registrations import (
    Registration,
    recorded,
    unexplained_names,
)
from pytest_tvmtune.store.layout import Store

if TYPE_CHECKING:
    from tvm.ir import IRModule

_TIMEOUT_S = 300.0
_MOST_SHOWN = 3


def check_registrations(store: Store, mod: IRModule | None) -> None:
    """Raise EnvironmentProblemError, naming it, where something is registered in this process only.

    A model would be compiled and run without it. Nothing is asked where nothing was registered.
    mod: the model, where that is known before its compilation; what it can't depend on is let pass.
    """
    registered, names = tuple(recorded()), unexplained_names()
    if registered or names:
        lacked, functions = _lacking(store, registered, names, tuple(setup_in_use()))
        lacking = [str(one) for one in lacked if concerns(one, mod)]
        lacking += [f"global function {name}" for name in functions if function_concerns(name, mod)]
        if lacking:
            shown = ", ".join(lacking[:_MOST_SHOWN])
            if len(lacking) > _MOST_SHOWN:
                shown += f", and {len(lacking) - _MOST_SHOWN} more"
            raise EnvironmentProblemError(
                f"registered with TVM only in the test's process: {shown}. Models are compiled, "
                "tuned, and run in child processes, which lack these registrations. Move the "
                "registrations to a module, and name it with --tvm-setup=MODULE (ini: tvm_setup)"
            )


@lru_cache(maxsize=4)
def _lacking(
    store: Store,
    registered: tuple[Registration, ...],
    names: frozenset[str],
    setup: tuple[str, ...],  # noqa: ARG001  what a child has depends on it
) -> tuple[list[Registration], list[str]]:
    """Return registrations that a child lacks, and functions whose registration wasn't seen."""
    modules = tuple(name for name in sys.modules if name.startswith("tvm.")) if names else ()
    child = run_job(
        registrations_job.JOB,
        registrations_job.Request(modules=modules),
        JobContext(
            scratch=store.scratch,
            log_path=store.logs / "registrations.log",
            timeout_s=_TIMEOUT_S,
            num_threads=1,
        ),
    )
    there = {_key(one) for one in child.registered}
    known = {*child.names, *(one.name for one in registered)}
    return [one for one in registered if _key(one) not in there], sorted(names - known)


def _key(registration: Registration) -> tuple[str, str, str, int]:
    file = os.path.realpath(registration.file)
    return registration.kind, registration.name, file, registration.line

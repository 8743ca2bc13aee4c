"""Whether the processes that compile and run models have what this one has registered with TVM."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from dataclasses import asdict
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from pytest_tvmtune.core.errors import EnvironmentProblemError
from pytest_tvmtune.processes.jobs import run_job
from pytest_tvmtune.processes.setup_modules import setup_in_use
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
        told, functions = _lacking(store, registered, names, tuple(setup_in_use()))
        lacking = [str(one) for one in told if concerns(one, mod)]
        lacking += [f"global function {name}" for name in functions if function_concerns(name, mod)]
        if lacking:
            shown = ", ".join(lacking[:_MOST_SHOWN])
            if len(lacking) > _MOST_SHOWN:
                shown += f" and {len(lacking) - _MOST_SHOWN} more"
            raise EnvironmentProblemError(
                f"registered with TVM in the test's process only: {shown}. Models are compiled, "
                "tuned and run in child processes, which lack it. Move the registrations into a "
                "module, and name it with --tvm-setup=MODULE (ini: tvm_setup)"
            )


@lru_cache(maxsize=4)
def _lacking(
    store: Store,
    registered: tuple[Registration, ...],
    names: frozenset[str],
    setup: tuple[str, ...],  # noqa: ARG001  what a child has depends on it
) -> tuple[list[Registration], list[str]]:
    """Return what a child lacks of what is here, and the functions nobody was seen to register."""
    told = run_job(
        "pytest_tvmtune.relax.installation.registrations_job:registered_here",
        {"modules": [name for name in sys.modules if name.startswith("tvm.")] if names else []},
        scratch=store.scratch,
        log_path=store.logs / "registrations.log",
        timeout_s=_TIMEOUT_S,
        num_threads=1,
    )
    there = {_key(Registration(**one)) for one in told["registered"]}
    known = set(told["names"]) | {one.name for one in registered}
    return [one for one in registered if _key(one) not in there], sorted(names - known)


def _key(registration: Registration) -> tuple[str, str, str, int]:
    file = os.path.realpath(registration.file)
    return registration.kind, registration.name, file, registration.line


def registered_here(request: dict[str, Any]) -> dict[str, Any]:
    """Job: return what the setup modules registered, and the global functions there are.

    modules: TVM's own that the asking process has imported: theirs don't count.
    """
    for name in request["modules"]:
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    from tvm_ffi.registry import list_global_func_names

    return {
        "registered": [asdict(one) for one in recorded()],
        "names": list_global_func_names() if request["modules"] else [],
    }

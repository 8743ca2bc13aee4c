"""What a process that runs jobs does around loading TVM; `processes/` finds it by name."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from pytest_tvmtune.processes.setup_modules import use_setup
from pytest_tvmtune.relax.installation.registrations import start_recording

# What most jobs import.
_MOST_JOBS_IMPORT = (
    "numpy",
    "tvm.relax",
    "pytest_tvmtune.relax.compiling.adopt_job",
    "pytest_tvmtune.relax.compiling.compile_job",
    "pytest_tvmtune.relax.compiling.plan_job",
)


def begin() -> None:
    """Record registrations with TVM from now on, and keep `import tvm` from importing torch."""
    start_recording()
    leave_out_torch()


def leave_out_torch() -> None:
    """Keep `import tvm` from importing torch in this process, which doesn't need it.

    tvm-ffi imports it wherever it is installed: 1.4 s and 150 MB for each process.
    """
    sys.modules["torch"] = None  # type: ignore[assignment]


def load_ahead() -> None:
    """Import what most jobs import, so that a fork doesn't need to."""
    for module in _MOST_JOBS_IMPORT:
        importlib.import_module(module)


def import_setup(modules: Sequence[str]) -> None:
    """Import the modules of `tvm_setup` in a child, where they may need the torch left out so far.

    Raises EnvironmentProblemError.
    """
    if not modules:
        return
    import tvm.relax  # noqa: F401  without torch

    if sys.modules.get("torch") is None:
        sys.modules.pop("torch", None)
    use_setup(modules)
    if "torch" not in sys.modules:
        leave_out_torch()

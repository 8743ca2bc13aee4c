"""The start-up check: whether this machine can tune, compile, and run models.

Each problem becomes a message with the command to type. Versions are read from metadata, so that
a pair of packages that crashes on import is never imported here.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import sys
from importlib.util import find_spec

from pytest_tvmtune.core.errors import ChildError, EnvironmentProblemError
from pytest_tvmtune.core.versions import minor
from pytest_tvmtune.machine.fingerprint import (
    GOOD_PAIRS,
    RECOMMENDED_FFI,
    SUPPORTED_TVM_MINORS,
    installed_version,
)
from pytest_tvmtune.machine.import_errors import import_cause
from pytest_tvmtune.processes.job import JobContext
from pytest_tvmtune.processes.run_job import run_job
from pytest_tvmtune.relax.installation import probe_job
from pytest_tvmtune.store.atomic_files import write_json
from pytest_tvmtune.store.layout import Store

_PROBE_TIMEOUT_S = 120.0
_TUNING_MODULES = {"psutil": "psutil", "cloudpickle": "cloudpickle", "xgboost": "xgboost"}
_COMPILERS = ("g++", "gcc", "clang++", "clang", "c++", "cc")  # tvm.support.cc.get_cc


def check_installation(store: Store, *, tuning: bool) -> None:
    """Raise EnvironmentProblemError when marked tests can't run here.

    tuning: whether any test may tune, which needs more than compiling does.
    """
    check_platform()
    check_pair(store)
    check_compiler()
    if tuning:
        check_tuning()


def check_platform() -> None:
    """Raise EnvironmentProblemError on a system that nothing here runs on."""
    if sys.platform == "win32":
        raise EnvironmentProblemError(
            "pytest-tvmtune doesn't run on Windows, because it forks its jobs and its tuner; "
            "use Linux or WSL, or deselect the marked tests"
        )


def check_imports() -> None:
    """Import what every test of a model needs; raise EnvironmentProblemError where that fails.

    Only once the versions are known to fit: a pair that doesn't may crash.
    """
    for name in ("numpy", "tvm_ffi", "tvm", "tvm.relax"):
        try:
            importlib.import_module(name)
        except (Exception, SystemExit) as error:
            raise EnvironmentProblemError(
                f"`import {name}` fails: {import_cause(error)}"
            ) from error


def check_compiler() -> str:
    """Return the path of the compiler that TVM links with. Raises EnvironmentProblemError."""
    compiler = _compiler()
    if compiler is None:
        raise EnvironmentProblemError(
            f"no C++ compiler found{_named_compiler()}, but TVM's export_library needs it; "
            "install g++ (on Debian: apt-get install g++), or set CXX to the path of a compiler"
        )
    return compiler


def check_tuning() -> None:
    """Raise EnvironmentProblemError where a package that tuning needs is missing."""
    missing = [name for module, name in _TUNING_MODULES.items() if not _is_there(module)]
    if missing:
        raise EnvironmentProblemError(
            f"tuning needs {', '.join(missing)}; run pip install 'pytest-tvmtune[tune]' "
            "(to use only stored records, run with --tvm-tuning=never; to test untuned models, run "
            "with --tvm-trials=0 --tvm-dir=untuned-store)"
        )


def check_pair(store: Store) -> None:
    """Raise EnvironmentProblemError when tvm and tvm-ffi don't work together.

    A pair not known to be good is tried once in a child; the answer is kept in the store.
    """
    tvm, ffi = installed_version("apache-tvm"), installed_version("apache-tvm-ffi")
    if tvm == "not installed":
        raise EnvironmentProblemError(
            f"apache-tvm is not installed; run pip install 'apache-tvm>={SUPPORTED_TVM_MINORS[0]}'"
        )
    if minor(tvm) not in SUPPORTED_TVM_MINORS:
        raise EnvironmentProblemError(
            f"apache-tvm {tvm} is not supported; install a supported version "
            f"({', '.join(SUPPORTED_TVM_MINORS)}) with pip install "
            f"'apache-tvm=={SUPPORTED_TVM_MINORS[-1]}.*'"
        )
    if ffi in GOOD_PAIRS[minor(tvm)]:
        return
    pair = f"{tvm} {ffi}"
    known = _read_probes(store)
    if pair not in known:
        problem, is_the_pairs = _probe(store)
        known[pair] = problem
        # A kill or a time-out says nothing of the pair.
        if is_the_pairs:
            write_json(store.probes, known)
    if known[pair]:
        raise EnvironmentProblemError(
            f"apache-tvm {tvm} doesn't work with apache-tvm-ffi {ffi} ({known[pair]}); "
            f"run pip install 'apache-tvm-ffi=={RECOMMENDED_FFI[minor(tvm)]}'"
        )


def _probe(store: Store) -> tuple[str, bool]:
    """Return what went wrong with the installed pair, "" when it works; whether it is its fault."""
    try:
        context = JobContext(
            scratch=store.scratch,
            log_path=store.logs / "probe.log",
            timeout_s=_PROBE_TIMEOUT_S,
            num_threads=1,
        )
        run_job(probe_job.JOB, None, context)
    except ChildError as error:
        return str(error).splitlines()[0], error.cause not in {"time-out", "SIGKILL"}
    return "", True


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ValueError:  # None in sys.modules: its import is blocked
        return False


def _read_probes(store: Store) -> dict[str, str]:
    try:
        loaded = json.loads(store.probes.read_bytes())
    except (OSError, ValueError):
        return {}
    return dict(loaded) if isinstance(loaded, dict) else {}


def _named_compiler() -> str:
    named = [f"{name}={os.environ[name]!r}" for name in ("CXX", "CC") if os.environ.get(name)]
    return f" ({named[0]} is not a program)" if named else ""


def _compiler() -> str | None:
    named = os.environ.get("CXX") or os.environ.get("CC")
    return shutil.which(named) if named else next(filter(None, map(shutil.which, _COMPILERS)), None)

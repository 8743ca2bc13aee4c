"""The start-up check: whether this machine can tune, compile, and run models.

Each problem becomes a message with the command to type. Versions are found without an import, so
that a pair of packages that crashes on import is never imported here.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import sys
from importlib.util import find_spec

from pytest_tvmtune.core.errors import ChildError, EnvironmentProblemError
from pytest_tvmtune.core.json_codec import from_json_values
from pytest_tvmtune.core.versions import minor
from pytest_tvmtune.machine.import_errors import import_cause
from pytest_tvmtune.machine.installed_tvm import NOT_INSTALLED, package_version
from pytest_tvmtune.processes.job import JobContext
from pytest_tvmtune.processes.run_job import run_job
from pytest_tvmtune.relax import compat
from pytest_tvmtune.relax.installation import conformance_job
from pytest_tvmtune.relax.installation.tvm_files import tvm_files_identity
from pytest_tvmtune.store.atomic_files import write_json
from pytest_tvmtune.store.layout import Store

_TIMEOUT_S = 120.0
# Without them there is nothing to test.
_NEEDED = frozenset(conformance_job.PARTS[:4])
_TUNING_MODULES = {"psutil": "psutil", "cloudpickle": "cloudpickle", "xgboost": "xgboost"}
_COMPILERS = ("g++", "gcc", "clang++", "clang", "c++", "cc")  # tvm.support.cc.get_cc


def check_installation(store: Store, *, tuning: bool) -> str:
    """Raise EnvironmentProblemError when marked tests can't run here; return a warning, or "".

    tuning: whether any test may tune, which needs more than compiling does.
    """
    check_platform()
    check_compiler()
    warning = check_tvm(store)
    if tuning:
        check_tuning()
    return warning


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


def check_tvm(store: Store) -> str:
    """Raise EnvironmentProblemError where the installed TVM can't be used; return a warning, or "".

    Versions that this package isn't tested with are tried in a child. If all works, the store keeps
    that, for as long as TVM's files are the same.
    """
    tvm, ffi = package_version("tvm"), package_version("tvm_ffi")
    tested = compat.TESTED.get(minor(tvm))
    if tvm == NOT_INSTALLED:
        raise EnvironmentProblemError(
            f"apache-tvm is not installed; run pip install 'apache-tvm=={compat.NEWEST_TESTED}.*'"
        )
    if ffi == NOT_INSTALLED:
        needed = f"=={tested.ffi_versions[0]}" if tested else ""
        raise EnvironmentProblemError(
            f"apache-tvm-ffi is not installed, which apache-tvm {tvm} needs; "
            f"run pip install 'apache-tvm-ffi{needed}'"
        )
    if compat.is_tested_pair(tvm, ffi):
        return ""
    problems = _known_problems(store)
    found = "; ".join(f"{part}: {why}" for part, why in problems.items())
    if not _NEEDED.isdisjoint(problems) or not problems.keys() <= set(conformance_job.PARTS):
        if tested:
            raise EnvironmentProblemError(
                f"apache-tvm {tvm} doesn't work with apache-tvm-ffi {ffi} ({found}); "
                f"run pip install 'apache-tvm-ffi=={tested.ffi_versions[0]}'"
            )
        raise EnvironmentProblemError(
            f"{compat.this_tvm()} doesn't work with pytest-tvmtune ({found}); {compat.advice()}"
        )
    return (
        f"{compat.this_tvm()} with apache-tvm-ffi {ffi} is used, but pytest-tvmtune isn't tested "
        f"with these versions; {f'these parts fail: {found}' if found else 'a short check passed'}"
    )


def _known_problems(store: Store) -> dict[str, str]:
    """Return what doesn't work in the installed TVM: tried now, unless all of it worked before.

    Failures aren't kept: the reason may be a compiler, or a file that is missing.
    """
    passed, identity = _read_probes(store), tvm_files_identity(store)
    if passed.get(identity) == list(conformance_job.PARTS):
        return {}
    check_compiler()  # the lack of one isn't TVM's fault
    problems, is_tvms = _try_parts(store)
    if not is_tvms:
        check_imports()  # its message is better, and what hasn't crashed there doesn't here
    elif not problems:
        write_json(store.probes, {**passed, identity: list(conformance_job.PARTS)})
    return problems


def _try_parts(store: Store) -> tuple[dict[str, str], bool]:
    """Return the problems of the installed TVM, by part, and whether they are its own."""
    context = JobContext(
        scratch=store.scratch,
        log_path=store.logs / "probe.log",
        timeout_s=_TIMEOUT_S,
        num_threads=1,
    )
    crashed: dict[str, str] = {}
    left = list(conformance_job.PARTS)
    while True:
        try:
            result = run_job(
                conformance_job.JOB, conformance_job.Request(parts=tuple(left)), context
            )
        except ChildError as error:
            part = error.stage.text
            crashed[part] = str(error).splitlines()[0].removeprefix(f"{part}: ")
            is_tvms = error.cause.startswith("SIG") and error.cause != "SIGKILL"
            if not is_tvms or part not in left:
                return crashed, is_tvms
            left = [one for one in left if one != part]
            continue
        return crashed | {str(part): why for part, why in result.problems.items()}, True


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ValueError:  # None in sys.modules: its import is blocked
        return False


def _read_probes(store: Store) -> dict[str, list[str]]:
    """Return the parts that have passed, by the identity of TVM."""
    try:
        return from_json_values(json.loads(store.probes.read_bytes()), dict[str, list[str]])
    except (OSError, ValueError):
        return {}


def _named_compiler() -> str:
    named = [f"{name}={os.environ[name]!r}" for name in ("CXX", "CC") if os.environ.get(name)]
    return f" ({named[0]} is not a program)" if named else ""


def _compiler() -> str | None:
    named = os.environ.get("CXX") or os.environ.get("CC")
    return shutil.which(named) if named else next(filter(None, map(shutil.which, _COMPILERS)), None)

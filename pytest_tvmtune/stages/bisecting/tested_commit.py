"""Stage of a bisection: the commit that is checked out, installed, tested, and judged."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from pytest_tvmtune.core.bisecting.commit_verdict import (
    CaseKey,
    CommitVerdict,
    JudgedCase,
    Sought,
    judge_cases,
    judged_case,
    verdict_on_commit,
)
from pytest_tvmtune.core.clock import monotonic_s
from pytest_tvmtune.core.errors import BisectError, listed
from pytest_tvmtune.core.results.case_result import CaseResult
from pytest_tvmtune.processes.logged_process import complaint_in, run_logged
from pytest_tvmtune.report.json_report import cases_of
from pytest_tvmtune.stages.bisecting.git_commits import git_path
from pytest_tvmtune.store.atomic_files import write_json
from pytest_tvmtune.store.layout import Store, open_store

# pytest's: all tests passed, or some failed. The others aren't about the tests.
_PASSED, _FAILED = 0, 1
# In git's own folder: no commit that is checked out, and no `git clean`, changes it.
_FOLDER = "tvmtune-bisect"
# In the store: the keys of the cases that the good commit has.
_KEYS = "bisect-keys.json"
# Set in the run of the good commit, which accepts baselines.
ACCEPT_VARIABLE = "TVMTUNE_BISECT_ACCEPT"
# The gate ends as soon as it has decided, and an undecided commit costs more than some time.
_MAX_TIME = "--tvm-max-time"
_LONG = "60s"
_TUNING = ("--tvm-trials", "--tvm-tuning")
# Two commits can have a file of the same size, checked out in the same second: Python would run the
# bytecode of the other commit.
_NO_BYTECODE = {"PYTHONDONTWRITEBYTECODE": "1"}


@dataclass(frozen=True, kw_only=True)
class CommitTest:
    """How each commit is tested.

    store: with the baselines of the good commit. arguments: pytest's. install: a command for the
    shell, before the tests; "" for none. keys: of the cases that decide; None: all of them.
    """

    store: Store
    sought: Sought
    arguments: tuple[str, ...]
    install: str = ""
    keys: Collection[CaseKey] | None = None


@dataclass(frozen=True, kw_only=True)
class TestedCommit:
    """A commit that was tested. reason: in a line. cases: those that were judged."""

    verdict: CommitVerdict
    reason: str
    seconds: float
    cases: tuple[JudgedCase, ...] = ()


def own_store(arguments: Sequence[str]) -> Store:
    """Return the store of the bisections of this work tree. Raises BisectError, StoreError."""
    # Nothing tuned may get into the store that is untuned.
    return open_store(git_path(_FOLDER) / ("untuned" if is_untuned(arguments) else "tuned"))


def judge_commit(test: CommitTest) -> TestedCommit:
    """Return whether the commit that is checked out shows what is sought."""
    if not has_option(test.arguments, _MAX_TIME):
        test = replace(test, arguments=(*test.arguments, f"{_MAX_TIME}={_LONG}"))
    return _tested(test, {}, lambda results: judge_cases(results, test.sought, test.keys))


def accept_commit(test: CommitTest) -> TestedCommit:
    """Accept the baselines of the commit that is checked out. It's good if all cases have one.

    If only wrong numbers are sought, no baseline is needed, and the commit is judged.
    """
    if test.sought == "wrong":
        tested = judge_commit(test)
    else:
        tested = _tested(test, {ACCEPT_VARIABLE: "1"}, lambda found: list(map(_accepted, found)))
    write_json(
        test.store.root / _KEYS, [case.key for case in tested.cases if case.verdict == "good"]
    )
    return tested


def accepted_keys(store: Store) -> Collection[CaseKey] | None:
    """Return the cases of the good commit that was accepted last. None: no commit was.

    Raises:
        BisectError: That commit has no case that could be accepted.
    """
    try:
        keys = [(test, name) for test, name in json.loads((store.root / _KEYS).read_bytes())]
    except FileNotFoundError:
        return None
    if not keys:
        raise BisectError(
            "no case of the good commit was accepted; check it out, and use tvmtune bisect-step "
            "--accept"
        )
    return keys


def install_commit(test: CommitTest) -> str:
    """Run the command that installs the commit. Returns what is wrong, "" if it succeeded."""
    if not test.install:
        return ""
    log_path = test.store.logs / "bisect-install.log"
    exit_code = run_logged(["sh", "-c", test.install], os.environ | _NO_BYTECODE, log_path)
    if exit_code == 0:
        return ""
    said = complaint_in(log_path)
    return f"{test.install!r} failed (exit code {exit_code}): {said}; log: {log_path}"


def is_untuned(arguments: Sequence[str]) -> bool:
    """Whether models are tested untuned: unless pytest's arguments ask for tuning.

    Two tunings of one model can differ by more than a slowdown.
    """
    return not any(has_option(arguments, option) for option in _TUNING)


def has_option(arguments: Sequence[str], option: str) -> bool:
    """Whether pytest's arguments give an option."""
    return any(one.split("=")[0] == option for one in arguments)


def _tested(
    test: CommitTest,
    variables: Mapping[str, str],
    judge: Callable[[Sequence[CaseResult]], list[JudgedCase]],
) -> TestedCommit:
    begun_s = monotonic_s()
    results, problem = _results(test, variables)
    judged = judge(results) if results else []
    verdict = verdict_on_commit(judged)
    reasons = [one.reason for one in judged if one.verdict == verdict]
    # Without keys, nobody knows which cases are missing.
    if not judged or (problem and verdict == "good" and test.keys is None):
        verdict, reasons = "undecided", [problem]
    return TestedCommit(
        verdict=verdict,
        reason=listed(reasons),
        seconds=monotonic_s() - begun_s,
        cases=tuple(judged),
    )


def _results(test: CommitTest, variables: Mapping[str, str]) -> tuple[Sequence[CaseResult], str]:
    """Return the results of the tests, and why there are none, or may be too few."""
    if problem := install_commit(test):
        return [], problem
    store = test.store
    log_path, report_path = store.logs / "bisect-pytest.log", store.root / "bisect.json"
    report_path.unlink(missing_ok=True)
    command = [
        *(sys.executable, "-m", "pytest", "-p", "pytest_tvmtune.plugin.bisecting"),
        *test.arguments,
        *(_untuned(store) if is_untuned(test.arguments) else []),
        "--continue-on-collection-errors",
        "--maxfail=0",
        "--tvm-step-summary=off",
        f"--tvm-dir={store.root}",
        f"--tvm-json={report_path}",
    ]
    exit_code = run_logged(command, {**os.environ, **_NO_BYTECODE, **variables}, log_path)
    results: Sequence[CaseResult] = []
    problem = f"pytest can't run the tests (exit code {exit_code})"
    if exit_code in {_PASSED, _FAILED} and report_path.is_file():
        results = cases_of(json.loads(report_path.read_bytes()))
        problem = "a test failed, or is missing" if results else "no test with tvm_tune was run"
    if results and exit_code == _PASSED:
        return results, ""
    return results, f"{problem}: {complaint_in(log_path)}; log: {log_path}"


def _untuned(store: Store) -> list[str]:
    """Return pytest's arguments that tune nothing, and apply no record."""
    # An empty folder, since the ini file may name one with records.
    empty = store.scratch / "no-records"
    empty.mkdir(parents=True, exist_ok=True)
    return [*(f"{_TUNING[0]}=0", f"{_TUNING[1]}=never"), f"--tvm-store-fallback={empty}"]


def _accepted(result: CaseResult) -> JudgedCase:
    if result.latency is not None and result.latency.accepted:
        return judged_case(result, "good", "accepted as the baseline")
    unknown = "its test failed" if result.latency else "its latency isn't compared"
    found = next(iter(result.findings), unknown).removeprefix(f"{result.label}: ")
    return judged_case(result, "undecided", f"not accepted: {found.splitlines()[0]}")

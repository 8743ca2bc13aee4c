"""`tvmtune bisect` from its two commits to the first bad one: git chooses, the tests decide."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from pytest_tvmtune.core.bisecting.commit_verdict import CommitVerdict, JudgedCase, Sought
from pytest_tvmtune.core.clock import monotonic_s
from pytest_tvmtune.core.errors import BisectError, StoreError, counted, listed
from pytest_tvmtune.stages.bisecting.git_commits import (
    Commit,
    changed_files,
    check_order,
    check_out,
    check_work_tree,
    commit_of,
    commits_left,
    git,
    mark,
    undo_changes,
)
from pytest_tvmtune.stages.bisecting.tested_commit import (
    CommitTest,
    TestedCommit,
    accept_commit,
    has_option,
    install_commit,
    is_untuned,
    judge_commit,
    own_store,
)
from pytest_tvmtune.store.layout import Store
from pytest_tvmtune.store.locks import try_lock
from pytest_tvmtune.store.merging import merge_tuning

_THRESHOLD = "--tvm-threshold"
_WORDS: dict[CommitVerdict, Literal["good", "bad", "skip"]] = {
    "good": "good",
    "bad": "bad",
    "undecided": "skip",
}
# The other way of comparing models.
_COMPARE_TUNED = "to compare tuned models, give --tvm-trials=N"
_COMPARE_UNTUNED = "to compare untuned models, leave out --tvm-trials and --tvm-tuning"


@dataclass(frozen=True, kw_only=True)
class BisectRequest:
    """What is bisected.

    good, bad: revisions. arguments: pytest's. install: a command for the shell, "" for none.
    records: the store whose tuning records are used, if the arguments ask for tuning.
    """

    good: str
    bad: str
    sought: Sought
    arguments: tuple[str, ...]
    install: str
    records: Path


@dataclass(frozen=True, kw_only=True)
class BisectStep:
    """A commit that was tested, with its verdict and the seconds that it took."""

    commit: Commit
    verdict: CommitVerdict
    reason: str
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Bisection:
    """The result of a bisection.

    Attributes:
        first_bad: The commit that was found; null if too many commits were undecided.
        candidates: The commits that are left, the newest first: the first bad commit is one of
            them.
        findings: The findings of the cases that are bad in the first bad commit.
        steps: Each commit that was tested, in order: the good one, the bad one, and those between.
        seconds: The duration.
        store: The folder of the store with the baselines, artifacts, and logs.
    """

    first_bad: Commit | None
    candidates: tuple[Commit, ...]
    findings: tuple[str, ...]
    steps: tuple[BisectStep, ...]
    seconds: float
    store: Path


@dataclass(kw_only=True)
class _Tested:
    """The commits that were tested so far, in order."""

    on_progress: Callable[[str], None]
    commits: dict[str, TestedCommit] = field(default_factory=dict)
    steps: list[BisectStep] = field(default_factory=list)

    def add(self, commit: Commit, tested: TestedCommit) -> TestedCommit:
        self.commits[commit.sha] = tested
        self.steps.append(
            BisectStep(
                commit=commit,
                verdict=tested.verdict,
                reason=tested.reason,
                seconds=tested.seconds,
            )
        )
        self.on_progress(f"{commit}: {tested.verdict} in {tested.seconds:.0f} s: {tested.reason}")
        if changed := changed_files():
            raise BisectError(
                "--install or a test changed files that git tracks, which would be in other "
                f"commits: {listed(changed)}; let the command of --install end with "
                "`git checkout .`, or leave out the test"
            )
        return tested


def bisect(request: BisectRequest, on_progress: Callable[[str], None]) -> Bisection:
    """Find the first bad commit. The work tree is then as before.

    Args:
        request: The commits and the tests.
        on_progress: Is called with each step, in words.

    Raises:
        BisectError: The bisection can't begin, or git can't go on. Or the good commit isn't good,
            or the bad commit isn't bad.
        StoreError: There is no room for the files, or another process uses the folder.
    """
    check_work_tree()
    good, bad = commit_of(request.good), commit_of(request.bad)
    if good == bad:
        raise BisectError(f"--good and --bad both name the commit {good}")
    check_order(good, bad)
    untuned = is_untuned(request.arguments)
    store = own_store(request.arguments)
    lock = try_lock(store.root / "bisect.lock")
    if lock is None:
        raise StoreError(f"another `tvmtune bisect` uses {store.root}: wait for it")
    try:
        # Those of another good commit.
        shutil.rmtree(store.baselines, ignore_errors=True)
        if not untuned:
            list(merge_tuning(store, [Store(root=request.records)]))
        test = CommitTest(
            store=store,
            sought=request.sought,
            arguments=request.arguments,
            install=request.install,
        )
        git("bisect", "start")
        try:
            return _bisect(test, good, bad, on_progress)
        finally:
            # No problem here may hide a problem before.
            try:
                undo_changes()
                git("bisect", "reset")
            except BisectError as error:
                on_progress(f"the work tree isn't as before: {error}; use git bisect reset")
            if problem := install_commit(test):
                on_progress(f"the commit that is checked out again isn't installed: {problem}")
    finally:
        lock.release()


def _bisect(
    test: CommitTest, good: Commit, bad: Commit, on_progress: Callable[[str], None]
) -> Bisection:
    begun_s, tested = monotonic_s(), _Tested(on_progress=on_progress)
    check_out(good)
    before = tested.add(good, accept_commit(test))
    known = [case for case in before.cases if case.verdict == "good"]
    if not known:
        raise BisectError(f"the good commit {good.short} isn't good: {before.reason}")
    check_out(bad)
    after = tested.add(bad, judge_commit(replace(test, keys=[case.key for case in known])))
    if after.verdict != "bad":
        hint = _COMPARE_TUNED if is_untuned(test.arguments) else _COMPARE_UNTUNED
        raise BisectError(
            f"the bad commit {bad.short} isn't bad: {after.reason}; {hint}, and --find says what "
            "makes a commit bad"
        )
    changed = [case for case in after.cases if case.verdict == "bad"]
    test = replace(
        test,
        keys=[case.key for case in changed],
        arguments=(*test.arguments, *_halfway(changed, test.arguments)),
    )
    on_progress(f"searched for: {listed([case.key[0] for case in changed])}")
    mark(good, "good")
    mark(bad, "bad")
    left = commits_left()
    can_go_on = True
    while can_go_on and len(left) > 1:
        steps = math.ceil(math.log2(len(left)))
        on_progress(f"{counted(len(left), 'commit')} left, about {counted(steps, 'step')}")
        commit = commit_of("HEAD")
        verdict = tested.add(commit, judge_commit(test)).verdict
        can_go_on = mark(commit, _WORDS[verdict])
        left = commits_left()
    first_bad = left[0] if len(left) == 1 else None
    shown = tested.commits[first_bad.sha].cases if first_bad is not None else ()
    return Bisection(
        first_bad=first_bad,
        candidates=tuple(left),
        findings=_findings(shown),
        steps=tuple(tested.steps),
        seconds=monotonic_s() - begun_s,
        store=test.store.root,
    )


def _halfway(changed: Sequence[JudgedCase], arguments: Sequence[str]) -> list[str]:
    """Return pytest's argument for a threshold halfway between the good and the bad commit.

    Both sides are then equally far from it, so that noise is the least likely to decide. Empty if
    the user gives a threshold, or if no case is slower.
    """
    ratios = [
        latency.slowdown_ratio
        for case in changed
        if case.result is not None
        and (latency := case.result.latency) is not None
        and latency.verdict == "REGRESSION"
        and latency.slowdown_ratio is not None
    ]
    if not ratios or has_option(arguments, _THRESHOLD):
        return []
    return [f"{_THRESHOLD}={100 * (math.sqrt(min(ratios)) - 1):.2f}%"]


def _findings(cases: Sequence[JudgedCase]) -> tuple[str, ...]:
    return tuple(
        finding
        for case in cases
        if case.verdict == "bad" and case.result is not None
        for finding in case.result.findings
    )

"""The commands of git that a bisection needs, in the current folder."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pytest_tvmtune.core.errors import BisectError, listed

# A checkout also changes the submodules.
_GIT = ("git", "-c", "submodule.recurse=true")
# The exit code of `git bisect` if all commits that are left were skipped.
_ONLY_SKIPPED = 2


@dataclass(frozen=True, kw_only=True)
class Commit:
    """A commit. short: the beginning of its hash."""

    sha: str
    short: str
    subject: str

    def __str__(self) -> str:
        return f"{self.subject} ({self.short})"


def git(*arguments: str) -> str:
    """Return the output of a git command, without the last line break. Raises BisectError."""
    done = _run(*arguments)
    if done.returncode:
        raise _failed(done)
    return done.stdout.rstrip("\n")


def check_work_tree() -> None:
    """Raise BisectError unless this is the top of a work tree without changes or a bisection.

    Neither may commits be missing.
    """
    if (top := Path(git("rev-parse", "--show-toplevel"))) != Path.cwd().resolve():
        raise BisectError(
            f"run the command in {top}, the top of the work tree, and give paths from there"
        )
    if git_path("BISECT_START").exists():
        raise BisectError("a bisection is going on here; to end it, use git bisect reset")
    if git("rev-parse", "--is-shallow-repository") == "true":
        raise BisectError("commits are missing in a shallow clone; use git fetch --unshallow")
    if changed := changed_files():
        raise BisectError(
            f"the work tree has changes, which would be in each commit: {listed(changed)}; commit "
            "them, or use git stash"
        )


def changed_files() -> list[str]:
    """Return the files that differ from the commit that is checked out."""
    return git("diff", "--name-only", "HEAD").splitlines()


def git_path(name: str) -> Path:
    """Return the path of a file in git's own folder of this work tree."""
    return Path(git("rev-parse", "--git-path", name)).absolute()


def commit_of(revision: str) -> Commit:
    """Return a commit by any name that git has for it. Raises BisectError."""
    sha = git("rev-parse", "--verify", "--end-of-options", f"{revision}^{{commit}}")
    short, subject = git("log", "-1", "--format=%h%n%s", sha).split("\n", 1)
    return Commit(sha=sha, short=short, subject=subject)


def check_order(good: Commit, bad: Commit) -> None:
    """Raise BisectError unless the bad commit comes from the good commit."""
    if _run("merge-base", "--is-ancestor", good.sha, bad.sha).returncode:
        raise BisectError(
            f"the good commit {good.short} isn't an ancestor of the bad commit {bad.short}; give "
            f"--good=$(git merge-base {good.short} {bad.short})"
        )


def check_out(commit: Commit) -> None:
    """Check out a commit."""
    git("checkout", "--quiet", "--detach", commit.sha)


def undo_changes() -> None:
    """Let all files be as in the commit that is checked out."""
    git("checkout", "--quiet", "--force", "--detach", "HEAD")


def mark(commit: Commit, word: Literal["good", "bad", "skip"]) -> bool:
    """Mark a commit, and check out the next commit to test. Returns whether git can go on."""
    done = _run("bisect", word, commit.sha)
    if done.returncode not in {0, _ONLY_SKIPPED}:
        raise _failed(done)
    return done.returncode == 0


def commits_left() -> list[Commit]:
    """Return the commits one of which is the first bad commit, the newest first."""
    good = git("for-each-ref", "--format=%(refname)", "refs/bisect/good-*").split()
    return [commit_of(sha) for sha in git("rev-list", "refs/bisect/bad", "--not", *good).split()]


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            [*_GIT, *arguments],
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except OSError as error:
        raise BisectError(f"git can't be started: {error.strerror}; install git") from None


def _failed(done: subprocess.CompletedProcess[str]) -> BisectError:
    said = (done.stderr.strip() or done.stdout.strip()).splitlines()
    return BisectError(f"`git {' '.join(done.args[len(_GIT) :])}` failed: {'; '.join(said[:3])}")

"""Linters of others: actionlint with shellcheck on workflows, shellcheck on GitLab's scripts."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from tests.docs.recipe_jobs import RECIPES, find, gitlab_script, needs
from tests.support import ROOT

WORKFLOWS = sorted([*RECIPES.glob("github-*.yml"), *(ROOT / ".github/workflows").glob("*.yml")])
# Jobs of GitLab whose image has no bash.
POSIX = [
    ("gitlab-comment.yml", "tvmtune-comment"),
    ("gitlab-nightly.yml", "tvmtune-issues"),
    ("gitlab-nightly.yml", "tvmtune-badge"),
]


def actionlint(path: Path) -> str:
    """Return the complaints about a workflow."""
    command = [find("actionlint") or "actionlint", f"-shellcheck={find('shellcheck')}", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode in {0, 1}, done.stderr
    return done.stdout


def shellcheck(script: str) -> str:
    """Return the complaints about a script for a POSIX shell."""
    command = [find("shellcheck") or "shellcheck", "--shell=sh", "-"]
    done = subprocess.run(command, input=script, capture_output=True, text=True, check=False)
    assert done.returncode in {0, 1}, done.stderr
    return done.stdout


@needs("actionlint", "shellcheck")
@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_actionlint_has_no_complaint(path: Path) -> None:
    assert actionlint(path) == ""


@needs("actionlint", "shellcheck")
def test_actionlint_sees_what_would_let_a_fork_in(tmp_path: Path) -> None:
    path = tmp_path / ".github/workflows/comment.yml"
    path.parent.mkdir(parents=True)
    text = (RECIPES / "github-comment.yml").read_text()
    hostile = "${{ github.head_ref }}"
    path.write_text(text.replace('echo "$mark"', f'echo "{hostile}"'))
    assert "potentially untrusted" in actionlint(path)
    path.write_text(text.replace('"$pull"', "$pull"))
    assert "SC2086" in actionlint(path)


@needs("shellcheck")
@pytest.mark.parametrize(("recipe", "job"), POSIX)
def test_scripts_without_bash(recipe: str, job: str) -> None:
    script = gitlab_script(recipe, job)
    assert shellcheck(script) == ""
    assert "SC3011" in shellcheck(f"{script}\njq . <<< text\n")


def test_jobs_that_run_the_projects_code_may_only_read() -> None:
    for path in RECIPES.glob("github-*.yml"):
        workflow = yaml.safe_load(path.read_text())
        for job in workflow["jobs"].values():
            rights = {**workflow["permissions"], **job.get("permissions", {})}
            steps = job["steps"]
            runs_code = any("pip install" in step.get("run", "") for step in steps)
            checks_out = any("checkout" in step.get("uses", "") for step in steps)
            if runs_code or checks_out:
                assert {*rights.values()} == {"read"}
            else:
                assert "write" in rights.values()

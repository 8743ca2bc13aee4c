"""The recipes for CI: what the vendors' schemas say, and the commands, run as two jobs would."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.docs.documents import Reader
from tests.docs.recipe_jobs import RECIPES, gitlab_script, step
from tests.support.preloaded_python import PreloadedPython

GITHUB, GITLAB = RECIPES / "github-actions.yml", RECIPES / "gitlab-ci.yml"
GITHUBS_OWN = ("vendor.github-workflows",)
GITLABS_OWN = ("vendor.gitlab-ci", "--data-transform", "gitlab-ci")
CHECKS = {
    **dict.fromkeys(RECIPES.glob("github-*.yml"), GITHUBS_OWN),
    **dict.fromkeys(RECIPES.glob("gitlab-*.yml"), GITLABS_OWN),
}
# What takes a network, or is run by test_posting_recipes.py.
OUTSIDE = ("pip ", "rm -f ", "runs=$(gh", "call()")
TEST = """
import numpy as np
import pytest
from tvm.relax.frontend import nn

SPEC = {"forward": {"x": nn.spec.Tensor((1, 8), "float32")}}


@pytest.mark.tvm_tune(trials=0)
def test_relu(tvm_tune):
    x = np.ones((1, 8), "float32")
    tvm_tune(nn.ReLU(), spec=SPEC, inputs=[x]).check(x)
"""


@pytest.mark.parametrize("path", CHECKS, ids=lambda path: path.stem)
def test_the_vendors_schema(path: Path, tmp_path: Path) -> None:
    def errors(recipe: Path) -> str:
        command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", *CHECKS[path]]
        done = subprocess.run([*command, recipe], capture_output=True, text=True, check=False)
        return "" if done.returncode == 0 else done.stdout + done.stderr

    assert errors(path) == ""
    broken = tmp_path / path.name
    broken.write_text(path.read_text().replace("if: ", "iff: "))
    assert "iff" in errors(broken)


def scripts(event: str) -> list[str]:
    """Return the scripts of GitHub's steps for `push` or `pull_request` that can be run here."""
    (job,) = yaml.safe_load(GITHUB.read_text())["jobs"].values()
    steps: list[dict[str, Any]] = job["steps"]
    other = {"push": "== 'pull_request'", "pull_request": "!= 'pull_request'"}[event]
    return [
        step["run"]
        for step in steps
        if "run" in step and other not in step.get("if", "") and not step["run"].startswith(OUTSIDE)
    ]


def gitlab_scripts(job: str) -> list[str]:
    jobs = yaml.safe_load(GITLAB.read_text())
    lines = [*jobs[jobs[job]["extends"]]["before_script"], *jobs[job]["script"]]
    return [line for line in lines if not line.startswith(OUTSIDE)]


def test_main_accepts_and_a_pull_request_is_gated(
    tmp_path: Path, preloaded_python: PreloadedPython
) -> None:
    main = Reader(folder=tmp_path / "main", programs=preloaded_python.folder)
    main.folder.mkdir()
    (main.folder / "test_relu.py").write_text(TEST)
    for script in scripts("push"):
        main.shell(script, 0, TVMTUNE_ANCHOR="yes")
    names = {path.name for path in main.folder.iterdir()}
    assert {"tvmtune.html", "tvmtune.json", "junit.xml", "baselines.zip"} <= names

    pull = Reader(folder=tmp_path / "pull", programs=preloaded_python.folder)
    pull.folder.mkdir()
    # A test that main has, and one that is new.
    (pull.folder / "test_relu.py").write_text(TEST + TEST.replace("test_relu", "test_new"))
    (main.folder / "baselines.zip").rename(pull.folder / "baselines.zip")
    summary = tmp_path / "summary.md"
    for script in scripts("pull_request"):
        pull.shell(script, 0, GITHUB_STEP_SUMMARY=str(summary), GITHUB_ACTIONS="true")
    cases = json.loads((pull.folder / "tvmtune.json").read_text())["cases"]
    assert {case["name"]: case["latency"]["verdict"] for case in cases} == {
        "relu": "PASS",
        "new": "NEW",
    }
    compared = {case["name"]: case["latency_comparisons"] for case in cases}
    assert [one["compared_with"] for one in compared["relu"]] == ["the anchor"]
    assert compared["new"] == []
    assert "| Change |" in summary.read_text()


def test_a_night_is_compared_with_the_last_that_was_accepted(
    tmp_path: Path, preloaded_python: PreloadedPython
) -> None:
    def night(name: str, update: str) -> tuple[list[dict[str, str]], str]:
        reader = Reader(folder=tmp_path / name, programs=preloaded_python.folder)
        (reader.folder / "test_relu.py").write_text(TEST)
        for step_name in ("Restore the baselines", "Gate the main branch", "Export the baselines"):
            script = step("github-nightly.yml", "gate", step_name)
            reader.shell(script, 0, TVMTUNE_UPDATE=update)
        issues = json.loads((reader.folder / "issues.json").read_text())
        return issues, json.loads((reader.folder / "badge.json").read_text())["message"]

    (tmp_path / "first").mkdir()
    # A new case is neither good nor bad.
    assert night("first", "--tvm-update") == ([], "1 of 1 case new")
    (tmp_path / "second").mkdir()
    (tmp_path / "first/baselines.zip").rename(tmp_path / "second/baselines.zip")
    (issue,), message = night("second", "--tvm-update-new")
    assert message == "1 case passed"
    assert issue["state"] == "closed"
    assert "| PASS |" in issue["body"]
    assert "same code" in issue["body"]


def test_gitlabs_night_runs_the_same_command() -> None:
    ours = step("github-nightly.yml", "gate", "Gate the main branch")
    script = gitlab_script("gitlab-nightly.yml", "tvmtune-night")
    assert script.strip() == ours.strip().replace('"$TVMTUNE_UPDATE"', "--tvm-update-new")
    # The cache has what each merge accepted: main would be compared with itself.
    jobs = yaml.safe_load((RECIPES / "gitlab-nightly.yml").read_text())
    assert [jobs[name]["cache"] for name in ("tvmtune-night-accept", "tvmtune-night")] == [[], []]


@pytest.mark.parametrize(
    ("event", "job"), [("pull_request", "tvmtune-gate"), ("push", "tvmtune-accept")]
)
def test_gitlab_runs_the_same_commands(event: str, job: str) -> None:
    def commands(lines: list[str]) -> set[str]:
        # GitHub's main branch has a summary without being asked for.
        return {line.strip().removesuffix(" --tvm-markdown=tvmtune.md") for line in lines}

    assert commands(gitlab_scripts(job)) == commands(scripts(event))


@pytest.mark.parametrize("path", CHECKS, ids=lambda path: path.stem)
def test_every_script_is_one_for_the_shell(path: Path) -> None:
    def found(value: Any) -> list[str]:
        if isinstance(value, dict):
            own = [*value.get("before_script", []), *value.get("script", [])]
            own += [value["run"]] if "run" in value else []
            return own + [one for inner in value.values() for one in found(inner)]
        return [one for inner in value for one in found(inner)] if isinstance(value, list) else []

    lines = found(yaml.safe_load(path.read_text()))
    assert lines
    for line in lines:
        subprocess.run(["bash", "-n", "-c", line], check=True)

"""The project's own workflows, templates and metadata: valid, and in agreement with each other."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.support import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

GITHUB = ROOT / ".github"
SCHEMAS = {
    GITHUB / "dependabot.yml": "vendor.dependabot",
    **dict.fromkeys(GITHUB.glob("ISSUE_TEMPLATE/*.yml"), "vendor.github-issue-forms"),
    **dict.fromkeys(GITHUB.glob("workflows/*.yml"), "vendor.github-workflows"),
}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
WORKFLOWS = {path.stem: yaml.safe_load(path.read_text()) for path in GITHUB.glob("workflows/*")}


@pytest.mark.parametrize("path", SCHEMAS, ids=lambda path: path.stem)
def test_the_vendors_schema(path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "check_jsonschema",
        "--builtin-schema",
        SCHEMAS[path],
        str(path),
    ]
    subprocess.run(command, check=True)


def test_every_python_that_is_claimed_is_tested() -> None:
    claimed = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["classifiers"]))
    assert PROJECT["requires-python"] == f">={claimed[0]}"
    assert WORKFLOWS["test"]["jobs"]["test"]["strategy"]["matrix"]["python"] == claimed


def test_workflows_may_only_read_and_end_in_time() -> None:
    assert {*WORKFLOWS} == {"test", "publish"}
    for workflow in WORKFLOWS.values():
        assert workflow["permissions"] == {"contents": "read"}
        assert all(job["timeout-minutes"] <= 90 for job in workflow["jobs"].values())


def test_what_make_is_asked_for_is_there() -> None:
    runs = [step.get("run", "") for workflow in WORKFLOWS.values()
            for job in workflow["jobs"].values() for step in job["steps"]]  # fmt: skip
    commands = [run for run in runs if run.startswith("make ")]
    assert commands
    contributing = (ROOT / "CONTRIBUTING.md").read_text()
    commands += sorted(set(re.findall(r"`(make [\w-]+)`", contributing)))
    for command in commands:
        subprocess.run([*command.split(), "-n"], cwd=ROOT, stdout=subprocess.DEVNULL, check=True)


def test_hooks_before_a_commit_run_what_lint_runs() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    programs = {hook["entry"].split()[0].rpartition("/")[2] for hook in hooks}
    recipe = (ROOT / "Makefile").read_text().partition("\nlint:")[2].partition("\n\n")[0]
    assert set(re.findall(r"\$\(BIN\)/([\w-]+)", recipe)) <= programs


@pytest.mark.parametrize("pattern", ["test_*.py", "*_test.py", "conftest.py"])
def test_pytest_takes_no_module_of_the_package_for_a_test(pattern: str) -> None:
    """It would collect them wherever the package is below the rootdir."""
    assert list((ROOT / "pytest_tvmtune").rglob(pattern)) == []

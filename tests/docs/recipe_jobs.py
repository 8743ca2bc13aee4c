"""The recipes' jobs: their scripts, and the programs that they use here."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from pytest_tvmtune.report.report_files import write_reports
from tests.docs.documents import Reader
from tests.support import ROOT
from tests.support.fake_forge import Forge

RECIPES = ROOT / "docs/recipes"
# Set by the gate, which installs them: there the tests must not be skipped.
ARE_REQUIRED = os.environ.get("TVMTUNE_TEST_RECIPES") == "required"


def needs(*programs: str) -> pytest.MarkDecorator:
    """Skip a test without these programs, unless they are required."""
    missing = [name for name in programs if find(name) is None]
    return pytest.mark.skipif(
        bool(missing) and not ARE_REQUIRED, reason=f"needs {' and '.join(missing)}"
    )


def find(program: str) -> str | None:
    """Return the path of a program, of this environment or else of the machine."""
    here = Path(sys.executable).with_name(program)
    return str(here) if here.exists() else shutil.which(program)


def job_steps(recipe: str, job: str) -> dict[str, dict[str, Any]]:
    """Return the steps of a job of GitHub's that have a name, by it."""
    steps = yaml.safe_load((RECIPES / recipe).read_text())["jobs"][job]["steps"]
    return {one["name"]: one for one in steps if "name" in one}


def step(recipe: str, job: str, name: str) -> str:
    """Return the script of a step of a job of GitHub's."""
    script: str = job_steps(recipe, job)[name]["run"]
    return script


def gitlab_script(recipe: str, job: str) -> str:
    """Return the script of a job of GitLab's."""
    (script,) = yaml.safe_load((RECIPES / recipe).read_text())[job]["script"]
    assert isinstance(script, str)
    return script


def run(folder: Path, forge: Forge, script: str, **environment: str) -> str:
    """Run a script as a job in an empty folder with these reports, and return what it prints."""
    reader = Reader(folder=folder, environment=forge.environment)
    settings = {"GH_CONFIG_DIR": str(folder / "gh"), "GH_NO_UPDATE_NOTIFIER": "1"}
    reader.shell(script, 0, **settings, **environment)
    return reader.printed


def written(folder: Path, report: Mapping[str, Any], **names: str) -> dict[str, str]:
    """Write reports of these names by kind, and return their texts."""
    folder.mkdir(parents=True, exist_ok=True)
    assert write_reports(report, {kind: folder / name for kind, name in names.items()}) == []
    return {name: (folder / name).read_text(encoding="utf-8") for name in names.values()}

"""The reference names all that the code has: options, marker, fixtures, hooks, commands, files."""

from __future__ import annotations

import argparse
import importlib
import inspect
import pkgutil
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import pytest_tvmtune
from pytest_tvmtune import cli, plugin
from pytest_tvmtune.core.settings.parsing import default_of
from pytest_tvmtune.core.settings.table import BY_NAME, SETTINGS, Setting
from pytest_tvmtune.plugin import hookspec
from pytest_tvmtune.plugin.run import Run
from pytest_tvmtune.plugin.tune_fixture import TvmTune
from pytest_tvmtune.report.json_report import report_schema
from pytest_tvmtune.store.layout import open_store
from tests.docs.documents import clean_environment
from tests.support import ROOT

DOCS = ROOT / "docs"
REFERENCE = (DOCS / "reference/reference.md").read_text()


def section(title: str) -> str:
    """Return what stands below a heading, up to the next of its level or above."""
    start = re.search(rf"^(#+) {re.escape(title)}$", REFERENCE, re.MULTILINE)
    assert start is not None, title
    rest = REFERENCE[start.end() :]
    end = re.search(rf"^#{{2,{len(start[1])}}} ", rest, re.MULTILINE)
    return rest[: end.start()] if end else rest


def rows(title: str) -> dict[str, list[str]]:
    """Return the rows of the first table of a section, by each name in their first cell."""
    found: dict[str, list[str]] = {}
    for line in section(title).splitlines():
        if line.startswith("|"):
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            names = re.findall(r"`([^`]+)`", cells[0]) or [cells[0]]
            found |= dict.fromkeys(names, cells[1:])
        elif found:
            break
    return {name: cells for name, cells in found.items() if not set(name) <= set("-:")}


SETTING_ROWS = rows("Settings")


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_each_setting_and_where_it_may_stand(setting: Setting) -> None:
    marker, default, _accepted = SETTING_ROWS[setting.name]
    assert marker.startswith("yes") == (setting.in_marker and setting.on_command_line)
    assert marker.startswith("marker only") == (not setting.on_command_line)
    assert marker == "no" or setting.in_marker
    value = default_of(setting.name)
    if isinstance(value, (int, str)) and not isinstance(value, bool):
        assert str(value) in default
    if isinstance(value, bool):
        assert default.startswith("on" if value else "off")


def test_no_setting_is_made_up() -> None:
    assert set(SETTING_ROWS) - {"name"} == set(BY_NAME)


def test_what_pytest_itself_says() -> None:
    command = [sys.executable, "-m", "pytest", "--help"]
    done = subprocess.run(
        command,
        env=clean_environment(Path(sys.executable).parent),
        capture_output=True,
        text=True,
        check=True,
    )
    flags = set(re.findall(r"^ +(--tvm-[a-z-]+)", done.stdout, re.MULTILINE))
    keys = set(re.findall(r"^ +(tvm_[a-z_]+) \(", done.stdout, re.MULTILINE))
    own = {setting.flag for setting in SETTINGS if setting.on_command_line}
    assert own < flags
    assert keys == {setting.ini for setting in SETTINGS if setting.on_command_line}
    text = "".join(path.read_text() for path in DOCS.glob("**/*.md"))
    for flag in flags - own:
        assert f"`{flag}" in text, flag
    # The other way round: no document names an option that isn't there.
    named = set(re.findall(r"--tvm-[a-z]+(?:-[a-z]+)*", text + (ROOT / "README.md").read_text()))
    assert named - flags == set()


def test_each_fixture_and_all_that_it_takes() -> None:
    text = section("Fixtures")
    fixtures = [name for name in plugin.__all__ if name.startswith("tvm_")]
    assert len(fixtures) == 3
    for name in fixtures:
        assert re.search(rf"\*\*`{name}[`(]", text), name
    for name in list(inspect.signature(TvmTune.__call__).parameters)[1:]:
        assert re.search(rf"\b{name}\b", text.split("**Run**")[0]), name


def test_each_public_name_of_a_run() -> None:
    text = section("Fixtures") + section("pytest-benchmark")
    for name in dir(Run):
        if not name.startswith("_"):
            assert re.search(rf"`(run\.)?{name}\b", text), name


def test_the_page_made_from_docstrings_is_up_to_date() -> None:
    made = runpy.run_path(str(DOCS / "make_api.py"))["page"]()
    assert (DOCS / "reference/api.md").read_text() == made, "run make reference"
    for name in pytest_tvmtune.__all__:
        assert f"## {name}\n" in made or name == "TvmTune"


def test_each_hook_with_its_arguments() -> None:
    hooks = {
        f"{name}({', '.join(inspect.signature(function).parameters)})"
        for name, function in vars(hookspec).items()
        if name.startswith("pytest_")
    }
    assert set(rows("Hooks")) - {"hook"} == hooks


def test_each_exit_code() -> None:
    codes = {str(int(code)) for code in pytest.ExitCode}
    # Code 6 came with pytest 9.
    assert set(rows("Exit codes")) - {"code"} == codes | {"6"}


def commands() -> dict[str, argparse.ArgumentParser]:
    """Return the parsers of all commands, by their names."""
    top = argparse.ArgumentParser().add_subparsers()
    common = argparse.ArgumentParser(add_help=False)
    for module in pkgutil.iter_modules(cli.__path__):
        add = getattr(importlib.import_module(f"{cli.__name__}.{module.name}"), "add_parser", None)
        if add is not None:
            add(top, common)
    found: dict[str, argparse.ArgumentParser] = {}
    for name, parser in top.choices.items():
        inner = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
        if inner:
            found |= {f"{name} {below}": one for below, one in inner[0].choices.items()}
        else:
            found[name] = parser
    return found


@pytest.mark.parametrize("name", commands())
def test_each_command_with_its_options(name: str) -> None:
    usages = [row for row in rows("The command `tvmtune`") if f"{row} ".startswith(f"{name} ")]
    assert usages, name
    text = " ".join(usages) + section("The command `tvmtune`").split("|")[0]
    for action in commands()[name]._actions:
        for option in action.option_strings:
            if option.startswith("--") and option != "--help":
                assert option in text, option


def test_no_command_is_made_up() -> None:
    names = set(commands())
    for row in rows("The command `tvmtune`"):
        words = row.split()
        assert row == "command" or words[0] in names or " ".join(words[:2]) in names, row


def schema_keys(value: Any) -> set[str]:
    """Return the names of all properties in a JSON Schema."""
    if isinstance(value, list):
        return {key for one in value for key in schema_keys(one)}
    if not isinstance(value, dict):
        return set()
    own = set(value["properties"]) if isinstance(value.get("properties"), dict) else set()
    return own | {key for one in value.values() for key in schema_keys(one)}


def test_each_key_of_the_json_report() -> None:
    text = (DOCS / "reference/json.md").read_text()
    keys = schema_keys(report_schema())
    assert len(keys) > 80
    assert {key for key in keys if not re.search(rf"`{key}`", text)} == set()


def test_each_part_of_the_store(tmp_path: Path) -> None:
    text = (DOCS / "reference/files.md").read_text()
    ignored = (open_store(tmp_path / "store").root / ".gitignore").read_text().splitlines()
    parts = [line.rstrip("*") for line in ignored if line and line[0] not in "#*"]
    assert len(parts) > 8
    for part in [*parts, "tuning/", "baselines/"]:
        assert part in text, part

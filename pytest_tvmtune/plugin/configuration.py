"""The command line, the ini file, and the environment, resolved once into a frozen value."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pytest_tvmtune.core.errors import OptionError
from pytest_tvmtune.core.settings.options import RunOptions, resolve_run
from pytest_tvmtune.core.settings.parsing import DIR, first_set, parse_setting
from pytest_tvmtune.core.settings.rpc_address import rpc_of_environment
from pytest_tvmtune.core.settings.table import BY_NAME, REPORTS, SETTINGS
from pytest_tvmtune.plugin.option_declarations import TARGETS_VARIABLE


def run_options(config: pytest.Config) -> RunOptions:
    """Return the options of the whole run.

    Args:
        config: pytest's configuration.

    Returns:
        The options, with the layers from which the options of tests are resolved.

    Raises:
        OptionError: A value isn't accepted. The message names its place.
    """
    command_line: dict[str, Any] = {}
    ini: dict[str, Any] = {}
    for setting in SETTINGS:
        if not setting.on_command_line:
            continue
        given = config.getoption(f"tvm_{setting.name}")
        if given is not None:
            command_line[setting.name] = parse_setting(setting.name, given, setting.flag)
        written = config.getini(setting.ini)
        if written:
            ini[setting.name] = parse_setting(setting.name, written, f"ini {setting.ini}")
    environment: dict[str, Any] = {}
    if named := os.environ.get(TARGETS_VARIABLE, "").strip():
        texts = [text.strip() for text in named.split(";") if text.strip()]
        environment["target"] = parse_setting(
            "target", texts, f"environment variable {TARGETS_VARIABLE}"
        )
    if tracker := rpc_of_environment(os.environ):
        environment["rpc"] = tracker
    # A path on the command line is relative to the current folder, in the ini file to the rootdir.
    _make_absolute(command_line, config.invocation_params.dir)
    _make_absolute(ini, config.rootpath)
    layers = (command_line, ini, environment)
    run = resolve_run(
        *layers,
        store_dir=config.rootpath / first_set(DIR, layers),
        update=bool(config.getoption("tvm_update")),
        update_new=bool(config.getoption("tvm_update_new")),
        update_anchor=bool(config.getoption("tvm_update_anchor")),
    )
    _check_report_paths({name: getattr(run, name) for name in REPORTS})
    return run


def _check_report_paths(paths: Mapping[str, Path | None]) -> None:
    taken: dict[Path, str] = {}
    for name, path in paths.items():
        if path is not None:
            flag = BY_NAME[name].flag
            if (other := taken.setdefault(path, flag)) != flag:
                raise OptionError(f"{flag}: {path} is also the path of {other}; give another path")
            from pytest_tvmtune.report.report_files import check_report_path

            check_report_path(flag, path)


def _make_absolute(layer: dict[str, Any], base: Path) -> None:
    for name, value in layer.items():
        if isinstance(value, Path):
            layer[name] = base / value
        elif isinstance(value, tuple):
            layer[name] = tuple(base / one if isinstance(one, Path) else one for one in value)

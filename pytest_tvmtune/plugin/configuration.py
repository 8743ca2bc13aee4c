"""Command line, ini and environment, resolved once into one frozen value."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pytest

from pytest_tvmtune.core.errors import OptionError
from pytest_tvmtune.core.settings.options import RunOptions
from pytest_tvmtune.core.settings.table import BY_NAME, REPORTS, SETTINGS, Setting
from pytest_tvmtune.plugin import hookspec
from pytest_tvmtune.plugin.benchmark_bridge import Benchmarks
from pytest_tvmtune.plugin.collecting.model_file_items import model_folders
from pytest_tvmtune.plugin.collecting.user_parameters import ParameterNotes
from pytest_tvmtune.plugin.reporting import CaseCollector, started_s
from pytest_tvmtune.plugin.state import STATE, State
from pytest_tvmtune.relax.installation.registrations import start_recording

_MARKER_HELP = (
    "tvm_tune(target=, trials=, prepack=, ...): run the test on a model put through TVM's "
    "static_shape_tuning_pipeline; see https://pypi.org/project/pytest-tvmtune"
)
# Part of the interface already, so that a suite can name them; they refuse to be used.
_NOT_YET = {
    "rpc": ("HOST:PORT/KEY", "tuning and measuring behind a TVM RPC tracker"),
}

_MODELS = "models compiled by TVM and how they are tuned"
_GROUPS = {
    "when a test fails and what is accepted": (
        "threshold",
        "max_size_growth",
        "max_memory_growth",
        "max_time",
        "cold_cache",
        "strict",
    ),
    "where things are kept": ("dir", "store_fallback"),
    "reports": (*REPORTS, "step_summary"),
}


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Register our own hooks, and watch from now on what a conftest registers with TVM."""
    start_recording()
    pluginmanager.add_hookspecs(hookspec)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add every setting as an option and as an ini key."""
    for setting in SETTINGS:
        if not setting.on_command_line:
            continue
        _add_option(_group(parser, setting.name), setting)
        kind: Literal["linelist", "string"] = "linelist" if setting.repeatable else "string"
        parser.addini(
            setting.ini,
            f"{setting.help} (see {setting.flag})".replace("%%", "%"),
            type=kind,
            default=None,
        )
    gate = _group(parser, "threshold")
    gate.addoption(
        "--tvm-update",
        action="store_true",
        dest="tvm_update",
        help="accept the artifacts of this run as baselines, for tests that pass otherwise",
    )
    gate.addoption(
        "--tvm-update-new",
        action="store_true",
        dest="tvm_update_new",
        help="the same, only where nothing was accepted yet",
    )
    for name, (metavar, what) in _NOT_YET.items():
        _group(parser, name).addoption(
            f"--tvm-{name}", dest=f"tvm_{name}", metavar=metavar, help=f"{what} (not there yet)"
        )


def _group(parser: pytest.Parser, name: str) -> Any:
    """Return the group of `pytest --help` that a setting stands in."""
    for title, names in _GROUPS.items():
        if name in names:
            return parser.getgroup(title, f"tvmtune, {title}")
    return parser.getgroup(_MODELS, f"tvmtune, {_MODELS}")


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker and resolve the options; a bad one is a UsageError."""
    config.addinivalue_line("markers", _MARKER_HELP)
    try:
        config.stash[STATE] = State(
            run=_resolve(config),
            started_s=started_s(config),
            model_folders=model_folders(config),
        )
    except OptionError as error:
        raise pytest.UsageError(str(error)) from None
    config.pluginmanager.register(CaseCollector(config), "tvmtune-cases")
    config.pluginmanager.register(ParameterNotes(), "tvmtune-parameters")
    config.pluginmanager.register(Benchmarks(config), "tvmtune-benchmarks")


def _add_option(group: Any, setting: Setting) -> None:
    keywords: dict[str, Any] = {"dest": f"tvm_{setting.name}", "default": None}
    if setting.is_switch:
        # None, not False, when absent: else the ini key could never switch it on.
        keywords["action"] = "store_const"
        keywords["const"] = True
    else:
        keywords["metavar"] = setting.metavar
        keywords["action"] = "append" if setting.repeatable else "store"
    group.addoption(setting.flag, help=setting.help, **keywords)


def _resolve(config: pytest.Config) -> RunOptions:
    for name, (_metavar, what) in _NOT_YET.items():
        if config.getoption(f"tvm_{name}") is not None:
            raise OptionError(
                f"--tvm-{name}: {what} is not there yet in this version; where the device runs "
                "Python and TVM, run pytest on it"
            )
    command_line: dict[str, Any] = {}
    ini: dict[str, Any] = {}
    for setting in SETTINGS:
        if not setting.on_command_line:
            continue
        given = config.getoption(f"tvm_{setting.name}")
        if given is not None:
            command_line[setting.name] = setting.parse(given, setting.flag)
        written = config.getini(setting.ini)
        if written:
            ini[setting.name] = setting.parse(written, f"ini {setting.ini}")
    environment: dict[str, Any] = {}
    if named := os.environ.get("TVM_TEST_TARGETS", "").strip():
        texts = [text.strip() for text in named.split(";") if text.strip()]
        environment["target"] = BY_NAME["target"].parse(
            texts, "environment variable TVM_TEST_TARGETS"
        )
    # A path on the command line is relative to where it was typed, one in the ini to the rootdir.
    _make_absolute(command_line, config.invocation_params.dir)
    _make_absolute(ini, config.rootpath)
    layers = (command_line, ini, environment)
    _check_report_paths({n: RunOptions.first_set(n, layers) for n in REPORTS})
    store_dir: Path = RunOptions.first_set("dir", layers)
    return RunOptions(
        layers=layers,
        store_dir=config.rootpath / store_dir,
        update=bool(config.getoption("tvm_update")),
        update_new=bool(config.getoption("tvm_update_new")),
    )


def _check_report_paths(paths: Mapping[str, Path | None]) -> None:
    taken: dict[Path, str] = {}
    for name, path in paths.items():
        if path is not None:
            flag = BY_NAME[name].flag
            if (other := taken.setdefault(path, flag)) != flag:
                raise OptionError(f"{flag}: {path} is where {other} goes, give another path")
            _check_report_path(flag, path)


def _check_report_path(flag: str, path: Path) -> None:
    """Raise OptionError for a report that can't be written, before anything is run for it."""
    if path.is_dir():
        raise OptionError(f"{flag}: {path} is a folder, give the path of a file")
    parent = next(folder for folder in path.parents if folder.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise OptionError(f"{flag}: nothing can be written below {parent}, give another path")


def _make_absolute(layer: dict[str, Any], base: Path) -> None:
    for name, value in layer.items():
        if isinstance(value, Path):
            layer[name] = base / value
        elif isinstance(value, tuple):
            layer[name] = tuple(base / one if isinstance(one, Path) else one for one in value)

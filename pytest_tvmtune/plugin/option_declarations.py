"""The options and ini keys, declared in every session; plugin.configuration resolves them."""

from __future__ import annotations

import os
from typing import Any, Literal

import pytest

from pytest_tvmtune.core.settings.table import REPORTS, SETTINGS, Setting
from pytest_tvmtune.plugin import hookspec
from pytest_tvmtune.plugin.hooks_always import ParameterNotes, load_rest
from pytest_tvmtune.relax.installation.registrations import start_recording

_MARKER_HELP = (
    "tvm_tune(target=, trials=, prepack=, ...): run the test on a model put through TVM's "
    "static_shape_tuning_pipeline; see https://pypi.org/project/pytest-tvmtune"
)
# Part of the interface already, so that a suite can name them; they refuse to be used.
NOT_YET = {
    "rpc": ("HOST:PORT/KEY", "tuning and measuring behind a TVM RPC tracker"),
}
TARGETS_VARIABLE = "TVM_TEST_TARGETS"

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
    for name, (metavar, what) in NOT_YET.items():
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
    """Register the marker; where anything is set, resolve it: a bad value is a UsageError."""
    config.addinivalue_line("markers", _MARKER_HELP)
    config.pluginmanager.register(ParameterNotes(), "tvmtune-parameters")
    if _is_anything_set(config):
        load_rest(config)


def _is_anything_set(config: pytest.Config) -> bool:
    options = vars(config.option).items()
    return (
        any(
            value is not None and value is not False
            for name, value in options
            if name.startswith("tvm_")
        )
        or any(config.getini(one.ini) for one in SETTINGS if one.on_command_line)
        or bool(os.environ.get(TARGETS_VARIABLE))
    )


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

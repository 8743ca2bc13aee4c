"""The options and ini keys, declared in every session; `plugin.configuration` resolves them."""

from __future__ import annotations

import os
from typing import Any, Literal

import pytest

from pytest_tvmtune.core.settings.rpc_address import TRACKER_VARIABLES
from pytest_tvmtune.core.settings.table import REPORTS, SETTINGS, Setting
from pytest_tvmtune.plugin import hookspec
from pytest_tvmtune.plugin.hooks_always import ParameterNotes, load_rest
from pytest_tvmtune.relax.installation.registrations import start_recording

_MARKER_HELP = (
    "tvm_tune(target=, trials=, prepack=, ...): set how the test tunes, compiles, and checks its "
    "models with TVM's static_shape_tuning_pipeline; see https://pypi.org/project/pytest-tvmtune"
)
TARGETS_VARIABLE = "TVM_TEST_TARGETS"

_MODELS = "compiling and tuning models with TVM"
_GROUPS = {
    "limits that fail a test, and accepting": (
        "threshold",
        "max_drift",
        "max_size_growth",
        "max_memory_growth",
        "max_kernel_growth",
        "max_peak_memory_growth",
        "max_compile_time_growth",
        "max_tuning_time_growth",
        "max_time",
        "cold_cache",
        "strict",
    ),
    "the store": ("dir", "store_fallback"),
    "reports": (*REPORTS, "roofline", "peak_memory", "step_summary"),
}


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Register the plugin's hooks, and start to record registrations with TVM."""
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
        help="accept the artifacts of this run as baselines, if their tests pass all other checks",
    )
    gate.addoption(
        "--tvm-update-new",
        action="store_true",
        dest="tvm_update_new",
        help="accept the artifacts of cases that have no baseline, if their tests pass",
    )
    gate.addoption(
        "--tvm-update-anchor",
        action="store_true",
        dest="tvm_update_anchor",
        help="accept the artifacts of this run as the anchors that drift is measured from",
    )


def _group(parser: pytest.Parser, name: str) -> Any:
    """Return the group of a setting in `pytest --help`."""
    for title, names in _GROUPS.items():
        if name in names:
            return parser.getgroup(title, f"tvmtune, {title}")
    return parser.getgroup(_MODELS, f"tvmtune, {_MODELS}")


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker. If a setting has a value, resolve all; a bad value is a UsageError."""
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
        or all(os.environ.get(name) for name in TRACKER_VARIABLES)
    )


def _add_option(group: Any, setting: Setting) -> None:
    keywords: dict[str, Any] = {"dest": f"tvm_{setting.name}", "default": None}
    if setting.is_switch:
        # If it's absent, it's None, not False. Otherwise, the ini key could never switch it on.
        keywords["action"] = "store_const"
        keywords["const"] = True
    else:
        keywords["metavar"] = setting.metavar
        keywords["action"] = "append" if setting.repeatable else "store"
    group.addoption(setting.flag, help=setting.help, **keywords)

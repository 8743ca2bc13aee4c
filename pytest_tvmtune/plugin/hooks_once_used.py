"""The hooks of a session that uses the plugin, and their state; hooks_always loads them."""

from __future__ import annotations

import pytest

from pytest_tvmtune.core.errors import OptionError
from pytest_tvmtune.plugin.benchmark_bridge import Benchmarks
from pytest_tvmtune.plugin.collecting.collection import (
    pytest_collection_modifyitems,
    pytest_itemcollected,
    pytest_report_collectionfinish,
)
from pytest_tvmtune.plugin.collecting.model_file_items import model_folders
from pytest_tvmtune.plugin.configuration import run_options
from pytest_tvmtune.plugin.reporting import (
    CaseCollector,
    pytest_pyfunc_call,
    pytest_runtest_call,
    pytest_runtest_makereport,
    pytest_sessionfinish,
    pytest_terminal_summary,
    started_s,
)
from pytest_tvmtune.plugin.state import STATE, State

__all__ = [
    "more_plugins",
    "pytest_collection_modifyitems",
    "pytest_itemcollected",
    "pytest_pyfunc_call",
    "pytest_report_collectionfinish",
    "pytest_runtest_call",
    "pytest_runtest_makereport",
    "pytest_sessionfinish",
    "pytest_terminal_summary",
    "start",
]


def start(config: pytest.Config) -> None:
    """Resolve the options and keep the session's state.

    Args:
        config: pytest's configuration.

    Raises:
        pytest.UsageError: An option or an ini key has a value that isn't accepted.
    """
    try:
        config.stash[STATE] = State(
            run=run_options(config),
            started_s=started_s(config),
            model_folders=model_folders(config),
        )
    except OptionError as error:
        raise pytest.UsageError(str(error)) from None


def more_plugins(config: pytest.Config) -> dict[str, object]:
    """Return the plugins whose hooks need the config, by name, to register after this module."""
    return {
        "tvmtune-cases": CaseCollector(config),
        "tvmtune-benchmarks": Benchmarks(config),
    }

"""The hooks of every session. They notice the first use of the plugin, and load the rest of it.

A session uses the plugin if it has a test with one of its fixtures, an ONNX file, an option, or an
ini key. Until then, nothing else is imported, so a suite without models starts as fast as before.
"""

from __future__ import annotations

import unittest
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import pytest

from pytest_tvmtune.plugin.collecting.case_items import (
    CASE_FIXTURE,
    FIXTURES,
    MARKER,
    is_case,
    is_marked,
)

_REST = "tvmtune-rest"


def load_rest(config: pytest.Config) -> None:
    """Load and register the rest of the plugin, once.

    Args:
        config: pytest's configuration.

    Raises:
        pytest.UsageError: An option or an ini key has a value that isn't accepted.
    """
    if not config.pluginmanager.has_plugin(_REST):
        from pytest_tvmtune.plugin import hooks_once_used

        hooks_once_used.start(config)
        config.pluginmanager.register(hooks_once_used, _REST)
        for name, plugin in hooks_once_used.more_plugins(config).items():
            config.pluginmanager.register(plugin, name)


class ParameterNotes:
    """The hook that notes, while items are made, where their parameters come from.

    It's a separate plugin, because it wraps the hooks of other plugins, and the hook of this
    module comes last.
    """

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> Generator[None, None, None]:
        """Watch the calls of `metafunc.parametrize`."""
        if CASE_FIXTURE not in metafunc.fixturenames:
            return (yield)
        load_rest(metafunc.config)
        from pytest_tvmtune.plugin.collecting.user_parameters import parameters_noted

        with parameters_noted(metafunc):
            return (yield)


@pytest.hookimpl(trylast=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make an item for each target and prepack choice; these come last in an item's id."""
    definition = metafunc.definition
    if CASE_FIXTURE in metafunc.fixturenames:
        from pytest_tvmtune.plugin.collecting.collection import make_items

        make_items(metafunc)
    # A marker on the class or module can be for other tests in it.
    elif any(mark.name == MARKER for mark in definition.own_markers):
        raise pytest.Collector.CollectError(
            f"{definition.nodeid} has the marker {MARKER} but none of the fixtures "
            f"{FIXTURES}: add a fixture, or remove the marker"
        )


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_pycollect_makeitem(
    collector: pytest.Collector, name: str, obj: object
) -> Generator[None, Any, Any]:
    """Check the markers of parameters, which are known only after items are made."""
    made = yield
    if isinstance(obj, type) and issubclass(obj, unittest.TestCase):
        _check_test_case(collector, name, obj)
    for item in made if isinstance(made, list) else ():
        if is_case(item):
            from pytest_tvmtune.plugin.collecting.collection import check_item

            check_item(item)
    return made


def _check_test_case(collector: pytest.Collector, name: str, cls: type[unittest.TestCase]) -> None:
    """Raise CollectError for a marked unittest class, or one with a marked method."""
    nodeid = f"{collector.nodeid}::{name}"
    marked = [nodeid] if is_marked(vars(cls)) else []
    for method in unittest.defaultTestLoader.getTestCaseNames(cls):
        if is_marked(getattr(getattr(cls, method), "__dict__", {})):
            marked.append(f"{nodeid}::{method}")
    if marked:
        raise pytest.Collector.CollectError(
            f"{marked[0]} has the marker {MARKER}, but pytest gives methods of unittest.TestCase "
            f"no fixtures ({FIXTURES}): write a test function, or a class that doesn't derive "
            "from unittest.TestCase"
        )


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect an ONNX file that the command line names, or that `tvm_collect` selects."""
    if file_path.suffix != ".onnx":
        return None
    load_rest(parent.config)
    from pytest_tvmtune.plugin.collecting.model_file_items import collect_model_file

    return collect_model_file(file_path, parent)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config: pytest.Config, specs: Sequence[Any]) -> None:  # noqa: ARG001
    """Load the rest in xdist's controller, which reports tests but doesn't collect them."""
    load_rest(config)

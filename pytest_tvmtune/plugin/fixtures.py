"""The fixtures: `tvm_tune`, `tvm_target`, `tvm_device`."""

from __future__ import annotations

import unittest
from typing import TYPE_CHECKING, Any

import pytest

from pytest_tvmtune.plugin.collecting.case_items import is_case

if TYPE_CHECKING:
    from pytest_tvmtune.core.settings.options import CaseOptions
    from pytest_tvmtune.plugin.tune_fixture import TvmTune


@pytest.fixture
def _tvmtune_case(request: pytest.FixtureRequest) -> CaseOptions:
    """Return the options of this item: a target and a prepack choice."""
    item: pytest.Item = request.node
    if not is_case(item):
        pytest.fail(_no_case(item), pytrace=False)
    assert isinstance(item, pytest.Function)
    from pytest_tvmtune.plugin.attempts import begin_function

    return begin_function(item)


def _no_case(item: pytest.Item) -> str:
    fixtures = "tvm_tune, tvm_target and tvm_device"
    if isinstance(item, pytest.DoctestItem):
        return f"{item.nodeid}: a doctest can't use {fixtures}: write a test function"
    cls = getattr(item, "cls", None)
    if cls is not None and issubclass(cls, unittest.TestCase):
        return (
            f"{item.nodeid}: a method of unittest.TestCase can't use {fixtures}: write a test "
            "function, or a class that doesn't derive from unittest.TestCase"
        )
    return (
        f"getfixturevalue can't return {fixtures}, because a test needs an item for each target: "
        "make them arguments of the test, or of the function of a BDD scenario, or use "
        '@pytest.mark.usefixtures("tvm_tune")'
    )


@pytest.fixture
def tvm_target(_tvmtune_case: CaseOptions) -> Any:
    """The `tvm.target.Target` of this test item, canonical and with `num-cores`."""
    from pytest_tvmtune.relax.devices.targets import resolve_target

    return resolve_target(_tvmtune_case.target)


@pytest.fixture
def tvm_device(tvm_target: Any) -> Any:
    """The `tvm.runtime.Device` of this test item's target."""
    from pytest_tvmtune.relax.devices.targets import device_of

    return device_of(tvm_target)


@pytest.fixture
def tvm_tune(request: pytest.FixtureRequest, _tvmtune_case: CaseOptions) -> TvmTune:
    """Takes a model, params=, inputs=, entry=, name=, shapes=, spec=, pipeline=; returns a Run.

    It tunes the tasks that need it, and compiles, loads, and runs the model once, for the target
    and the prepack choice of this test item. The annotation is `pytest_tvmtune.TvmTune`. Example:

        @pytest.mark.tvm_tune(trials=64, prepack="both")
        def test_mlp(tvm_tune):
            run = tvm_tune("mlp.onnx", inputs={"x": x})
            run.check(expected)

    `python -c "import pytest_tvmtune; help(pytest_tvmtune.TvmTune)"` describes each argument.
    """
    from pytest_tvmtune.plugin.state import ITEM_STATE
    from pytest_tvmtune.plugin.tune_fixture import tvm_tune_of

    return tvm_tune_of(request.node, request.node.stash[ITEM_STATE])

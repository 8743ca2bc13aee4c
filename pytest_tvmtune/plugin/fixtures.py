"""The fixtures: `tvm_tune`, `tvm_target`, `tvm_device`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_tvmtune.core.options import CaseOptions
from pytest_tvmtune.core.results import choice_of
from pytest_tvmtune.plugin.state import ITEM_STATE, ItemState, Origin

if TYPE_CHECKING:
    from pytest_tvmtune.plugin.tune import TvmTune


@pytest.fixture
def _tvmtune_case(request: pytest.FixtureRequest) -> CaseOptions:
    """Return this item's options: one target, prepacked or not."""
    options = getattr(request, "param", None)
    if options is None:
        pytest.fail(
            "tvm_tune, tvm_target and tvm_device can't be had through getfixturevalue: name them "
            "among the test's arguments, so that it becomes one item a target",
            pytrace=False,
        )
    assert isinstance(options, CaseOptions)
    request.node.stash[ITEM_STATE] = ItemState(
        options=options, origin=_origin(request.node, options)
    )
    return options


def _origin(item: pytest.Function, options: CaseOptions) -> Origin:
    own = choice_of(options.target.name, prepack=options.prepack)
    return Origin(
        nodeid=item.nodeid,
        path=item.path,
        rootdir=item.config.rootpath,
        name=item.originalname.removeprefix("test_"),
        cls="" if item.cls is None else item.cls.__qualname__,
        function=item.originalname,
        params=item.callspec.id.removesuffix(own).removesuffix("-"),
    )


@pytest.fixture
def tvm_target(_tvmtune_case: CaseOptions) -> Any:
    """Return the item's canonical `tvm.target.Target`, num-cores included."""
    from pytest_tvmtune.relax.targets import resolve_target

    return resolve_target(_tvmtune_case.target)


@pytest.fixture
def tvm_device(tvm_target: Any) -> Any:
    """Return the `tvm.runtime.Device` of the item's target."""
    from pytest_tvmtune.relax.targets import device_of

    return device_of(tvm_target)


@pytest.fixture
def tvm_tune(request: pytest.FixtureRequest, _tvmtune_case: CaseOptions) -> TvmTune:
    """Return a callable that puts a model through the tuning pipeline; see `TvmTune`."""
    from pytest_tvmtune.plugin.tune import tvm_tune_of

    return tvm_tune_of(request.config, request.node.stash[ITEM_STATE])

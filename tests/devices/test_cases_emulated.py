"""Models on another architecture: compiled here, tuned and run on an emulated aarch64."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pytest_tvmtune.core.comparing.tolerances import Tolerance
from pytest_tvmtune.core.errors import DeviceError, OptionError
from pytest_tvmtune.core.kernels.matching import WEIGHT_PREPACK
from pytest_tvmtune.stages.explaining.divergence_search import first_divergence
from pytest_tvmtune.stages.latency.paired_measurement import time_kernels
from pytest_tvmtune.stages.tuned_build import counterpart_build, load_and_call, reference_build
from pytest_tvmtune.store.layout import Store
from tests.devices.emulated import CROSS_COMPILER, emulated_server
from tests.support.cases import build_of, build_with_records, opener
from tests.support.modules import TwoLayers
from tests.support.rpc_servers import rpc_server

pytestmark = pytest.mark.emulated
TARGET = "llvm -mtriple=aarch64-linux-gnu -mcpu=cortex-a72"
RNG = np.random.default_rng(3)
X, V, W = (
    RNG.standard_normal(shape).astype("float32") / 6 for shape in ((4, 48), (48, 48), (48, 48))
)
GIVEN: dict[str, Any] = {"params": [V, W], "inputs": [X]}


@pytest.fixture(scope="module")
def address(device_folder: Path) -> Iterator[str]:
    with emulated_server(device_folder, key="") as server:
        yield f"{server.host}:{server.port}"


@pytest.mark.parametrize("prepack", [False, True])
def test_tuned_there_it_computes_the_same(address: str, store: Store, prepack: bool) -> None:
    settings = {"rpc": address, "trials": 4}
    case = opener(store)(TwoLayers, target=TARGET, prepack=prepack, settings=settings, **GIVEN)
    assert case.machine.system == "Linux aarch64"
    assert case.remote is not None
    assert case.remote.compiler == CROSS_COMPILER
    built = build_with_records(case)
    assert built.build.applied
    outputs = load_and_call(case, built)[1]
    here = opener(store)(TwoLayers, **GIVEN)
    np.testing.assert_allclose(
        outputs, load_and_call(here, build_of(here))[1], rtol=1e-4, atol=1e-5
    )
    reference = reference_build(case, built)
    assert reference is not None
    for other in (reference, counterpart_build(case)):
        told = first_divergence(case, built, other, against="it", tolerance=Tolerance())
        assert (told.kind, told.calls) == ("none", 2)
    table = time_kernels(case, built.artifact, budget_s=0.1)
    kernels = built.artifact.manifest.kernels
    # The transform's are called once, before.
    timed = {name for name in kernels if not name.endswith(WEIGHT_PREPACK)}
    assert {row.name for row in table.rows} >= timed


def test_a_target_of_another_architecture_is_said(address: str, store: Store) -> None:
    with pytest.raises(DeviceError, match=r"can't load code for the target .*-mtriple="):
        opener(store)(TwoLayers, settings={"rpc": address}, **GIVEN)
    with rpc_server() as server, pytest.raises(DeviceError, match="can't load code"):
        opener(store)(TwoLayers, target=TARGET, settings={"rpc": str(server.address)}, **GIVEN)
    with pytest.raises(OptionError, match="'host' is the CPU of this machine"):
        opener(store)(TwoLayers, target="host", settings={"rpc": address}, **GIVEN)

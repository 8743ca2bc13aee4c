"""Which parameter of a prepacked kernel is wrong: hand-made kernels, whose layouts are known."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tvm
from tvm import te

from pytest_tvmtune.core.comparing.tolerances import Tolerance
from pytest_tvmtune.core.tensors.signature import Array
from pytest_tvmtune.relax import compat
from pytest_tvmtune.relax.compiling.kernel_descriptions import write_kernels
from pytest_tvmtune.relax.devices.machine import ThisMachine
from pytest_tvmtune.relax.diagnosing.prepacked_params import wrong_transform
from pytest_tvmtune.relax.diagnosing.reproducer import CapturedKernel
from pytest_tvmtune.relax.measuring.kernel_instrument import InstrumentedSession
from tests.relax.layers import TARGET

RNG = np.random.default_rng(4)
X, V, B = (RNG.standard_normal(shape).astype("float32") for shape in ((2, 4), (4, 4), (4,)))


def tensor(name: str, *shape: int) -> Any:
    return te.placeholder(shape, "float32", name=name)


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """IR as prepacking leaves it: a square weight turned, so that its shape is the old one."""
    v, b = tensor("v", 4, 4), tensor("b", 4)
    v_global = te.compute((4, 4), lambda i, j: v[j, i], name="v_global")
    b_global = te.compute((2, 2), lambda i, j: b[2 * i + j], name="b_global")
    x, new_v, new_b = tensor("x", 2, 4), tensor("v_global", 4, 4), tensor("b_global", 2, 2)
    out = te.compute((2, 4), lambda i, j: x[i, j] + new_v[i, j] + new_b[i // 2, j // 2], name="y")
    mod = tvm.IRModule(
        {
            "layer_prepacked": te.create_prim_func([x, new_v, new_b, out]),
            # Its parameters stand in another order than the kernel's.
            "layer_weight_prepack": te.create_prim_func([b, v, b_global, v_global]),
        }
    )
    path = tmp_path_factory.mktemp("kernels") / "kernels.json.gz"
    write_kernels(mod, path)
    return path


def said(kernels: Path, v: Array, b: Array) -> str:
    """Return what is said of a kernel that got these transformed parameters."""
    params = [tvm.runtime.tensor(v), tvm.runtime.tensor(b)]
    session: Any = SimpleNamespace(params=params, entry="main", machine=ThisMachine("cpu"))
    pointers = [0, *(compat.address_of(param) for param in params), 0]

    def captured(kernel: str, *arguments: Array) -> CapturedKernel:
        return CapturedKernel(
            kernel=kernel,
            arguments=[X, *arguments, X],
            pointers=pointers,
            outputs=(3,),
            only_written=frozenset({3}),
            written=[X],
        )

    return wrong_transform(
        InstrumentedSession(session=session, kernels={}, originals=[V, B]),
        (captured("layer", V, B), captured("layer_prepacked", v, b)),
        kernels,
        TARGET,
        Tolerance(),
    )


WHERE = "parameter {} from main_transform_params "


def test_a_new_layout_of_the_old_shape_is_no_fault(kernels: Path) -> None:
    assert said(kernels, V.T.copy(), B.reshape(2, 2)) == ""


def test_a_square_weight_left_as_it_was_is_one(kernels: Path) -> None:
    wrong = said(kernels, V, B.reshape(2, 2))
    assert wrong == WHERE.format(0) + "was not transformed"


@pytest.mark.each_version
def test_wrong_values_are_counted(kernels: Path) -> None:
    assert said(kernels, V.T.copy(), B.reshape(2, 2) + 1) == WHERE.format(1) + (
        "has wrong values (4 of 4)"
    )


def test_without_the_kernels_ir_nothing_is_said(kernels: Path) -> None:
    assert said(kernels.with_name("gone"), V, B.reshape(2, 2)) == ""

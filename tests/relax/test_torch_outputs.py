"""What torch modules return and what they write to, against torch itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pytest_tvmtune.core.errors import ImporterError, ModelError
from pytest_tvmtune.relax.importing import open_model
from pytest_tvmtune.relax.importing.torch import tvm_importer
from tests.relax.small_onnx import run_in_tvm


class Tied(nn.Module):
    """Two names for one weight, two for one buffer, a constant; returns what `outputs` says."""

    def __init__(self, outputs: Callable[[Any, torch.Tensor], Any]) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)
        self.b.weight = self.a.weight
        self.register_buffer("one", torch.arange(3.0))
        self.register_buffer("same", self.one)
        self.constant = torch.ones(3)
        self.outputs = outputs

    def forward(self, x: torch.Tensor) -> Any:
        return self.outputs(self, x)


def assert_same(outputs: Callable[[Any, torch.Tensor], Any]) -> Any:
    x = torch.randn(2, 3)
    before = x.clone()
    opened = open_model(Tied(outputs).eval(), name="m", inputs=(x,))
    want = opened.references["torch"](*opened.inputs)
    got = run_in_tvm(opened)
    for one, other in zip(got, want if isinstance(want, tuple) else (want,), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    # Neither the test's own tensor nor what is compared has changed.
    np.testing.assert_array_equal(x, before)
    np.testing.assert_array_equal(opened.inputs[0], before)
    return opened


@pytest.mark.parametrize(
    "outputs",
    [
        pytest.param(lambda m, x: (m.a(x), m.a.weight), id="a parameter"),
        pytest.param(lambda m, x: (m.a(x), m.b.weight), id="another name of it"),
        pytest.param(lambda m, x: (m.a.weight, m.b.weight, m.b(x)), id="both names"),
        pytest.param(lambda m, x: m.b.weight, id="nothing else"),
        pytest.param(lambda m, x: (m.a(x), m.same, m.one), id="a buffer"),
        pytest.param(lambda m, x: (m.a(x), m.constant), id="a constant"),
        pytest.param(lambda m, x: (m.a(x), x), id="an input"),
        pytest.param(lambda m, x: x, id="only an input"),
        pytest.param(lambda m, x: (m.a(x), m.b(x)), id="the same twice"),
        pytest.param(
            lambda m, x: {"none": None, "b": m.b.weight, "three": 3}, id="not all tensors"
        ),
    ],
)
def test_whatever_an_output_names(outputs: Any) -> None:
    assert_same(outputs)


@pytest.mark.parametrize(
    "outputs",
    [
        pytest.param(lambda m, x: torch.relu_(x) + 1, id="and uses it"),
        pytest.param(lambda m, x: torch.relu_(x), id="and returns it"),
        pytest.param(lambda m, x: (x.add_(1), x * 2), id="returns it and uses it"),
        pytest.param(lambda m, x: (x.add_(1), m.a(x))[1], id="and forgets it"),
        pytest.param(lambda m, x: (x.t().mul_(2), m.a(x) + x)[1], id="through a view"),
    ],
)
def test_an_input_that_the_module_writes_to(outputs: Any) -> None:
    assert len(assert_same(outputs).inputs) == 1


def test_an_operator_that_the_importer_fails_on_is_named() -> None:
    module = nn.Linear(3, 2).double().eval()
    with pytest.raises(ImporterError, match=r"failed at node '\w+' \(aten\.") as caught:
        open_model(module, name="m", inputs=(torch.ones(2, 3, dtype=torch.float64),))
    assert "uses datatype T.float64 on the LHS" in str(caught.value)
    assert isinstance(caught.value.__cause__, TypeError)


def test_what_torch_can_not_decompose_is_not_blamed_on_tvm() -> None:
    # It is a buffer under two names that torch stumbles over.
    module = Tied(lambda m, x: (m.one.add_(1), m.a(x))[1]).eval()
    with pytest.raises(ModelError, match=r"torch can't decompose it .* expected compiled_fn") as e:
        open_model(module, name="m", inputs=(torch.ones(2, 3),))
    assert not isinstance(e.value, ImporterError)


@pytest.mark.parametrize("where", ["_with_everything_as_parameters", "_rounding_converters"])
def test_a_fault_of_ours_is_not_blamed_on_tvm(monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    def fail(*_: Any) -> Any:
        if where.startswith("_with"):
            raise KeyError("b_weight")
        # What the importer calls.
        return {"addmm.default": fail_when_called}

    # As if it stood in the package.
    namespace: dict[str, Any] = {}
    source = "def fail_when_called(node, importer):\n    raise KeyError('b_weight')\n"
    exec(compile(source, tvm_importer.__file__, "exec"), namespace)
    fail_when_called = namespace["fail_when_called"]
    monkeypatch.setattr(tvm_importer, where, fail)
    with pytest.raises(KeyError, match="b_weight"):
        open_model(nn.Linear(3, 2).eval(), name="m", inputs=(torch.ones(2, 3),))

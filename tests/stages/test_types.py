"""Small element types through the whole flow: child processes, prepack, the gate."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from pytest_tvmtune.stages.compiling import load
from pytest_tvmtune.stages.latency.latency_gate import judge_latency
from pytest_tvmtune.stages.tuned_build import load_and_call
from tests.support.cases import accept, build_of
from tests.support.modules import OpenCase

TYPES = ("float16", "bfloat16", "int8", "uint8", "bool")


class AllTypes(nn.Module):
    """One output of each type, from an input and a weight of that type."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        for dtype in TYPES:
            values = torch.randn(4, 4) if "float" in dtype else torch.randint(0, 2, (4, 4))
            self.register_buffer(f"w_{dtype}", values.to(getattr(torch, dtype)))

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        half, brain, *whole = inputs
        return (
            half @ self.w_float16.T,
            brain @ self.w_bfloat16.T,
            *(x ^ getattr(self, f"w_{x.dtype}".replace("torch.", "")) for x in whole),
        )


@pytest.mark.parametrize("prepack", [False, True])
def test_small_types(open_: OpenCase, prepack: bool) -> None:
    inputs = [np.asarray(np.eye(4), dtype) for dtype in TYPES]
    case = open_(AllTypes().eval(), inputs=inputs, prepack=prepack)
    built = build_of(case)
    assert [spec.dtype for spec in case.model.signature.inputs] == list(TYPES)
    _, outputs = load_and_call(case, built)
    expected = case.model.references["torch"](*case.model.inputs)
    for dtype, got, want in zip(TYPES, outputs, expected, strict=True):
        assert got.dtype.name == want.dtype.name == dtype
        np.testing.assert_array_equal(got, want)
    if prepack:
        session = load(case, built)
        assert session.transform_extra_bytes
        baseline = accept(case, built)
        latency = judge_latency(case, built, session, baseline).latency
        assert latency.verdict == "PASS"

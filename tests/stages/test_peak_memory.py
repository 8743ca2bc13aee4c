"""The resident memory of a call, against models whose memory is known."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

from pytest_tvmtune.core.errors import ChildError
from pytest_tvmtune.stages import growth, peak_memory
from pytest_tvmtune.stages.case_run import CaseRun
from pytest_tvmtune.stages.growth import build_quantities, compare_quantities
from pytest_tvmtune.stages.latency_checks import measure_peak_memory
from pytest_tvmtune.stages.pipeline import prepare
from tests.support.cases import accept, build_of, run_of
from tests.support.modules import OpenCase

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux's /proc")
MB = 1_000_000
SIDE = 2000  # a matrix of 16 MB
ASKED = {"peak_memory": True}
LIMIT = {"max_peak_memory_growth": "20%"}


def given(side: int) -> dict[str, Any]:
    return {
        "params": [np.ones((side, side), "float32")],
        "inputs": [np.ones((1, side), "float32")],
    }


def product(side: int, *, sorts: bool = False) -> Any:
    """Return x @ w; with `sorts`, w is sorted twice before."""
    from tvm import relax

    from pytest_tvmtune.relax import compat

    x = relax.Var("x", compat.tensor_type()((1, side), "float32"))
    w = relax.Var("w", compat.tensor_type()((side, side), "float32"))
    builder = relax.BlockBuilder()
    with builder.function("main", [x, w], attrs={"num_input": 1}):
        with builder.dataflow():
            if sorts:
                # Sorting isn't fused, so there are two matrices between kernels.
                value = builder.emit(relax.op.sort(builder.emit(relax.op.sort(w))))
                out = builder.emit_output(relax.op.matmul(x, value))
            else:
                out = builder.emit_output(relax.op.matmul(x, w))
        builder.emit_func_output(out)
    return builder.finalize()


def measured_run(run: CaseRun) -> None:
    prepare(run)
    assert measure_peak_memory(run) == []


def test_parameters_and_memory_between_kernels_count(open_: OpenCase) -> None:
    small, large, sorts = (
        peak_memory.measured_bytes(case, build_of(case).artifact)
        for case in (
            open_(product(8), **given(8)),
            open_(product(SIDE), **given(SIDE)),
            open_(product(SIDE, sorts=True), **given(SIDE)),
        )
    )
    matrix = 4 * SIDE * SIDE
    assert small is not None
    assert large is not None
    assert sorts is not None
    assert small < 8 * MB
    assert large - small == pytest.approx(matrix, abs=3 * MB)
    assert sorts - small == pytest.approx(3 * matrix, abs=6 * MB)


def test_it_is_measured_once_for_a_build_and_gated_on_request(
    open_: OpenCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[str] = []
    measured_bytes = peak_memory.measured_bytes

    def counting(case: Any, artifact: Any) -> int | None:
        measured.append(artifact.sha256)
        return measured_bytes(case, artifact)

    monkeypatch.setattr(peak_memory, "measured_bytes", counting)
    monkeypatch.setattr(growth, "measured_bytes", counting)
    unasked = run_of(open_(product(SIDE), **given(SIDE)))
    measured_run(unasked)
    assert unasked.result.peak_memory_bytes is None
    baseline = accept(unasked.case, unasked.built)
    assert measured == []
    first, again = (run_of(open_(product(SIDE), settings=ASKED, **given(SIDE))) for _ in range(2))
    measured_run(first)
    measured_run(again)
    assert first.result.peak_memory_bytes == again.result.peak_memory_bytes
    assert measured == [first.built.artifact.sha256]

    larger = run_of(open_(product(SIDE, sorts=True), settings=LIMIT, **given(SIDE)))
    measured_run(larger)
    now = build_quantities(larger.case, larger.built)
    found = compare_quantities(larger.case, now, baseline)
    (finding,) = found.findings
    assert ": its peak memory grew from " in finding
    assert measured[1:] == [larger.built.artifact.sha256, baseline.artifact]
    assert found.accepted is not None
    assert found.accepted.peak_memory_bytes

    def crash(case: Any, artifact: Any) -> int | None:
        raise ChildError("crashed with SIGSEGV")

    monkeypatch.setattr(growth, "measured_bytes", crash)
    found = compare_quantities(larger.case, now, baseline)
    assert found.findings == ()
    assert ["peak memory is not known" in one for one in found.warnings] == [True, True]

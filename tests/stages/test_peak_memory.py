"""The resident memory of a call, against models whose memory is known."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pytest_tvmtune.core.errors import ChildError, LackingError
from pytest_tvmtune.relax.measuring import peak_memory_job
from pytest_tvmtune.stages import growth, peak_memory
from pytest_tvmtune.stages.case_run import CaseRun
from pytest_tvmtune.stages.growth import build_quantities, compare_quantities
from pytest_tvmtune.stages.latency_checks import measure_peak_memory
from pytest_tvmtune.stages.pipeline import conclude, prepare
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
    assert small < 8 * MB
    assert large - small == pytest.approx(matrix, abs=3 * MB)
    assert sorts - small == pytest.approx(3 * matrix, abs=6 * MB)


def test_it_is_measured_once_for_a_build_and_gated_on_request(
    open_: OpenCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[str] = []
    measured_bytes = peak_memory.measured_bytes

    def counting(case: Any, artifact: Any) -> int:
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
    with monkeypatch.context() as patch:
        patch.setattr(peak_memory_job, "method_digest", lambda: "another")
        measured_run(again)
        assert measured.pop() == measured[0]
        measured_run(again)
        assert len(measured) == 1
    measured_run(again)
    assert measured.pop() == measured[0]

    larger = run_of(open_(product(SIDE, sorts=True), settings=LIMIT, **given(SIDE)))
    measured_run(larger)
    now = build_quantities(larger.case, larger.built)
    found = compare_quantities(larger.case, now, baseline)
    (finding,) = found.findings
    assert ": its peak memory grew from " in finding
    assert measured[1:] == [larger.built.artifact.sha256, baseline.artifact]
    assert found.accepted is not None
    assert found.accepted.peak_memory_bytes

    def crash(case: Any, artifact: Any) -> int:
        raise ChildError("crashed with SIGSEGV")

    monkeypatch.setattr(growth, "measured_bytes", crash)
    found = compare_quantities(larger.case, now, baseline)
    assert found.findings == ()
    assert found.warnings == (
        (
            "model[llvm]: max_peak_memory_growth can't be checked: the peak memory is not known: "
            "the baseline's: crashed with SIGSEGV"
        ),
    )


@pytest.mark.parametrize("settings", [ASKED, LIMIT])
def test_that_it_is_not_known_is_warned_of_once(open_: OpenCase, settings: Any) -> None:
    run = run_of(open_(product(8), settings=settings, **given(8)))
    prepare(run)
    baseline = accept(run.case, run.built)
    remote: Any = object()
    device = replace(run.case, remote=remote)
    run.case = device
    assert measure_peak_memory(run) == []
    assert run.result.warnings == [
        (
            "model[llvm]: the peak memory of a call is not known: it can't be measured on a device "
            "behind TVM RPC"
        )
    ]
    assert run.result.peak_memory_bytes is None
    now = build_quantities(device, run.built)
    assert compare_quantities(device, now, baseline).warnings == ()
    run.run_options = replace(run.run_options, strict=True)
    run.checked = True
    assert conclude(run) == run.result.warnings


def test_a_system_that_does_not_show_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peak_memory_job, "_PROCESS", tmp_path / "proc")
    with pytest.raises(LackingError, match=r"^only Linux shows it, in .*clear_refs"):
        peak_memory_job._begin()

"""Crashes name the kernel, and what fails prepacked says whether it works plain."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_tvmtune.core.errors import ChildError, CompileError
from pytest_tvmtune.core.job_stage import FIRST_RUN
from pytest_tvmtune.core.results.failure import Failure, failure_of
from pytest_tvmtune.stages.compiling import build_untuned
from tests.support.cases import build_of, build_with_records
from tests.support.modules import Gathers, OpenCase, Scatters

INSIDE, OUTSIDE = np.ones(4, "int32"), np.full(4, 1 << 30, "int32")


def test_a_crash_names_the_kernel(open_: OpenCase) -> None:
    with pytest.raises(
        ChildError, match=r"crashed with SIGSEGV in kernel .*gather.* \(untuned\)"
    ) as e:
        build_untuned(open_(Gathers, inputs=[OUTSIDE]))
    assert e.value.stage == FIRST_RUN
    failure = failure_of(e.value)
    assert failure == Failure(
        kind="crash", stage=FIRST_RUN.text, signal="SIGSEGV", kernel=e.value.kernel
    )
    assert "gather" in failure.kernel


def test_a_crash_of_a_tuned_library_with_new_inputs_names_the_record(open_: OpenCase) -> None:
    tuned = {"trials": 8}
    case = open_(Gathers, inputs=[INSIDE], settings=tuned)
    built = build_with_records(case)
    (gather,) = [
        kernel for name, kernel in built.artifact.manifest.kernels.items() if "gather" in name
    ]
    assert gather.record
    with pytest.raises(ChildError) as caught:
        build_of(open_(Gathers, inputs=[OUTSIDE], settings=tuned))
    assert f"gather (tuned, record {gather.record[:12]}); --tvm-tuning=refresh" in str(caught.value)


def test_what_fails_prepacked_only_says_so(open_: OpenCase) -> None:
    """TVM's prepacking fails on kernels without a compute block."""
    with pytest.raises(CompileError) as caught:
        build_of(open_(Scatters, prepack=True))
    assert str(caught.value).endswith(
        "\nwithout prepack, it compiles and runs, so the fault is in cpu_weight_prepack"
    )


def test_what_fails_not_prepacked_either_says_so(open_: OpenCase) -> None:
    with pytest.raises(ChildError) as caught:
        build_of(open_(Gathers, prepack=True, inputs=[OUTSIDE]))
    assert "\nit doesn't work without prepack either: first run with these inputs" in str(
        caught.value
    )
    assert failure_of(caught.value).signal == "SIGSEGV"


def test_a_plain_failure_says_nothing_of_prepack(open_: OpenCase) -> None:
    with pytest.raises(ChildError) as caught:
        build_of(open_(Gathers, inputs=[OUTSIDE]))
    assert "prepack" not in str(caught.value)

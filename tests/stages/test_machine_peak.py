"""The peak of this machine, and a kernel that is made half as fast by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pytest_tvmtune.core.errors import LackingError
from pytest_tvmtune.core.kernels.kernel_table import BUILT_INS
from pytest_tvmtune.core.kernels.roofline import MEMORY
from pytest_tvmtune.machine.fingerprint import usable_cores
from pytest_tvmtune.processes import run_job as processes
from pytest_tvmtune.relax.measuring import machine_peak_job
from pytest_tvmtune.stages import latency_checks
from pytest_tvmtune.stages.latency import machine_peak as stage
from pytest_tvmtune.stages.latency.machine_peak import machine_peak
from pytest_tvmtune.stages.latency.paired_measurement import time_kernels
from tests.support.cases import build_of, built_run
from tests.support.chains import SIZE, chain, chain_data
from tests.support.modules import OpenCase, Square
from tests.support.products import product

X, W = chain_data()
GIVEN = {"params": [np.eye(8, dtype="float32")], "inputs": [np.ones((2, 8), "float32")]}


@pytest.fixture(autouse=True)
def _new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "_MEASURED", {})


def test_each_process_measures_it_once_for_each_number_of_threads(
    open_: OpenCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    run_job = processes.run_job

    def counting(job: Any, request: machine_peak_job.Request, context: Any) -> Any:
        asked.append(request.num_threads)
        return run_job(job, request, context)

    monkeypatch.setattr(stage, "run_job", counting)
    counts = range(1, min(2, usable_cores()) + 1)
    best: dict[int, float] = {}
    for count in (*counts, *counts, 0, *counts):
        if not count:
            stage._MEASURED.clear()
            continue
        peak = machine_peak(open_(Square, settings={"num_threads": count}, **GIVEN))
        assert peak.num_threads == count
        # A multiply-add each nanosecond, and ten bytes, are less than any machine does today.
        assert peak.flop_per_s > 2e9
        assert peak.memory_bytes_per_s > 1e8
        assert peak.instructions
        assert peak.bandwidths[-1].name == MEMORY
        capacities = [one.capacity_bytes for one in peak.bandwidths]
        assert capacities[-1] is None
        assert all(capacities[:-1])
        # The better one of two processes is kept.
        assert peak.flop_per_s >= best.get(count, 0.0)
        best[count] = peak.flop_per_s
    assert asked == [*counts, *counts]


def test_without_a_compiler_it_is_not_known(
    open_: OpenCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = open_(chain(1), params=[W], inputs=[X])
    built = build_of(case)
    monkeypatch.setenv("CXX", "false")
    with pytest.raises(LackingError, match="false can't build the code"):
        machine_peak(case)
    table = time_kernels(case, built.artifact, budget_s=0.0)
    assert table.peak is None
    assert [row.flop for row in table.rows if row.name != BUILT_INS] == [2 * SIZE * SIZE]


def test_a_roofline_without_a_peak_is_a_warning_also_of_kernels_that_were_timed(
    open_: OpenCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = built_run(open_(chain(1), params=[W], inputs=[X], settings={"roofline": True}))
    monkeypatch.setenv("CXX", "false")
    for _ in range(2):
        latency_checks.time_kernels_if_asked(run)
        assert run.result.kernels is not None
        assert run.result.kernels.peak is None
        (warning,) = run.result.warnings
        assert "the roofline is not known: false can't build" in warning
        run.result.warnings.clear()
    monkeypatch.delenv("CXX")
    latency_checks.time_kernels_if_asked(run)
    assert run.result.warnings == []
    assert run.result.kernels is not None
    assert run.result.kernels.peak
    assert run.result.kernels.roof_share


def test_a_kernel_that_computes_all_twice_reaches_half(open_: OpenCase) -> None:
    """Its work is what the model asks for, so the share falls as the time rises."""
    tables = []
    for rounds in (1, 8):
        case = open_(chain(20, kernel=product(rounds)), params=[W], inputs=[X])
        tables.append(time_kernels(case, build_of(case).artifact, budget_s=0.0))
    once, often = (next(row for row in table.rows if row.name != BUILT_INS) for table in tables)
    assert once.flop == often.flop == 20 * 2 * SIZE * SIZE
    assert once.possible_s == often.possible_s
    assert once.roof_share is not None
    assert often.roof_share is not None
    # Eight times the work: no load of the machine makes up for all of it.
    assert often.roof_share < once.roof_share / 2

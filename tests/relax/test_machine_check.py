"""What every candidate of a batch failed by: this machine, or themselves."""

from __future__ import annotations

from pathlib import Path

import pytest
import tvm

from pytest_tvmtune.core.errors import TuningError
from pytest_tvmtune.relax.tuning.candidates.candidate_runner import Runner
from pytest_tvmtune.relax.tuning.candidates.machine_check import check_machine

FULL = "build: OSError: [Errno 28] No space left on device"
LINKER = "build: RuntimeError: /usr/bin/ld: final link failed: No space left on device"


@pytest.mark.parametrize("kind", ["llvm", "cuda"])
def test_a_disk_too_full_for_candidates_is_no_fact_about_them(kind: str, tmp_path: Path) -> None:
    """A small kernel may still be built there; none is tried."""
    runner = Runner(timeout_s=1.0)
    with pytest.raises(
        TuningError, match=r"tuning stopped: all 2 candidates failed .*No space left"
    ):
        check_machine([FULL, LINKER], tvm.target.Target(kind), runner, scratch=tmp_path)


def test_one_that_failed_otherwise_leaves_the_others_to_be_candidates(tmp_path: Path) -> None:
    runner = Runner(timeout_s=1.0)
    target = tvm.target.Target("cuda")
    check_machine([FULL, "run: ValueError: wrong"], target, runner, scratch=tmp_path)

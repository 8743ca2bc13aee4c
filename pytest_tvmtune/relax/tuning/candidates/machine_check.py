"""Whether this machine can build and measure at all: asked where every candidate of a batch failed.

What fails for want of disk space, memory or a compiler is no fact about a candidate.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_tvmtune.core.error_text import cause_of
from pytest_tvmtune.core.errors import TuningError, all_of
from pytest_tvmtune.relax import compat
from pytest_tvmtune.relax.devices.targets import device_kind
from pytest_tvmtune.relax.tuning.batches import arguments_of
from pytest_tvmtune.relax.tuning.candidates.candidate_builder import (
    BUILD_TIMEOUT_S,
    KILLED,
    build_candidates,
)
from pytest_tvmtune.relax.tuning.candidates.tuning_runner import TuningRunner

if TYPE_CHECKING:
    from tvm.ir import IRModule
    from tvm.target import Target

# What the system says where files or processes are short, however good a candidate is. A kernel
# that is known to be good is small, and may still find room.
_SHORTAGE = re.compile(
    "No space left on device|Disk quota exceeded|Read-only file system|Too many open files|"
    "Resource temporarily unavailable",
    re.IGNORECASE,
)
_NEXT = (
    "no result was recorded; to check disk space, memory, and the compiler, run `tvmtune doctor`"
)


def check_machine(
    problems: Sequence[str],
    target: Target,
    runner: TuningRunner,
    *,
    scratch: Path,
    compiler: str = "",
) -> None:
    """Raise TuningError where candidates failed for a reason that isn't theirs.

    problems: why each of them failed. So it is where all were killed from outside, where disk
    space, files or processes were short for all, and where a kernel that is known to be good can't
    be built or measured either. On devices other than the CPU no kernel is known to be good
    without a schedule.
    """
    if all(problem.endswith(KILLED) for problem in problems):
        raise TuningError(
            f"tuning stopped: SIGKILL ended {all_of(len(problems), 'candidate')}; {_NEXT}"
        )
    if all(map(_SHORTAGE.search, problems)):
        raise TuningError(
            f"tuning stopped: {all_of(len(problems), 'candidate')} failed ({problems[0]}); {_NEXT}"
        )
    if device_kind(target) != "cpu":
        return
    mod = _known_good()
    (built,) = build_candidates(
        [mod],
        target,
        max_workers=1,
        timeout_s=BUILD_TIMEOUT_S,
        scratch=scratch,
        compiler=compiler,
    )
    problem = built.problem
    if built.library is not None:
        problem = runner.measure(built.library, arguments_of(mod), best_s=math.inf).problem
        built.discard()
    if problem:
        raise TuningError(
            "tuning stopped: this machine can't build or run a kernel that is known to be good "
            f"({cause_of(problem)}); {_NEXT}"
        )


def _known_good() -> IRModule:
    from tvm import te

    given = te.placeholder((16,), "float32", name="a")
    added = te.compute((16,), lambda i: given[i] + 1.0, name="b")
    return compat.IRModule({"main": te.create_prim_func([given, added])})

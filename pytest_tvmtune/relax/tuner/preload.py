"""What the forkserver loads once, so that the processes forked from it import nothing.

Named in `set_forkserver_preload`; the target's kind comes through the environment.
"""

import os

from pytest_tvmtune.relax.child import die_with_parent, leave_out_torch
from pytest_tvmtune.relax.tuner.intrinsics import import_intrinsics

KIND_VARIABLE = "PYTEST_TVMTUNE_KIND"

# Only the forkserver has it set: elsewhere importing this module must cost nothing.
if kind := os.environ.get(KIND_VARIABLE):
    die_with_parent()  # while it imports, it wouldn't hear of the tuner's death
    leave_out_torch()
    import_intrinsics(kind)
    import psutil  # noqa: F401
    import tvm.driver
    import tvm.s_tir.meta_schedule.runner.local_runner
    import tvm.s_tir.transform
    import tvm.support.cc  # noqa: F401

    import pytest_tvmtune.relax.tuner.builder
    import pytest_tvmtune.relax.tuner.runner  # noqa: F401

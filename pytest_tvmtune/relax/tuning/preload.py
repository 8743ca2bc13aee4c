"""Modules for tuning, loaded once by the servers that fork tuners and their processes.

A tuner, a builder's candidate and the measuring runner then start in milliseconds.
"""

import psutil  # noqa: F401
import tvm.s_tir.meta_schedule.runner.local_runner
import tvm.s_tir.transform  # noqa: F401

import pytest_tvmtune.relax.tuning.candidates.candidate_builder
import pytest_tvmtune.relax.tuning.candidates.candidate_runner  # noqa: F401
from pytest_tvmtune.relax.tuning.intrinsics import import_intrinsics

import_intrinsics("llvm")  # a tuner for another kind of target adds that one's

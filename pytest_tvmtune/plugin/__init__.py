"""The pytest plugin: options, marker, fixtures, hooks. The hooks only call other packages.

Importing it imports neither tvm nor numpy, and only a few modules of the package: see
`hooks_always`.
"""

from pytest_tvmtune.plugin.fixtures import (
    _tvmtune_case,
    tvm_device,
    tvm_target,
    tvm_tune,
)
from pytest_tvmtune.plugin.hooks_always import (
    pytest_collect_file,
    pytest_generate_tests,
    pytest_pycollect_makeitem,
    pytest_xdist_setupnodes,
)
from pytest_tvmtune.plugin.option_declarations import (
    pytest_addhooks,
    pytest_addoption,
    pytest_configure,
)

__all__ = [
    "_tvmtune_case",
    "pytest_addhooks",
    "pytest_addoption",
    "pytest_collect_file",
    "pytest_configure",
    "pytest_generate_tests",
    "pytest_pycollect_makeitem",
    "pytest_xdist_setupnodes",
    "tvm_device",
    "tvm_target",
    "tvm_tune",
]

"""The pytest plugin: options, marker, fixtures, hooks. Hooks are thin; the work is below.

Importing it imports neither tvm nor numpy: those are loaded when the first marked test needs them.
"""

from pytest_tvmtune.plugin.collecting.collection import (
    pytest_collection_modifyitems,
    pytest_generate_tests,
    pytest_itemcollected,
    pytest_pycollect_makeitem,
    pytest_report_collectionfinish,
)
from pytest_tvmtune.plugin.collecting.model_file_items import pytest_collect_file
from pytest_tvmtune.plugin.configuration import (
    pytest_addhooks,
    pytest_addoption,
    pytest_configure,
)
from pytest_tvmtune.plugin.fixtures import (
    _tvmtune_case,
    tvm_device,
    tvm_target,
    tvm_tune,
)
from pytest_tvmtune.plugin.reporting import (
    pytest_pyfunc_call,
    pytest_runtest_call,
    pytest_runtest_makereport,
    pytest_sessionfinish,
    pytest_terminal_summary,
)

__all__ = [
    "_tvmtune_case",
    "pytest_addhooks",
    "pytest_addoption",
    "pytest_collect_file",
    "pytest_collection_modifyitems",
    "pytest_configure",
    "pytest_generate_tests",
    "pytest_itemcollected",
    "pytest_pycollect_makeitem",
    "pytest_pyfunc_call",
    "pytest_report_collectionfinish",
    "pytest_runtest_call",
    "pytest_runtest_makereport",
    "pytest_sessionfinish",
    "pytest_terminal_summary",
    "tvm_device",
    "tvm_target",
    "tvm_tune",
]

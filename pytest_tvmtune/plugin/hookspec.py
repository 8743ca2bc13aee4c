"""The hooks this plugin offers to conftest files and other plugins."""

from __future__ import annotations

from typing import Any

import pytest


def pytest_tvmtune_setup(config: pytest.Config) -> list[str]:  # type: ignore[empty-body]
    """Return modules to import wherever models are compiled, tuned or run, as `tvm_setup` does.

    They come after those that the option or the ini key names.

    Args:
        config: pytest's own.

    Returns:
        Dotted names, or paths of .py files relative to the rootdir.
    """


def pytest_tvmtune_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    """Change the machine's fingerprint before it goes into a report.

    Args:
        config: pytest's own.
        machine_info: cpu, usable_cores, system, python, tvm, tvm_ffi; to be changed in place.
    """


def pytest_tvmtune_case_result(config: pytest.Config, result: dict[str, Any]) -> None:
    """Look at the result of one case, or add to it.

    Called in the process that reports: under xdist, the controller.

    Args:
        config: pytest's own.
        result: The case as the reports will hold it (docs/json.md); to be changed in place.
    """

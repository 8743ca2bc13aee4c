"""The hooks that conftest files and other plugins can implement."""

from __future__ import annotations

from typing import Any

import pytest


def pytest_tvmtune_setup(config: pytest.Config) -> list[str]:  # type: ignore[empty-body]
    """Return setup modules, in addition to the modules that `tvm_setup` names.

    Each process that compiles, tunes, or runs models imports them. They come after the modules
    that the option or the ini key names.

    Args:
        config: pytest's configuration.

    Returns:
        Dotted names, or paths of .py files relative to the rootdir.
    """


def pytest_tvmtune_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    """Change the fingerprint of the machine before it's written into a report.

    Args:
        config: pytest's configuration.
        machine_info: `cpu`, `usable_cores`, `system`, `python`, `tvm`, `tvm_ffi`, `tvm_path`,
            `tvm_revision`, and `tvm_identity`. Change it in place.
    """


def pytest_tvmtune_case_result(config: pytest.Config, result: dict[str, Any]) -> None:
    """Read the result of a case, or add keys to it.

    pytest calls the hook in the process that reports. With xdist, this is the controller.

    Args:
        config: pytest's configuration.
        result: The case as plain JSON values, as the reports have it (docs/reference/json.md).
            Change it in place.
    """

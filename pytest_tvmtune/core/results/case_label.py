"""The names of cases and tests: in messages, tables, and the ids of tests."""

from __future__ import annotations

import re

from pytest_tvmtune.core.gating.case_identity import default_name

_MOST_PARAMS = 60


def label_of(name: str, target_name: str, *, prepack: bool, params: str = "") -> str:
    """Return the name of a case in messages and tables: `mlp[llvm]`, `operator[relu-8-llvm]`.

    params: the user's parametrization ids, "" without any; long ids are shortened.
    """
    choice = choice_of(target_name, prepack=prepack)
    return f"{name}[{short_params(params)}-{choice}]" if params else f"{name}[{choice}]"


def short_params(params: str) -> str:
    """Return parametrization ids that fit into a label or a cell of a table."""
    return params if len(params) <= _MOST_PARAMS else f"{params[: _MOST_PARAMS - 3]}..."


def choice_of(target_name: str, *, prepack: bool) -> str:
    """Return the name of a target with a prepack choice, as in the ids of tests."""
    return f"{target_name}-prepack" if prepack else target_name


def case_id(nodeid: str, name: str) -> str:
    """Return a stable name of a case for other tools: the id of its test.

    A case that isn't named after its test follows it: `test_two.py::test_two[llvm]::decoder`.
    """
    nodeid = without_group(nodeid)
    path, _, function = nodeid.partition("[")[0].rpartition("::")
    return nodeid if name == default_name(function, path) else f"{nodeid}::{name}"


def without_group(nodeid: str) -> str:
    """Return a test's id without xdist's `@group`, which belongs to how it was run."""
    return re.sub(r"(?<=\])@[^\]]*$", "", nodeid)

"""What differs between versions of TVM: one place knows it, and what is missing has a message."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from pkgutil import resolve_name

import pytest

from pytest_tvmtune.core.errors import EnvironmentProblemError
from pytest_tvmtune.relax import compat

PACKAGE = Path(compat.__file__).parents[1]
# Parts of TVM that move to another package with its core.
CORE_MODULES = re.compile(
    r"tvm\.(IRModule|instrument|ir|support|target|tirx|transform|driver)\b|tvm_tirx"
)
# They name modules as texts: those whose functions they wrap, and a script for others' eyes.
NAME_MODULES = {"compat.py", "registrations.py", "reproducer_script.py"}


@pytest.mark.parametrize("name", compat.CORE_NAMES)
def test_each_hidden_name_has_a_clear_message(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert getattr(compat, name) is not None
    module, _, attribute = compat._CORE[name].partition(":")
    monkeypatch.delattr(resolve_name(f"tvm.{module}"), attribute)
    with pytest.raises(EnvironmentProblemError) as caught:
        getattr(compat, name)
    message = str(caught.value)
    assert f"has no tvm.{module}.{attribute} or tvm_tirx.{module}.{attribute}, which" in message
    assert compat.this_tvm() in message
    assert "upgrade pytest-tvmtune, or run pip install 'apache-tvm==" in message
    assert compat.missing_names() == [f"tvm.{module}.{attribute} or tvm_tirx.{module}.{attribute}"]


@pytest.mark.parametrize("name", compat.CORE_NAMES)
def test_each_name_is_found_in_its_new_home(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = getattr(compat, name)
    monkeypatch.setattr(compat, "CORE_ROOTS", ("tvm_before_the_split", "tvm"))
    assert getattr(compat, name) is expected


def test_other_names_are_no_attributes() -> None:
    assert not hasattr(compat, "no_such_name")


def imports_at_run_time(tree: ast.AST) -> Iterator[str]:
    """Yield what a module imports and which attributes of `tvm` it uses, but for types alone."""
    pending: list[ast.AST] = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            pending += node.orelse
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name | ast.Attribute):
            yield ast.unparse(node)
        pending += ast.iter_child_nodes(node)


def test_names_of_the_core_come_from_one_place() -> None:
    for path in PACKAGE.rglob("*.py"):
        if path.name in NAME_MODULES:
            continue
        found = [
            name
            for name in imports_at_run_time(ast.parse(path.read_text()))
            if CORE_MODULES.match(name)
        ]
        assert not found, path


@pytest.mark.parametrize(
    ("tvm", "ffi", "tested"),
    [
        ("0.27.0.post1", "0.1.14.post1", True),
        ("0.27.0", "0.1.14.post0", True),
        ("0.27.0+cpu", "0.1.14.post0", True),
        ("0.27.0", "0.1.15.post2", False),
        ("0.26.0", "0.1.13.post3", True),
        ("0.25.0.post1", "0.1.12", True),
        ("0.28.dev12+g1234567", "0.1.14.post1", False),
        ("unknown", "unknown", False),
    ],
)
def test_tested_pairs(tvm: str, ffi: str, tested: bool) -> None:
    assert compat.is_tested_pair(tvm, ffi) == tested


@pytest.mark.parametrize(
    ("operators", "version"),
    [
        (["CastLike"], "0.27"),
        (["Dropout", "GroupNormalization"], "0.26"),
        (["Dropout", "CastLike"], "0.27"),
        (["CastLike", "LSTM"], ""),
        ([], ""),
    ],
)
def test_the_version_that_converts_all_operators(operators: list[str], version: str) -> None:
    assert compat.version_that_converts("ONNX", operators) == version

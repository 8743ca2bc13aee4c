"""The troubleshooting page explains each message that fails a test or ends a run, and no others.

A message in the code is a string of fixed text and values. The page quotes it as code, in the first
column of a table whose head is `message`. In a quotation, `<name>` stands for a value, and ` ...`
at the end for the rest of a long message. The tests leave out the values of both and compare the
rest. So a quotation is wrong as soon as the text in the code changes.

The page must have each message that the code passes to

- an error of `core/errors.py`, a usage or collection error of pytest, or an error of argparse;
- a ValueError in the store: these are the reasons why a file is damaged;
- `pytest.fail`, `pytest.skip`, `warnings.warn`, or `warn` of a case's run;

and each f-string that begins with the label of a case, since this is a finding or a warning. A
message without text of its own, such as `{path}: {error}`, needs no entry. The tests follow names
that are assigned in the same function or module, and no calls: a message that a function returns
isn't required. The page may quote it, since a quotation may be of any string in the package.
"""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import get_args

import pytest

import pytest_tvmtune
from pytest_tvmtune.core import errors
from pytest_tvmtune.core.gating.verdict import Verdict
from pytest_tvmtune.core.results.failure import FailureKind
from tests.docs.markdown_tables import code_spans, rows_by_name, section, table_rows
from tests.support import ROOT

PAGE = (ROOT / "docs/troubleshooting.md").read_text()
PACKAGE = Path(pytest_tvmtune.__file__).parent
# What takes a message, and as which argument.
CALLS = {
    **dict.fromkeys((name for name in vars(errors) if name.endswith("Error")), 0),
    **dict.fromkeys(("pytest.UsageError", "argparse.ArgumentTypeError", "warnings.warn"), 0),
    **dict.fromkeys(("pytest.Collector.CollectError", "pytest.fail", "pytest.skip"), 0),
    **dict.fromkeys(("run.warn", "case_run.warn"), 0),
}
VALUE = "<>"
# A message with less text of its own only passes on another message.
LEAST_LETTERS = 8
# The expressions that a name may stand for.
Names = Mapping[str, Sequence[ast.expr]]


@dataclass(frozen=True)
class Module:
    """A module of the package. constants: what names stand for in all of it."""

    path: str
    tree: ast.Module
    constants: dict[str, list[ast.expr]]

    @property
    def in_store(self) -> bool:
        return self.path.startswith("store/")

    def scopes(self) -> Iterator[tuple[ast.AST, Names]]:
        """Yield each node of the module with what names stand for where it is."""
        functions = list(outermost_functions(self.tree))
        for function in functions:
            names = {**self.constants, **assigned(ast.walk(function))}
            yield from ((node, names) for node in ast.walk(function))
        inside = {id(node) for function in functions for node in ast.walk(function)}
        for node in ast.walk(self.tree):
            if id(node) not in inside:
                yield node, self.constants


def outermost_functions(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield child
        else:
            yield from outermost_functions(child)


def assigned(nodes: Iterable[ast.AST]) -> dict[str, list[ast.expr]]:
    """Return what is assigned to each name."""
    found: dict[str, list[ast.expr]] = {}
    for node in nodes:
        if not isinstance(node, ast.Assign):
            continue
        target, value = node.targets[0], node.value
        pairs = [(target, value)]
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
            pairs = list(zip(target.elts, value.elts, strict=True))
        for one, its in pairs:
            # The name of a model or a case is a value, also if it is put together.
            if isinstance(one, ast.Name) and one.id != "label":
                found.setdefault(one.id, []).append(its)
    return found


@cache
def modules() -> tuple[Module, ...]:
    """Return all modules of the package; none is imported, since most would import TVM."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        tree = ast.parse(path.read_text())
        found[name] = Module(path.relative_to(PACKAGE).as_posix(), tree, assigned(tree.body))
    for module in found.values():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ImportFrom) and node.module in found:
                theirs = found[node.module].constants
                for one in node.names:
                    if one.name in theirs:
                        module.constants[one.asname or one.name] = theirs[one.name]
    return tuple(found.values())


def texts(node: ast.expr, names: Names) -> list[str]:
    """Return every text that an expression may have; a value that isn't known is VALUE."""
    match node:
        case ast.Constant(value=str() | int() as value) if not isinstance(value, bool):
            return [str(value)]
        case ast.Name(id=name) if name in names:
            others = {other: values for other, values in names.items() if other != name}
            return [text for value in names[name] for text in texts(value, others)]
        case ast.IfExp(body=body, orelse=other):
            return [*texts(body, names), *texts(other, names)]
        case ast.FormattedValue(value=value, conversion=conversion):
            found = texts(value, names)
            as_code = conversion == ord("r")
            return [repr(text) if as_code and text != VALUE else text for text in found]
        case ast.JoinedStr(values=values):
            parts = [texts(value, names) for value in values]
        case ast.BinOp(op=ast.Add(), left=left, right=right):
            parts = [texts(left, names), texts(right, names)]
        case _:
            return [VALUE]
    return ["".join(one) for one in itertools.product(*parts)]


@cache
def plain(text: str) -> str:
    """Return a message without its values, in one line."""
    return " ".join(re.sub(r"<[^<>]*>", "", text).split()).strip(" :;,.'\"")


def has_text(message: str) -> bool:
    """Whether a plain message has text of its own."""
    return sum(map(str.isalpha, message)) >= LEAST_LETTERS


def message_of(node: ast.AST, *, in_store: bool) -> ast.expr | None:
    """Return the message in an expression, None where it has none."""
    match node:
        case ast.JoinedStr(values=[ast.FormattedValue(value=first), *_]):
            return node if ast.unparse(first).endswith("label") else None
        case ast.Call(func=function, args=arguments):
            name = ast.unparse(function)
            at = 0 if in_store and name == "ValueError" else CALLS.get(name)
            return None if at is None or len(arguments) <= at else arguments[at]
    return None


@cache
def messages() -> dict[str, str]:
    """Return plain message -> module, for each that the page must have."""
    found = {}
    for module in modules():
        for node, names in module.scopes():
            message = message_of(node, in_store=module.in_store)
            for text in [] if message is None else texts(message, names):
                if has_text(plain(text)):
                    found[plain(text)] = module.path
    return found


@cache
def strings() -> frozenset[str]:
    """Return the plain text of each string in the package, also of those in part of others."""
    return frozenset(
        plain(text)
        for module in modules()
        for node, names in module.scopes()
        if isinstance(node, (ast.Constant, ast.JoinedStr, ast.BinOp))
        for text in texts(node, names)
    )


def quotations() -> Iterator[str]:
    """Yield the quotations of the page."""
    for cells in table_rows(PAGE, "message"):
        yield from code_spans(cells[0])


def quotes(quotation: str, message: str) -> bool:
    """Whether a quotation is of a plain message: all of it, or its beginning before ` ...`."""
    quoted = plain(quotation.removesuffix(" ..."))
    return quoted == message or (quotation.endswith(" ...") and message.startswith(quoted))


def test_each_message_of_the_code_is_explained() -> None:
    known = list(quotations())
    missing = [
        f"{module}: {message}"
        for message, module in messages().items()
        if not any(quotes(one, message) for one in known)
    ]
    assert missing == []
    assert len(messages()) > 250


def test_no_message_is_made_up() -> None:
    assert [one for one in quotations() if not any(quotes(one, text) for text in strings())] == []


def test_each_message_is_explained_once() -> None:
    known = list(quotations())
    assert [one for one in known if known.count(one) > 1] == []
    # The beginning of a message is enough text to tell it from others.
    assert [one for one in known if one.endswith(" ...") and not has_text(plain(one))] == []
    assert [cells for cells in table_rows(PAGE) if not all(cells)] == []


def test_each_stage_of_a_job() -> None:
    stages = {
        plain(text)
        for module in modules()
        for node, names in module.scopes()
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "JobStage" and node.args
        for text in texts(node.args[0], names)
    }
    rows = table_rows(section(PAGE, "Child processes"), "stage")
    assert {plain(stage) for cells in rows for stage in code_spans(cells[0])} == stages


def test_each_kind_of_failure() -> None:
    kinds = rows_by_name(section(PAGE, "Kinds of failures"))
    assert set(kinds) == set(get_args(FailureKind))


def test_each_verdict() -> None:
    rows = table_rows(section(PAGE, "The latency gate"), "verdict")
    assert {verdict for verdict, *_ in rows} == set(get_args(Verdict))


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("raise OptionError(f'{name}: {value!r} is not a day')", ["is not a day"]),
        ("raise pytest.UsageError('no such folder')", ["no such folder"]),
        ("run.warn('nothing was ' + 'checked')", ["nothing was checked"]),
        (
            "raise ModelError(f'it is {A if a else b} here and now')",
            ["it is 7 here and now", "it is 8 here and now"],
        ),
        ("x = f'{case.label}: it grew by {size}'", ["it grew by"]),
        ("raise StoreError(f'{path}: {error}')", []),
        ("raise ValueError('only an internal matter')", []),
        ("print('only an internal matter')", []),
    ],
)
def test_what_is_a_message(source: str, found: list[str]) -> None:
    nodes = ast.walk(ast.parse(source))
    seen = [message for node in nodes if (message := message_of(node, in_store=False))]
    names = {"A": [ast.Constant("7")], "b": [ast.Constant("8")]}
    told = [plain(text) for message in seen for text in texts(message, names)]
    assert [text for text in told if has_text(text)] == found


@pytest.mark.parametrize(
    ("quotation", "is_its"),
    [
        ("<path> has no entry <name>; the module has <names>", True),
        ("<path> has no entry <name>; ...", True),
        ("<path> has no entry <name>", False),
        ("<path> lacks entry <name>; ...", False),
    ],
)
def test_what_quotes_a_message(quotation: str, is_its: bool) -> None:
    assert quotes(quotation, plain("<> has no entry <>; the module has <>")) is is_its

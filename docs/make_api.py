"""Make docs/api.md, the reference of names in Python, from signatures and docstrings.

Usage: make reference
"""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest_tvmtune
from pytest_tvmtune.core.settings import parsing
from pytest_tvmtune.core.settings.table import SETTINGS
from pytest_tvmtune.plugin import hookspec
from pytest_tvmtune.plugin.run import Run
from pytest_tvmtune.plugin.tune_fixture import TvmTune

PAGE = Path(__file__).with_name("reference") / "api.md"
HEAD = """\
# Python names

`make reference` makes this page from the docstrings. [The reference](reference.md) has the same by
subject, with examples; [stability](stability.md) says what stays as it is. Import these names from
`pytest_tvmtune`: all others are private.
"""
_SECTION = re.compile(r"^(Args|Attributes|Returns|Raises):\n((?:(?: {4}.*)?\n)+)", re.MULTILINE)
_TERM = re.compile(r"^((?:[a-z]\w*, )*[a-z]\w*|\w+Error): ", re.MULTILINE)
_TITLES = {"Args": "Arguments"}


def page() -> str:
    """Return the page as Markdown."""
    return "\n".join([HEAD, *_fixture(), *_run(), *_others(), *_hooks(), *_settings()])


def _fixture() -> Iterator[str]:
    yield "## tvm_tune\n"
    yield _function("tvm_tune", TvmTune.__call__)


def _run() -> Iterator[str]:
    yield f"## Run\n\n{_text(Run)}"
    public = {name: one for name, one in vars(Run).items() if name[0] != "_"}
    yield from _table(
        ["attribute", "type", "what it is"],
        [
            [f"`{name}`", _type(one.fget.__annotations__["return"]), _summary(one)]
            for name, one in public.items()
            if isinstance(one, property)
        ],
    )
    for name, one in public.items():
        if inspect.isfunction(one):
            yield f"### Run.{name}\n"
            yield _function(f"run.{name}", one)


def _others() -> Iterator[str]:
    for name in pytest_tvmtune.__all__:
        one = getattr(pytest_tvmtune, name)
        if one in {Run, TvmTune}:
            continue
        yield f"## {name}\n"
        if inspect.isfunction(one):
            yield _function(name, one)
        elif get_origin(one) is Literal:
            yield f"One of {', '.join(f'`{word}`' for word in get_args(one))}.\n"
        else:
            yield _text(one)


def _hooks() -> Iterator[str]:
    yield "## Hooks\n"
    for name, one in vars(hookspec).items():
        if name.startswith("pytest_"):
            yield f"### {name}\n"
            yield _function(name, one)


def _settings() -> Iterator[str]:
    yield "## Settings\n"
    types = {
        name.lower(): text.removeprefix("Rule[").removesuffix("]")
        for name, text in parsing.__annotations__.items()
    }
    yield from _table(
        ["option", "ini key", "marker", "type", "what it is"],
        [
            [
                f"`{setting.flag}`" if setting.on_command_line else "",
                f"`{setting.ini}`" if setting.on_command_line else "",
                f"`{setting.name}=`" if setting.in_marker else "",
                _type(types[setting.name]),
                setting.help.replace("%%", "%").replace("|", "\\|"),
            ]
            for setting in SETTINGS
        ],
    )


def _function(name: str, function: Callable[..., Any]) -> str:
    signature = inspect.signature(function)
    lines, named = [], False
    for one in signature.parameters.values():
        if one.name == "self":
            continue
        if one.kind is one.KEYWORD_ONLY and not named:
            named = True
            lines.append("*")
        default = "" if one.default is one.empty else f" = {one.default!r}"
        lines.append(f"{one.name}: {one.annotation}{default}")
    arguments = "".join(f"    {line},\n" for line in lines)
    opening = f"(\n{arguments})" if lines else "()"
    return f"```text\n{name}{opening} -> {signature.return_annotation}\n```\n\n{_text(function)}"


def _text(documented: Any) -> str:
    """Return a docstring as Markdown: arguments, also those that no section names, are a list."""
    text = inspect.cleandoc(documented.__doc__) + "\n"

    def section(found: re.Match[str]) -> str:
        title, inner = found.groups()
        return f"**{_TITLES.get(title, title)}:**\n\n{textwrap.dedent(inner)}"

    return _TERM.sub(r"- `\1`: ", _SECTION.sub(section, text))


def _summary(documented: Any) -> str:
    return inspect.cleandoc(documented.__doc__).partition("\n\n")[0].replace("\n", " ")


def _type(annotation: str) -> str:
    return f"`{annotation}`".replace("|", "\\|")


def _table(head: list[str], rows: list[list[str]]) -> Iterator[str]:
    for row in (head, ["---"] * len(head), *rows):
        yield f"| {' | '.join(row)} |"
    yield ""


if __name__ == "__main__":
    PAGE.write_text(page())

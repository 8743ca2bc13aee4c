"""Sections and tables of the documentation's pages, as the tests compare them with the code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise


def section(page: str, title: str) -> str:
    """Return the text below a heading, up to the next heading of its level or above."""
    start = re.search(rf"^(#+) {re.escape(title)}$", page, re.MULTILINE)
    assert start is not None, title
    rest = page[start.end() :]
    end = re.search(rf"^#{{2,{len(start[1])}}} ", rest, re.MULTILINE)
    return rest[: end.start()] if end else rest


def table_rows(text: str, head: str = "") -> Iterator[list[str]]:
    """Yield the cells of each row below a head whose first cell is `head`, if that is given.

    Capital letters of the page don't matter.
    """
    its_head = ""
    for line, following in pairwise([*text.splitlines(), ""]):
        if not line.startswith("|") or _is_ruler(line):
            continue
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if _is_ruler(following):
            its_head = cells[0]
        elif head in {"", its_head.lower()}:
            yield cells


def code_spans(text: str) -> list[str]:
    """Return what is in code font."""
    return [found[2].strip() for found in re.finditer(r"(`+)(.+?)\1(?!`)", text)]


def rows_by_name(text: str) -> dict[str, list[str]]:
    """Return the other cells of each row, by each name in its first cell."""
    found: dict[str, list[str]] = {}
    for first, *others in table_rows(text):
        found |= dict.fromkeys(code_spans(first) or [first], others)
    return found


def _is_ruler(line: str) -> bool:
    return bool(line) and set(line) <= set("|-: ")

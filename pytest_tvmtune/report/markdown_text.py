"""Parts of Markdown in which nothing becomes markup: text, code, tables, folded parts."""

from __future__ import annotations

import re
from collections.abc import Sequence


def code(text: str) -> str:
    """Return text as code that nothing in the text can end, also in a table."""
    words = " ".join(text.split()).replace("|", "\\|") or " "
    fence = "`" * (1 + _longest_fence(words))
    pad = " " if "`" in words else ""
    return f"{fence}{pad}{words}{pad}{fence}"


def code_block(text: str, language: str = "text") -> str:
    """Return text as a block of code that nothing in the text can end."""
    fence = "`" * max(3, 1 + _longest_fence(text))
    return f"{fence}{language}\n{text}\n{fence}"


def plain(text: str) -> str:
    """Return text without Markdown, HTML, and mentions."""
    escaped = re.sub(r"([\\`*_{}\[\]<>#|~&!$])", r"\\\1", " ".join(text.split()))
    # A backslash doesn't prevent a mention on GitHub.
    return escaped.replace("@", "@<!-- -->")


def details(summary: str, inside: str) -> str:
    """Return a folded part. summary: HTML."""
    return f"<details><summary>{summary}</summary>\n\n{inside}\n\n</details>"


def fitting(blocks: Sequence[str], most_bytes: int) -> list[str]:
    """Leave out blocks from the end until the others, with empty lines between, fit."""
    kept = list(blocks)
    while kept and size_bytes(kept) > most_bytes:
        kept.pop()
    return kept


def size_bytes(blocks: Sequence[str]) -> int:
    """Return the size of blocks in UTF-8, with empty lines between."""
    return len("\n\n".join(blocks).encode()) + 1


def _longest_fence(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)

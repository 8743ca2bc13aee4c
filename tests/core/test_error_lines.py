"""What becomes of other people's errors, and of long lists, in our messages."""

from __future__ import annotations

import pytest

from pytest_tvmtune.core.errors import first_line, last_line, listed


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("one", "one", "one"),
        ("Traceback\n  at f\n\nError message: no loop\n(in main)", "Traceback", "no loop"),
        ("x" * 200, "x" * 157 + "...", "x" * 157 + "..."),
        ("", "ValueError", "ValueError"),
    ],
)
def test_the_line_of_an_error_that_says_something(text: str, first: str, last: str) -> None:
    assert (first_line(ValueError(text)), last_line(ValueError(text))) == (first, last)


def test_a_long_list_names_the_first_ones() -> None:
    assert listed(["a"]) == "a"
    assert listed(list("abcd")) == "a, b, c, d"
    assert listed(list("abcdef")) == "a, b, c, d and 2 more"

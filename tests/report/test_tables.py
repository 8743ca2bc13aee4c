"""Plain tables and sizes."""

from __future__ import annotations

import pytest

from pytest_tvmtune.report.text_tables import format_bytes, table_lines


def test_columns_line_up_and_no_line_ends_in_blanks() -> None:
    rows = [("a", "1", "x"), ("longer", "1000", "")]
    assert table_lines(("name", "n", "why"), rows, right=("n",)) == [
        "name       n  why",
        "a          1  x",
        "longer  1000",
    ]


def test_all_columns_are_aligned_left_unless_told() -> None:
    assert table_lines(("a", "b"), [("long", "1")]) == ["a     b", "long  1"]
    assert table_lines(("a", "b"), [("long", "1")], right=("a", "b")) == ["   a  b", "long  1"]


def test_without_rows_the_headings_stand_alone() -> None:
    assert table_lines(("name", "n"), []) == ["name  n"]


def test_a_row_of_another_length_is_a_mistake() -> None:
    with pytest.raises((ValueError, IndexError)):
        table_lines(("a", "b"), [("1",)])
    with pytest.raises(ValueError, match="zip"):
        table_lines(("a", "b"), [("1", "2", "3")])


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 B"),
        (512, "512 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (12_345, "12.3 kB"),
        (999_400, "999 kB"),
        (999_600, "1 MB"),
        (4_560_000, "4.56 MB"),
        (999_600_000, "1 GB"),
        (12_300_000_000, "12.3 GB"),
        (999 * 10**9, "999 GB"),
    ],
)
def test_sizes_are_readable(size_bytes: int, text: str) -> None:
    assert format_bytes(size_bytes) == text


def test_terabytes_are_readable_too() -> None:
    assert format_bytes(1234 * 10**9) in ("1234 GB", "1.23 TB")

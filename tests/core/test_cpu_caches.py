"""The sizes of caches, from files as Linux has them."""

from __future__ import annotations

from pathlib import Path

from pytest_tvmtune.machine.cpu_caches import cache_sizes


def test_caches_for_data_by_level(tmp_path: Path) -> None:
    caches = [
        ("Data", "1", "48K"), ("Instruction", "1", "32K"), ("Unified", "2", "1024K"),
        ("Unified", "3", "32M"), ("Unified", "4", "much"),
    ]  # fmt: skip
    for index, values in enumerate(caches):
        folder = tmp_path / f"index{index}"
        folder.mkdir()
        for name, value in zip(("type", "level", "size"), values, strict=True):
            (folder / name).write_text(f"{value}\n")
    (tmp_path / "index9").mkdir()
    assert cache_sizes(tmp_path) == {1: 48 << 10, 2: 1 << 20, 3: 32 << 20}


def test_a_machine_that_does_not_show_them(tmp_path: Path) -> None:
    assert cache_sizes(tmp_path / "none") == {}

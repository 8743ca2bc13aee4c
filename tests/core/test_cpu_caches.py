"""The caches of machines, from files as Linux has them."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_tvmtune.machine.cpu_caches import CacheLevel, cache_levels
from pytest_tvmtune.relax.measuring.machine_peak_job import levels_to_measure, memory_to_read

KB, MB = 1 << 10, 1 << 20
Caches = list[tuple[str, str, str, str]]


def write_caches(root: Path, cpu: int, caches: Caches) -> None:
    for index, values in enumerate(caches):
        folder = root / f"cpu{cpu}" / "cache" / f"index{index}"
        folder.mkdir(parents=True)
        for name, value in zip(("type", "level", "size", "shared_cpu_list"), values, strict=True):
            (folder / name).write_text(f"{value}\n")


def test_caches_that_cores_share_count_once(tmp_path: Path) -> None:
    for cpu in range(4):
        write_caches(
            tmp_path, cpu,
            [
                ("Data", "1", "48K", str(cpu)), ("Instruction", "1", "32K", str(cpu)),
                ("Unified", "2", "1024K", str(cpu)),
                ("Unified", "3", "32M", "0-1" if cpu < 2 else "2-3"),
                ("Unified", "4", "much", "0-3"),
            ],
        )  # fmt: skip
    (tmp_path / "cpu0" / "cache" / "index9").mkdir()
    assert cache_levels(range(4), tmp_path) == {
        1: CacheLevel(size_bytes=48 * KB, count=4),
        2: CacheLevel(size_bytes=MB, count=4),
        3: CacheLevel(size_bytes=32 * MB, count=2),
    }
    assert cache_levels([0, 1], tmp_path)[3].count == 1


def test_a_machine_that_does_not_show_them(tmp_path: Path) -> None:
    assert cache_levels([0], tmp_path) == {}


@pytest.mark.parametrize(
    ("l2", "l3", "threads", "levels"),
    [
        # A desk: two threads share a large last level.
        ((MB, 2), (32 * MB, 1), 2, [(2, 2 * MB, MB // 2), (3, 32 * MB, 8 * MB)]),
        # Fewer threads than cores.
        ((MB, 8), (32 * MB, 1), 1, [(2, MB, MB // 2), (3, 32 * MB, 16 * MB)]),
        # A server of two parts: half of a thread's part of the last level would fit into level 2.
        ((MB, 16), (32 * MB, 2), 16, [(2, 16 * MB, MB // 2), (3, 64 * MB, 2 * MB)]),
        ((MB, 16), (32 * MB, 1), 16, [(2, 16 * MB, MB // 2), (3, 32 * MB, 2 * MB)]),
        # The last level has less for a thread than level 2: no working set is in it alone.
        ((2 * MB, 16), (30 * MB, 1), 16, [(2, 32 * MB, MB)]),
        # It has little more: what fits into it alone isn't compared with memory.
        ((2 * MB, 16), (48 * MB, 1), 16, [(2, 48 * MB, MB)]),
    ],
)
def test_a_level_is_measured_where_no_other_holds_the_data(
    l2: tuple[int, int], l3: tuple[int, int], threads: int, levels: list[tuple[int, int, int]]
) -> None:
    caches = {
        level: CacheLevel(size_bytes=size, count=count)
        for level, (size, count) in ((1, (32 * KB, l2[1])), (2, l2), (3, l3))
    }
    assert levels_to_measure(caches, threads) == levels


@pytest.mark.parametrize(
    ("last", "read"),
    [(0, 128), (8, 128), (64, 256), (384, 1024), (1152, 2304)],
)
def test_memory_is_read_beyond_the_last_cache(last: int, read: int) -> None:
    assert memory_to_read(last * MB) == read * MB

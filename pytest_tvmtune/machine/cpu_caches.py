"""The caches of this machine, as far as Linux shows them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pytest_tvmtune.machine.fingerprint import allowed_cores

_CPUS = Path("/sys/devices/system/cpu")
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


@dataclass(frozen=True, kw_only=True)
class CacheLevel:
    """The caches for data of a level. size_bytes: of each. count: that the cores use."""

    size_bytes: int
    count: int


def cache_levels(cpus: Iterable[int] | None = None, folder: Path = _CPUS) -> dict[int, CacheLevel]:
    """Return level -> its caches; empty if unknown. cpus: by default, those of this process."""
    found: dict[int, dict[str, int]] = defaultdict(dict)
    for cpu in allowed_cores() if cpus is None else cpus:
        for cache in sorted((folder / f"cpu{cpu}" / "cache").glob("index*")):
            try:
                kind, level, size, shared = (
                    (cache / name).read_text().strip()
                    for name in ("type", "level", "size", "shared_cpu_list")
                )
                if kind != "Instruction":
                    found[int(level)][shared] = int(size[:-1]) * _UNITS[size[-1:]]
            except (OSError, ValueError, KeyError):
                continue
    return {
        level: CacheLevel(size_bytes=min(sizes.values()), count=len(sizes))
        for level, sizes in sorted(found.items())
    }

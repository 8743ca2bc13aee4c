"""The sizes of this machine's caches, as far as Linux shows them."""

from __future__ import annotations

from pathlib import Path

_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def cache_sizes(folder: Path = _CACHES) -> dict[int, int]:
    """Return level -> bytes of the caches for data that the first core uses; empty if unknown."""
    sizes: dict[int, int] = {}
    for cache in sorted(folder.glob("index*")):
        try:
            kind, level, size = (
                (cache / name).read_text().strip() for name in ("type", "level", "size")
            )
            if kind != "Instruction":
                sizes[int(level)] = int(size[:-1]) * _UNITS[size[-1:]]
        except (OSError, ValueError, KeyError):
            continue
    return sizes

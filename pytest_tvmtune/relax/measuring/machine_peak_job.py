"""Job: measure what this machine can do at most, by native code (machine_peak.cc)."""

from __future__ import annotations

import ctypes
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pytest_tvmtune.core.error_text import cause_of
from pytest_tvmtune.core.errors import LackingError
from pytest_tvmtune.core.job_stage import JobStage
from pytest_tvmtune.core.kernels.roofline import LEAST_MEMORY_BYTES, MEMORY, Bandwidth, MachinePeak
from pytest_tvmtune.machine.cpu_caches import CacheLevel, cache_levels
from pytest_tvmtune.processes.job import Job, WorkerContext
from pytest_tvmtune.relax import compat

_SOURCE = Path(__file__).with_name("machine_peak.cc")
_SECONDS = 0.01
# Of all threads together, so that no cache has much of it. Of the largest caches, it's only twice.
_MOST_MEMORY_BYTES = 1 << 30
_TIMES_LAST_CACHE, _LEAST_TIMES = 4, 2


@dataclass(frozen=True, kw_only=True)
class Request:
    """num_threads: that work at the same time."""

    num_threads: int


def method_digest() -> str:
    """Return the digest of how peaks are measured: a peak of another method is measured again."""
    both = _SOURCE.read_bytes() + Path(__file__).read_bytes()
    return hashlib.sha256(both).hexdigest()[:12]


def run(request: Request, context: WorkerContext[None]) -> MachinePeak:
    """Measure the peak of this machine.

    Args:
        request: With how many threads.
        context: Of this process.

    Returns:
        The peak.

    Raises:
        LackingError: There is no C++ compiler that builds the code, or no memory for it.

    """
    context.enter_stage(JobStage("measuring the peak of this machine"))
    threads, library = request.num_threads, _library(context.folder)
    levels = [
        (f"L{level} cache", capacity_bytes, bytes_of_each)
        for level, capacity_bytes, bytes_of_each in levels_to_measure(cache_levels(), threads)
    ]
    total = memory_to_read(levels[-1][1] if levels else 0)
    bandwidths = [
        Bandwidth(
            name=name,
            capacity_bytes=capacity_bytes,
            bytes_per_s=_bytes_per_s(library, threads, bytes_of_each),
        )
        for name, capacity_bytes, bytes_of_each in (*levels, (MEMORY, None, total // threads))
    ]
    return MachinePeak(
        flop_per_s=library.tvmtune_flop_per_s(threads, _SECONDS),
        bandwidths=tuple(bandwidths),
        num_threads=threads,
        instructions=library.tvmtune_instructions().decode(),
    )


def levels_to_measure(caches: Mapping[int, CacheLevel], threads: int) -> list[tuple[int, int, int]]:
    """Return (level, bytes of all its caches, bytes that each thread reads) from level 2 on.

    A thread reads half of its part of a cache: the other half is for the rest that cores do. It
    reads at least twice what the level before holds for it, or that level would be measured. A
    level without the room for that isn't measured: what fits into it is compared with the faster
    level before, and its share is never too high.
    """
    levels: list[tuple[int, int, int]] = []
    inner_bytes = 0
    for level, caches_of in sorted(caches.items()):
        # As many as threads, at most: each may run next to a cache of its own.
        capacity_bytes = caches_of.size_bytes * min(caches_of.count, threads)
        part_bytes = capacity_bytes // threads
        bytes_of_each = max(part_bytes // 2, 2 * inner_bytes)
        if level >= 2 and bytes_of_each <= part_bytes:
            levels.append((level, capacity_bytes, bytes_of_each))
        elif levels:
            inner, inner_capacity_bytes, read = levels[-1]
            levels[-1] = (inner, max(inner_capacity_bytes, capacity_bytes), read)
        inner_bytes = max(inner_bytes, part_bytes)
    return levels


def memory_to_read(last_bytes: int) -> int:
    """Return the bytes that all threads read together to measure memory, beyond the last cache."""
    most = min(_TIMES_LAST_CACHE * last_bytes, _MOST_MEMORY_BYTES)
    return max(LEAST_MEMORY_BYTES, most, _LEAST_TIMES * last_bytes)


def _bytes_per_s(library: ctypes.CDLL, threads: int, bytes_of_each: int) -> float:
    rate = float(library.tvmtune_bytes_per_s(threads, bytes_of_each, _SECONDS))
    if rate <= 0:
        raise LackingError("there is no memory to measure its bandwidth")
    return rate


def _library(folder: Path) -> ctypes.CDLL:
    command = compat.get_cc()
    if not command:
        raise LackingError("there is no C++ compiler on PATH; install one, such as g++")
    path = folder / "machine-peak.so"
    options = ["-O3", "-std=c++17", "-pthread"]
    try:
        compat.create_shared(str(path), [str(_SOURCE)], options=options, cc=command)
        library = ctypes.CDLL(str(path))
    except (RuntimeError, OSError) as error:
        raise LackingError(
            f"{command} can't build the code that measures this machine: {cause_of(error)}"
        ) from error
    library.tvmtune_instructions.restype = ctypes.c_char_p
    library.tvmtune_flop_per_s.restype = ctypes.c_double
    library.tvmtune_flop_per_s.argtypes = (ctypes.c_int, ctypes.c_double)
    library.tvmtune_bytes_per_s.restype = ctypes.c_double
    library.tvmtune_bytes_per_s.argtypes = (ctypes.c_int, ctypes.c_size_t, ctypes.c_double)
    return library


JOB = Job(run=run)

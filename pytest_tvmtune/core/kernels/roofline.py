"""The roofline: what a machine can do at most, and the shortest time of a kernel there.

Source: Williams, Waterman, and Patterson, "Roofline: an insightful visual performance model for
multicore architectures", 2009.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

from pytest_tvmtune.core.json_codec import Count

_Rate = Annotated[float, Meta(gt=0, le=sys.float_info.max)]
# The bound of a kernel that has more operations than bytes to wait for.
COMPUTE = "compute"
MEMORY = "memory"
# What all threads read together to measure memory. Less may be in a cache.
LEAST_MEMORY_BYTES = 128 << 20


@dataclass(frozen=True, kw_only=True)
class Bandwidth:
    """How fast data is read from a cache, or from memory.

    Attributes:
        name: `L2 cache`, `L3 cache`, or `memory`.
        capacity_bytes: The size of the cache, of all cores that the threads use together; null for
            memory.
        bytes_per_s: The measured rate of reading.
    """

    name: str
    capacity_bytes: Count | None
    bytes_per_s: _Rate


@dataclass(frozen=True, kw_only=True)
class MachinePeak:
    """The measured peak of a machine.

    Attributes:
        flop_per_s: The rate of floating-point operations of float32, in FMAs without loads and
            stores. An FMA, a fused multiplication and addition, is two operations.
        bandwidths: Of each cache from the second level on, then of memory.
        num_threads: The number of threads that did this at the same time.
        instructions: The widest vector instructions of the CPU, which were used regardless of
            the target of a model.
    """

    flop_per_s: _Rate
    bandwidths: tuple[Bandwidth, ...]
    num_threads: Count
    instructions: str

    @property
    def memory_bytes_per_s(self) -> float:
        """The rate of reading from memory."""
        return self.bandwidths[-1].bytes_per_s


@dataclass(frozen=True, kw_only=True)
class Possible:
    """The shortest time of a kernel on a machine. bound: `compute`, or the name of a bandwidth."""

    seconds: float
    bound: str


def possible_time(peak: MachinePeak, *, flop: int, traffic_bytes: int) -> Possible | None:
    """Return the shortest time of a call of a kernel.

    The data is where it fits: in the first cache that is large enough, else in memory. None if
    the caches aren't known, and the data may be in one.

    Args:
        peak: Of the machine.
        flop: The operations of the call.
        traffic_bytes: The bytes that it reads and writes.
    """
    level = next(
        one
        for one in peak.bandwidths
        if one.capacity_bytes is None or traffic_bytes <= one.capacity_bytes
    )
    compute_s, traffic_s = flop / peak.flop_per_s, traffic_bytes / level.bytes_per_s
    if compute_s >= traffic_s:
        return Possible(seconds=compute_s, bound=COMPUTE)
    if len(peak.bandwidths) == 1 and traffic_bytes < LEAST_MEMORY_BYTES:
        return None
    return Possible(seconds=traffic_s, bound=level.name)

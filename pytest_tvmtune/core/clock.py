"""The clocks of this package. A test that fakes time doesn't change them.

freezegun replaces the functions of `time` and `datetime` in every module that holds them.
time-machine changes them in place, `clock_gettime(CLOCK_REALTIME)` among them. Neither reaches
CLOCK_MONOTONIC, nor the C library.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable
from functools import cache, partial

# Seconds that only grow, for time-outs and durations: what `time.perf_counter` reads on Linux.
monotonic_s: Callable[[], float] = partial(time.clock_gettime, time.CLOCK_MONOTONIC)


def now_s() -> float:
    """Return the seconds since 1970, in UTC."""
    return _realtime_s()()


def utc_text(at_s: float) -> str:
    """Return a time as ISO 8601, in UTC: 2027-01-31T12:00:00Z. at_s: seconds since 1970."""
    # Not by `strftime`: freezegun's may ignore the time that it is given.
    year, month, day, hour, minute, second = time.gmtime(at_s)[:6]
    return f"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"


def today() -> datetime.date:
    """Return today's date, in UTC."""
    return datetime.date(*time.gmtime(now_s())[:3])


@cache
def _realtime_s() -> Callable[[], float]:
    import ctypes

    class Timespec(ctypes.Structure):
        """The C library's `timespec`."""

        _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))

    clock_gettime = ctypes.CDLL(None).clock_gettime

    def read() -> float:
        spec = Timespec()
        clock_gettime(time.CLOCK_REALTIME, ctypes.byref(spec))
        return float(spec.seconds + spec.nanoseconds / 1e9)

    return read

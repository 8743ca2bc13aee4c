"""Change points of a case's latency over its runs, found by ruptures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from pytest_tvmtune.core.errors import EnvironmentProblemError

# benchmarks/change_points.py measures this: 0 to 4 % of the series without a change are reported
# to have one, for all shapes of noise. A change of three standard deviations is found.
_LEAST_PENALTY = 3.0
# Runs on a level. Two runs off it are an outlier and its repetition.
LEAST_RUNS = 3


@dataclass(frozen=True, kw_only=True)
class Change:
    """The end of a level and the start of the next level.

    Attributes:
        index: Index of the first value of the new level.
        before: Median of the old level.
        after: Median of the new level.
    """

    index: int
    before: float
    after: float

    @property
    def ratio(self) -> float:
        """After/before: 1.10 is 10 % slower."""
        return self.after / self.before


def find_changes(times_s: Sequence[float]) -> list[Change]:
    """Return the changes in a series of positive times, in order.

    Source: Arlot, Celisse and Harchaoui, A kernel multiple change-point algorithm via model
    selection, J. Mach. Learn. Res. 20 (2019), on the logarithms; penalty max(3, ln n).

    Raises:
        EnvironmentProblemError: ruptures isn't installed.
    """
    if len(times_s) < 2 * LEAST_RUNS:
        return []
    try:
        import ruptures
    except ImportError:
        raise EnvironmentProblemError(
            "change points need ruptures: pip install 'pytest-tvmtune[history]'"
        ) from None
    import numpy as np

    logs = np.log(np.asarray(times_s, dtype="float64"))
    if np.ptp(logs) == 0.0:  # the kernel's width depends on the distances
        return []
    search = ruptures.KernelCPD(kernel="rbf", min_size=LEAST_RUNS).fit(logs)
    ends = [int(end) for end in search.predict(pen=max(_LEAST_PENALTY, math.log(len(logs))))]
    bounds = [0, *ends]
    levels = [median(times_s[begin:end]) for begin, end in pairwise(bounds)]
    return [
        Change(index=ends[at], before=levels[at], after=levels[at + 1])
        for at in range(len(levels) - 1)
    ]

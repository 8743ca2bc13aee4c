"""The times of the kernels, now and in the baseline: plain values for reports."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

from pytest_tvmtune.core.json_codec import Count
from pytest_tvmtune.core.kernels.matching import Kernel, Kernels, matching_kernels
from pytest_tvmtune.core.kernels.roofline import MachinePeak, possible_time

# Functions of the Relax VM other than kernels: allocation, shape checks, tuples.
BUILT_INS = "vm.builtin"
# Of less of the kernels' time, a share of the peak says nothing about the model.
_LEAST_KNOWN = 0.5


@dataclass(frozen=True, kw_only=True)
class SideTimes:
    """The measurements of an artifact, in pairs with the other; seconds per call of the entry.

    kernels: name -> (calls, the total seconds of these calls in each pair), without the cost of the
    instrument; also `BUILT_INS`. end_to_end_s: of the entry without the instrument, in each pair.
    """

    kernels: Mapping[str, tuple[int, Sequence[float]]]
    end_to_end_s: Sequence[float]


@dataclass(frozen=True, kw_only=True)
class KernelTime:
    """A kernel's share of a call of the entry. Times are totals of all calls of the kernel.

    now_s is the median of the pairs. baseline_s is now_s, multiplied by the median of each pair's
    ratio baseline / now: if the machine is slower during some pairs, both sides are slower, and the
    ratio doesn't change. If now_s is 0, baseline_s is the median of the pairs.

    Attributes:
        name: The name of the kernel. `vm.builtin` stands for all functions of the VM that aren't
            kernels.
        calls: The number of calls; 0 if only the baseline has the kernel.
        now_s: The time of all calls.
        share: The share in the time of all kernels and built-in functions.
        tuned: Whether a tuning record is applied to the kernel.
        baseline_calls: The number of calls in the baseline; 0 for a new kernel, null without a
            baseline.
        baseline_s: The time of all calls in the baseline; 0 for a new kernel, null without a
            baseline.
        code_differs: Whether the code of the baseline's kernel differs; null without a baseline.
        flop: The floating-point operations that the model asks for in all calls, regardless of the
            schedule. A function such as `exp` counts as one. Null if it isn't
            known, as for a kernel that computes with integers or float16, or calls other code.
        traffic_bytes: The bytes of their arguments that all calls have to read and write, each
            element once in a call; null if it isn't known.
        possible_s: The shortest time of all calls at the peak of the machine; null if it isn't
            known.
        bound: The part of the machine that `possible_s` is the limit of: `compute`, `L2 cache`,
            `L3 cache`, or `memory`; empty if it isn't known.
    """

    name: str
    calls: Count
    now_s: float
    share: float
    tuned: bool = False
    baseline_calls: Count | None = None
    baseline_s: float | None = None
    code_differs: bool | None = None
    flop: Count | None = None
    traffic_bytes: Count | None = None
    possible_s: float | None = None
    bound: str = ""

    @property
    def cost_s(self) -> float:
        """The additional time compared to the baseline, or the whole time without a baseline."""
        return self.now_s - (self.baseline_s or 0.0)

    @property
    def flop_per_s(self) -> float | None:
        """The rate of its operations."""
        return self.flop / self.now_s if self.flop and self.now_s else None

    @property
    def bytes_per_s(self) -> float | None:
        """The rate of its traffic."""
        return self.traffic_bytes / self.now_s if self.traffic_bytes and self.now_s else None

    @property
    def roof_share(self) -> float | None:
        """The share of the machine's peak, 1 at the peak."""
        return self.possible_s / self.now_s if self.possible_s and self.now_s else None


@dataclass(frozen=True, kw_only=True)
class KernelTable:
    """The kernels of an artifact.

    Attributes:
        rows: The kernels. Those with the longest time come first, or with a baseline, those with
            the largest additional time.
        end_to_end_s: The time of a call of the entry without the instrument.
        overhead_s: The average cost of the instrument for each kernel or built-in function, which
            was subtracted.
        baseline_end_to_end_s: The `end_to_end_s` of the baseline; null without a baseline.
        peak: The peak of the machine; null if it isn't known, as for a device.
    """

    rows: tuple[KernelTime, ...]
    end_to_end_s: float
    overhead_s: float
    baseline_end_to_end_s: float | None = None
    peak: MachinePeak | None = None

    @property
    def together_s(self) -> float:
        """The time of all kernels and built-in functions in a call."""
        return sum(row.now_s for row in self.rows)

    @property
    def roof_share(self) -> float | None:
        """The share of the machine's peak, of the kernels whose work is known.

        None if that is less than half of the kernels' time.
        """
        if self.known_share < _LEAST_KNOWN:
            return None
        known = self._known
        return sum(row.possible_s or 0.0 for row in known) / sum(row.now_s for row in known)

    @property
    def known_share(self) -> float:
        """The share of the kernels' time, without built-ins, that those of known work take."""
        spent_s = sum(row.now_s for row in self.rows if row.name != BUILT_INS)
        return sum(row.now_s for row in self._known) / spent_s if spent_s else 0.0

    @property
    def _known(self) -> list[KernelTime]:
        return [row for row in self.rows if row.roof_share is not None]

    @property
    def unexplained_s(self) -> float:
        """The time of a call outside of kernels and built-ins; negative if those take longer."""
        return self.end_to_end_s - self.together_s


def table_of(
    now: SideTimes, kernels: Kernels, overhead_s: float, before: SideTimes | None, old: Kernels
) -> KernelTable:
    """Return the table of an artifact with `kernels`, next to a baseline with `old` kernels."""
    now_s = {name: median(pairs_s) for name, (_, pairs_s) in now.kernels.items()}
    total_s = sum(now_s.values()) or 1.0
    pairs = matching_kernels(old, kernels)
    # What isn't compiled here, built-ins and external functions, has one name on both sides.
    others = {name: pairs.get(name, "") if name in kernels else name for name in now.kernels}
    rows = []
    for name, (calls, pairs_s) in now.kernels.items():
        row = KernelTime(
            name=name,
            calls=calls,
            now_s=now_s[name],
            share=now_s[name] / total_s,
            tuned=name in kernels and bool(kernels[name].record),
        )
        if before is not None:
            baseline_calls, baseline_pairs_s = before.kernels.get(others[name], (0, ()))
            row = replace(
                row,
                baseline_calls=baseline_calls,
                baseline_s=_beside(pairs_s, baseline_pairs_s) if baseline_calls else 0.0,
                code_differs=_code(others[name], old) != _code(name, kernels),
            )
        rows.append(row)
    return KernelTable(
        rows=tuple(sorted([*rows, *_gone(before, old, others)], key=lambda r: (-r.cost_s, r.name))),
        end_to_end_s=median(now.end_to_end_s),
        overhead_s=overhead_s,
        baseline_end_to_end_s=_beside(now.end_to_end_s, before.end_to_end_s) if before else None,
    )


def with_work(table: KernelTable, kernels: Kernels, peak: MachinePeak | None) -> KernelTable:
    """Return the table of an artifact with the work of its kernels, and the peak of the machine."""
    rows = (
        _with_work(row, kernels[row.name], peak) if row.calls and row.name in kernels else row
        for row in table.rows
    )
    return replace(table, rows=tuple(rows), peak=peak)


def _with_work(row: KernelTime, kernel: Kernel, peak: MachinePeak | None) -> KernelTime:
    """Return a kernel's row with its work, and the shortest time for it."""
    flop, traffic_bytes = kernel.flop, kernel.traffic_bytes
    row = replace(
        row,
        flop=None if flop is None else row.calls * flop,
        traffic_bytes=None if traffic_bytes is None else row.calls * traffic_bytes,
    )
    if peak is None or flop is None or traffic_bytes is None:
        return row
    possible = possible_time(peak, flop=flop, traffic_bytes=traffic_bytes)
    if possible is None:
        return row
    return replace(row, possible_s=row.calls * possible.seconds, bound=possible.bound)


def _beside(now_s: Sequence[float], before_s: Sequence[float]) -> float:
    """Return the time of the baseline in a pair whose other time is the median of now."""
    if not median(now_s):
        return median(before_s)
    return median(now_s) * median(
        before / now for now, before in zip(now_s, before_s, strict=True) if now
    )


def _gone(
    before: SideTimes | None, old: Kernels, others: Mapping[str, str]
) -> Iterator[KernelTime]:
    """Yield the rows of the kernels that only the baseline calls."""
    if before is None:
        return
    for name in before.kernels.keys() - set(others.values()):
        calls, pairs_s = before.kernels[name]
        yield KernelTime(
            name=name,
            calls=0,
            now_s=0.0,
            share=0.0,
            tuned=name in old and bool(old[name].record),
            baseline_calls=calls,
            baseline_s=median(pairs_s),
            code_differs=True,
        )


def _code(name: str, kernels: Kernels) -> str:
    return kernels[name].code if name in kernels else name

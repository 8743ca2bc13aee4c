"""What each kernel costs, now and in the baseline: plain values for reports."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

from pytest_tvmtune.core.json_codec import Count
from pytest_tvmtune.core.kernels.matching import Kernels, matching_kernels

# What the Relax VM calls beside kernels: allocation, shape checks, tuples.
BUILT_INS = "vm.builtin"


@dataclass(frozen=True, kw_only=True)
class SideTimes:
    """What was measured of one artifact, in pairs with the other; seconds per call of the entry.

    kernels: name -> (calls, their seconds together in each pair), the instrument's own cost taken
    off; also `BUILT_INS`. end_to_end_s: of the entry without the instrument, in each pair.
    """

    kernels: Mapping[str, tuple[int, Sequence[float]]]
    end_to_end_s: Sequence[float]


@dataclass(frozen=True, kw_only=True)
class KernelTime:
    """A kernel's share of one call of the entry. Seconds are those of all its calls together.

    now_s is the median of the pairs, baseline_s that times the median of each pair's baseline/now:
    a machine that is slower for some pairs is so on both sides, and changes no ratio. Without a
    now_s baseline_s is the median of the pairs.

    Attributes:
        name: Its name; `vm.builtin` is what the VM calls that is no kernel.
        calls: How often it is called; 0 where only the baseline has it.
        now_s: Time of all its calls.
        share: Share of the time of all kernels and built-ins.
        tuned: Whether a tuning record is applied to it.
        baseline_calls: How often the baseline calls it; 0 where it is new, null without a baseline.
        baseline_s: Time of all its calls in the baseline; 0 where it is new, null without a
            baseline.
        code_differs: Whether the baseline's was compiled from something else; null without a
            baseline.
    """

    name: str
    calls: Count
    now_s: float
    share: float
    tuned: bool = False
    baseline_calls: Count | None = None
    baseline_s: float | None = None
    code_differs: bool | None = None

    @property
    def cost_s(self) -> float:
        """What it takes more than in the baseline, or at all without one."""
        return self.now_s - (self.baseline_s or 0.0)


@dataclass(frozen=True, kw_only=True)
class KernelTable:
    """The kernels of an artifact.

    Attributes:
        rows: Those that take longest first; with a baseline, those that became slowest first.
        end_to_end_s: Time of a call of the entry without the instrument.
        overhead_s: What the instrument costs for each kernel or built-in, on average; so much was
            subtracted.
        baseline_end_to_end_s: The same of the baseline as `end_to_end_s`; null without one.
    """

    rows: tuple[KernelTime, ...]
    end_to_end_s: float
    overhead_s: float
    baseline_end_to_end_s: float | None = None

    @property
    def together_s(self) -> float:
        """What kernels and built-ins take of a call."""
        return sum(row.now_s for row in self.rows)

    @property
    def unexplained_s(self) -> float:
        """Seconds of a call beyond kernels and built-ins; negative when they take longer."""
        return self.end_to_end_s - self.together_s


def table_of(
    now: SideTimes, kernels: Kernels, overhead_s: float, before: SideTimes | None, old: Kernels
) -> KernelTable:
    """Return the table of an artifact with these `kernels`, beside a baseline with `old` ones."""
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


def _beside(now_s: Sequence[float], before_s: Sequence[float]) -> float:
    """Return what the baseline takes, in pairs as fast as the median of those of now."""
    if not median(now_s):
        return median(before_s)
    return median(now_s) * median(
        before / now for now, before in zip(now_s, before_s, strict=True) if now
    )


def _gone(
    before: SideTimes | None, old: Kernels, others: Mapping[str, str]
) -> Iterator[KernelTime]:
    """Yield the rows of what only the baseline calls."""
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

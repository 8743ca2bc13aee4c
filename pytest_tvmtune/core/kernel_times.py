"""What each kernel costs, now and in the baseline: plain values for reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pytest_tvmtune.core.kernels import Kernels, partners

# What the Relax VM calls beside kernels: allocation, shape checks, tuples.
BUILT_INS = "vm.builtin"


@dataclass(frozen=True, kw_only=True)
class SideTimes:
    """What was measured of one artifact; seconds per call of the entry.

    kernels: name -> (calls, their seconds together), the instrument's own cost taken off; also
    `BUILT_INS`. end_to_end_s: without the instrument. watched_s: with it.
    """

    kernels: Mapping[str, tuple[int, float]]
    end_to_end_s: float
    watched_s: float


@dataclass(frozen=True, kw_only=True)
class KernelTime:
    """A kernel's share of one call of the entry. Seconds per call of the entry, all calls together.

    calls: of the kernel; 0 where only the baseline has it. share: of all kernels' time, built-ins
    included. baseline_s: what it took there, 0.0 where it is new, None without a baseline.
    code_differs: whether the baseline's was compiled from something else, None without a baseline.
    """

    name: str
    calls: int
    now_s: float
    share: float
    tuned: bool = False
    baseline_s: float | None = None
    code_differs: bool | None = None

    @property
    def cost_s(self) -> float:
        """What it takes more than in the baseline, or at all without one."""
        return self.now_s - (self.baseline_s or 0.0)


@dataclass(frozen=True, kw_only=True)
class KernelTable:
    """The kernels of an artifact, the dearest first; beside a baseline, by what they cost more.

    end_to_end_s: a call without the instrument. overhead_s: what the instrument costs for each
    kernel or built-in; so much was taken off. unexplained_s: the part of end_to_end_s that no row
    accounts for.
    """

    rows: tuple[KernelTime, ...]
    end_to_end_s: float
    overhead_s: float
    baseline_end_to_end_s: float | None = None

    @property
    def unexplained_s(self) -> float:
        """Seconds of a call beyond kernels and built-ins; negative when they take longer."""
        return self.end_to_end_s - sum(row.now_s for row in self.rows)

    @staticmethod
    def from_json(loaded: dict[str, Any]) -> KernelTable:
        """Return the table that `asdict` made plain."""
        return KernelTable(**{**loaded, "rows": tuple(KernelTime(**r) for r in loaded["rows"])})


def table_of(
    now: SideTimes, kernels: Kernels, overhead_s: float, before: SideTimes | None, old: Kernels
) -> KernelTable:
    """Return the table of an artifact with these `kernels`, beside a baseline with `old` ones."""
    total_s = sum(seconds for _, seconds in now.kernels.values()) or 1.0
    pairs = partners(old, kernels)
    rows = []
    for name, (calls, seconds) in now.kernels.items():
        other = name if name == BUILT_INS else pairs.get(name)
        same_code = name == BUILT_INS or (other and old[other].code == kernels[name].code)
        rows.append(
            KernelTime(
                name=name,
                calls=calls,
                now_s=seconds,
                share=seconds / total_s,
                tuned=name in kernels and bool(kernels[name].record),
                baseline_s=_seconds(before, other),
                code_differs=None if before is None else not same_code,
            )
        )
    if before is not None:
        taken = {BUILT_INS, *(pairs[name] for name in now.kernels if name in pairs)}
        for name in before.kernels.keys() - taken:
            rows.append(
                KernelTime(
                    name=name,
                    calls=0,
                    now_s=0.0,
                    share=0.0,
                    baseline_s=_seconds(before, name),
                    code_differs=True,
                )
            )
    return KernelTable(
        rows=tuple(sorted(rows, key=lambda row: (-row.cost_s, row.name))),
        end_to_end_s=now.end_to_end_s,
        overhead_s=overhead_s,
        baseline_end_to_end_s=before.end_to_end_s if before else None,
    )


def _seconds(side: SideTimes | None, name: str | None) -> float | None:
    if side is None:
        return None
    return side.kernels[name][1] if name and name in side.kernels else 0.0

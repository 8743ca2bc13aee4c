"""Why an artifact is slower or faster than another: read off what the two are made of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from pytest_tvmtune.core.kernels import Kernel, Kernels, partners

# environment: the libraries are the same. model: workloads, or calls of them, came or went.
# schedule: other records are applied. tvm: another version compiled it. code: same workloads,
# records and versions, and yet other code. order: the same kernels in another order.
Kind = Literal["environment", "model", "schedule", "tvm", "code", "order"]
_MOST_NAMES = 4


@dataclass(frozen=True, kw_only=True)
class Cause:
    """What changed between two artifacts. message: all of it, what weighs most first."""

    kind: Kind
    message: str


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What an artifact is made of. versions: of tvm and tvm-ffi. num_threads: it runs with."""

    library: str
    kernels: Kernels
    versions: tuple[str, str]
    num_threads: int


def find_cause(
    before: Origin, now: Origin, *, known_records: Collection[str], untuned: str = ""
) -> Cause:
    """Return what changed from one artifact to the next.

    known_records: digests of all records in the store, for these workloads: one of the baseline's
    that isn't there was lost. untuned: how the two compare without tuning, as a clause, where that
    was measured.
    """
    threads = _change("threads", before.num_threads, now.num_threads)
    versions = _change("TVM", " / ffi ".join(before.versions), " / ffi ".join(now.versions))
    if before.library == now.library:
        known = ", ".join(filter(None, (threads, versions))) or "nothing else that is known changed"
        return Cause(kind="environment", message=f"the same code; {known}")
    pairs = partners(before.kernels, now.kernels)
    kind, said = _kernel_changes(before, now, pairs, known_records, other_tvm=bool(versions))
    if versions:
        kind = "tvm"
        said.insert(0, f"{versions}{f', {untuned}' if untuned else ''}")
    untuned_now = [
        name
        for name, old in pairs.items()
        if before.kernels[old].record and not now.kernels[name].record
    ]
    if untuned_now:
        said.insert(0, f"{_names(untuned_now)} untuned now, tuned in the baseline")
    if threads:
        said.append(threads)
    return Cause(kind=kind, message="; ".join(said))


def _kernel_changes(
    before: Origin,
    now: Origin,
    pairs: dict[str, str],
    known_records: Collection[str],
    *,
    other_tvm: bool,
) -> tuple[Kind, list[str]]:
    added = [name for name in now.kernels if name not in pairs]
    gone = [name for name in before.kernels if name not in pairs.values()]
    # Hashes change with TVM's minor version, so there a name stands for a workload.
    changed = [
        name
        for name, old in pairs.items()
        if not other_tvm and _workload(before.kernels[old]) != _workload(now.kernels[name])
    ]
    recalled = [
        f"{name} {was} -> {calls} times"
        for name, old in pairs.items()
        if (was := before.kernels[old].calls) != (calls := now.kernels[name].calls)
    ]
    parts = (("new", added), ("gone", gone), ("changed", changed), ("called", recalled))
    if any(names for _, names in parts):
        told = ", ".join(f"{what}: {_names(names)}" for what, names in parts if names)
        return "model", [f"model changed ({told})"]
    rescheduled = [
        name
        for name, old in pairs.items()
        if before.kernels[old].record != now.kernels[name].record
    ]
    if rescheduled:
        said = f"schedule changed: another record is applied to {_names(rescheduled)}"
        lost = [
            name
            for name in rescheduled
            if (record := before.kernels[pairs[name]].record) and record not in known_records
        ]
        if lost:
            said += "; the cache had lost the baseline's records and was tuned anew"
        return "schedule", [said]
    recoded = [
        name for name, old in pairs.items() if before.kernels[old].code != now.kernels[name].code
    ]
    if recoded:
        return "code", [f"the same records, but other code for {_names(recoded)}"]
    return "order", ["every kernel is the same; only how they are called, or named, differs"]


def _workload(kernel: Kernel) -> str:
    # What is no tuning task has no schedule either: its code is its workload.
    return kernel.shash or kernel.code


def _change(what: str, before: object, now: object) -> str:
    return "" if before == now else f"{what} {before} -> {now}"


def _names(names: Sequence[str]) -> str:
    counted = Counter(names)
    shown = ", ".join(list(counted)[:_MOST_NAMES])
    more = len(counted) - _MOST_NAMES
    return f"{shown} and {more} more" if more > 0 else shown

"""The cause of a slowdown or speed-up: the differences between two artifacts."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from pytest_tvmtune.core.errors import listed
from pytest_tvmtune.core.kernels.matching import (
    Kernel,
    Kernels,
    is_layout,
    matching_kernels,
    prepacked_of,
)
from pytest_tvmtune.core.versions import minor

CauseKind = Literal["environment", "tvm", "model", "schedule", "code", "order"]
_KINDS: tuple[CauseKind, ...] = get_args(CauseKind)
# Of now's kernel, by name: the baseline's, and its own.
KernelPairs = Mapping[str, tuple[Kernel, Kernel]]
# Ends what stands for the workload of a kernel that only lays out weights.
_LAYOUT = ", layout"
_ORDER = "all kernels are the same, but their order, their names, or a constant differs"


@dataclass(frozen=True, kw_only=True)
class Cause:
    """The changes between two artifacts.

    Attributes:
        kind: The first of these that applies. `environment`: the libraries are the same. `tvm`:
            another version of TVM compiled the artifact. `model`: workloads, or calls of workloads,
            were added or removed. `schedule`: other records are applied. `code`: the workloads,
            records, and versions are the same, but the code differs. `order`: the same kernels are
            in another order.
        message: All changes, the most important first.
    """

    kind: CauseKind
    message: str


@dataclass(frozen=True, kw_only=True)
class ArtifactOrigin:
    """The parts of an artifact.

    versions: of tvm and tvm-ffi. num_threads: the number of threads that it runs with.
    """

    library: str
    kernels: Kernels
    versions: tuple[str, str]
    num_threads: int


def find_cause(
    before: ArtifactOrigin,
    now: ArtifactOrigin,
    *,
    known_records: Collection[str],
    untuned: str = "",
) -> Cause:
    """Return the changes from one artifact to the next.

    known_records: digests of all records in the store, for these workloads: one of the baseline's
    that isn't there was lost. untuned: how the two compare without tuning, as a clause, where that
    was measured.
    """
    threads = _change("threads", before.num_threads, now.num_threads)
    versions = _change("TVM", " / ffi ".join(before.versions), " / ffi ".join(now.versions))
    if before.library == now.library:
        known = ", ".join(filter(None, (threads, versions))) or "no other known change"
        return Cause(kind="environment", message=f"same code; {known}")
    if not (before.kernels and now.kernels):
        unknown = ("another library", versions, "its kernels aren't known", threads)
        return Cause(kind="code", message="; ".join(filter(None, unknown)))
    before = replace(before, kernels=_with_layouts_of_tasks(before.kernels))
    now = replace(now, kernels=_with_layouts_of_tasks(now.kernels))
    names = matching_kernels(before.kernels, now.kernels)
    pairs = {name: (before.kernels[old], now.kernels[name]) for name, old in names.items()}
    # Equal code computes the same at the same speed, whatever it came from.
    recoded = {name: pair for name, pair in pairs.items() if pair[0].code != pair[1].code}
    # Hashes change with TVM's minor version, so there a name stands for a workload.
    hashes_hold = minor(before.versions[0]) == minor(now.versions[0])
    changed = [
        n for n, (old, new) in recoded.items() if hashes_hold and _workload_differs(old, new)
    ]
    dropped = [n for n, (old, new) in recoded.items() if old.record and not new.record]
    same_workload = {name: pair for name, pair in recoded.items() if name not in changed}
    found: list[tuple[CauseKind, str]] = [
        ("schedule", f"now untuned, tuned in the baseline: {listed(dropped)}" if dropped else ""),
        ("tvm", ", ".join(filter(None, (versions, untuned))) if versions else ""),
        ("model", _model_change(before, now, names, changed)),
        ("schedule", _schedule_change(before, same_workload, known_records)),
        ("code", _code_change(same_workload)),
    ]
    found = [(kind, words) for kind, words in found if words] or [("order", _ORDER)]
    kind = min((kind for kind, _ in found), key=_KINDS.index)
    parts = [*(words for _, words in found), threads]
    return Cause(kind=kind, message="; ".join(filter(None, parts)))


def _model_change(
    before: ArtifactOrigin, now: ArtifactOrigin, names: Mapping[str, str], changed: Sequence[str]
) -> str:
    recalled = [
        f"{name} {was} -> {calls} times"
        for name, old in names.items()
        if not _is_made_by_tuning(now.kernels[name])
        and (was := before.kernels[old].calls) != (calls := now.kernels[name].calls)
    ]
    parts = (
        ("new", _without_partner(now, names)),
        ("removed", _without_partner(before, names.values())),
        ("changed", changed),
        ("called", recalled),
    )
    changes = ", ".join(f"{what}: {listed(some)}" for what, some in parts if some)
    return f"model changed ({changes})" if changes else ""


def _schedule_change(
    before: ArtifactOrigin, pairs: KernelPairs, known_records: Collection[str]
) -> str:
    pairs = {name: pair for name, pair in pairs.items() if not _is_made_by_tuning(pair[1])}
    other = [
        n for n, (old, new) in pairs.items() if old.record and new.record not in {"", old.record}
    ]
    first = [n for n, (old, new) in pairs.items() if new.record and not old.record]
    parts = []
    if other:
        parts.append(f"another record is applied to {listed(other)}")
    if first:
        parts.append(f"now tuned, untuned in the baseline: {listed(first)}")
    if not parts:
        return ""
    said = f"schedule changed: {'; '.join(parts)}"
    lost = [name for name in other if pairs[name][0].record not in known_records]
    if not lost:
        return said
    applied = {kernel.record for kernel in before.kernels.values() if kernel.record}
    if applied.isdisjoint(known_records):
        return f"{said}; the store had lost the baseline's records, so the tasks were tuned again"
    return f"{said}; the store no longer has the baseline's records of {listed(lost)}"


def _code_change(pairs: KernelPairs) -> str:
    names = [name for name, (old, new) in pairs.items() if old.record == new.record]
    return f"same records, but different code for {listed(names)}" if names else ""


def _with_layouts_of_tasks(kernels: Kernels) -> Kernels:
    """Return the kernels, in which layout kernels of weights have the record that made them.

    Tuning makes layout kernels, and splits the kernel of a task into two. This isn't a change of
    the model.
    """

    def of_task(name: str, kernel: Kernel) -> Kernel:
        task = kernels.get(prepacked_of(name))
        if task is None or not is_layout(name):
            return kernel
        return replace(kernel, shash=task.shash + _LAYOUT, record=task.record)

    return {name: of_task(name, kernel) for name, kernel in kernels.items()}


def _is_made_by_tuning(kernel: Kernel) -> bool:
    return kernel.shash.endswith(_LAYOUT)


def _without_partner(origin: ArtifactOrigin, partnered: Collection[str]) -> list[str]:
    return [
        name
        for name, kernel in origin.kernels.items()
        if name not in partnered and not _is_made_by_tuning(kernel)
    ]


def _workload_differs(old: Kernel, new: Kernel) -> bool:
    # What is no tuning task has no schedule either: its code is its workload.
    return old.shash != new.shash or not new.shash


def _change(what: str, before: object, now: object) -> str:
    return "" if before == now else f"{what} {before} -> {now}"

"""Stage: the sizes, numbers, and durations of an artifact, next to the baseline's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from pytest_tvmtune.core.errors import StoreError, TvmTuneError
from pytest_tvmtune.core.gating.accepted_baseline import Baseline
from pytest_tvmtune.report.text_tables import format_bytes, format_seconds
from pytest_tvmtune.stages.case import Case
from pytest_tvmtune.stages.compiling import BuiltModel
from pytest_tvmtune.stages.outcomes import GrowthOutcome, Quantities
from pytest_tvmtune.stages.peak_memory import measured_bytes
from pytest_tvmtune.store import artifacts


@dataclass(frozen=True, kw_only=True)
class _Limited:
    """A quantity whose growth a setting limits. is_duration: it depends on the machine."""

    what: str
    setting: str
    of: Callable[[Quantities], float | None]
    words: Callable[[Any], str]
    is_duration: bool = False


_TRIAL = _Limited(
    what="time of a tuning trial",
    setting="max_tuning_time_growth",
    of=lambda one: one.trial_s,
    words=format_seconds,
    is_duration=True,
)
_LIMITED = (
    _Limited(
        what="library",
        setting="max_size_growth",
        of=lambda one: one.library_bytes,
        words=format_bytes,
    ),
    _Limited(
        what="workspace memory",
        setting="max_memory_growth",
        of=lambda one: one.workspace_bytes,
        words=format_bytes,
    ),
    _Limited(
        what="number of kernels",
        setting="max_kernel_growth",
        of=lambda one: one.kernel_calls,
        words=str,
    ),
    _Limited(
        what="peak memory",
        setting="max_peak_memory_growth",
        of=lambda one: one.peak_memory_bytes,
        words=format_bytes,
    ),
    _Limited(
        what="time to compile",
        setting="max_compile_time_growth",
        of=lambda one: one.compile_s,
        words=format_seconds,
        is_duration=True,
    ),
    _TRIAL,
)


def build_quantities(case: Case, built: BuiltModel, *, trial_s: float | None = None) -> Quantities:
    """Return what a build of this run takes. trial_s: of tuning in this run, if it tuned."""
    kept = built.build.peak_memory
    return replace(
        _sizes(case, built.artifact),
        peak_memory_bytes=kept.size_bytes if kept else None,
        compile_s=built.build.compile_s or None,
        trial_s=trial_s,
    )


def compare_quantities(case: Case, now: Quantities, baseline: Baseline) -> GrowthOutcome:
    """Return a finding for each quantity that grew more than it may.

    Sizes and numbers are exact, and durations have a limit that suits their noise, so one
    comparison decides. A baseline whose artifact isn't there is the latency gate's to report.
    """
    try:
        artifact = artifacts.find(case.store, baseline.artifact)
    except StoreError:
        return GrowthOutcome()
    accepted = replace(
        _sizes(case, artifact), compile_s=baseline.compile_s, trial_s=baseline.trial_s
    )
    findings, warnings = [], []
    if case.options.max_peak_memory_growth is not None:
        try:
            is_same = now.artifact == accepted.artifact
            peak_bytes = now.peak_memory_bytes if is_same else measured_bytes(case, artifact)
            accepted = replace(accepted, peak_memory_bytes=peak_bytes)
        except TvmTuneError as error:
            warnings.append(f"{case.label}: the baseline's peak memory is not known: {error}")
    for one in _LIMITED:
        limit: float | None = getattr(case.options, one.setting)
        # A run that didn't tune has no time of a trial, and nothing to check.
        if limit is None or (one is _TRIAL and now.trial_s is None):
            continue
        after, before = one.of(now), one.of(accepted)
        other_cpu = _other_cpu(case, baseline) if one.is_duration else ""
        if after is None or before is None or other_cpu:
            reason = other_cpu or f"the {one.what} is not known"
            warnings.append(f"{case.label}: {one.setting} can't be checked: {reason}")
        elif after > before * (1 + limit):
            grown = f" (+{100 * (after / before - 1):.1f} %)" if before else ""
            findings.append(
                f"{case.label}: its {one.what} grew from {one.words(before)} to "
                f"{one.words(after)}{grown}, and {one.setting} is {100 * limit:g} %; "
                "accept with --tvm-update"
            )
    return GrowthOutcome(accepted=accepted, findings=tuple(findings), warnings=tuple(warnings))


def _sizes(case: Case, artifact: artifacts.Artifact) -> Quantities:
    entry = artifact.manifest.entries.get(case.model.signature.entry)
    return Quantities(
        artifact=artifact.sha256,
        library_bytes=artifact.library.stat().st_size,
        workspace_bytes=entry.workspace_bytes if entry else None,
        kernel_calls=entry.kernel_calls if entry else None,
        peak_memory_bytes=None,
        compile_s=None,
        trial_s=None,
    )


def _other_cpu(case: Case, baseline: Baseline) -> str:
    """Return why durations of this machine and of the baseline's can't be compared, or ""."""
    cpu = baseline.fingerprint["cpu"]
    return "" if cpu == case.machine.cpu else f"the baseline was accepted on {cpu}"

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
class _Limit:
    """A limit of growth. what: the quantity's name in messages. limit: None without one."""

    what: str
    setting: str
    limit: float | None
    after: float | None
    before: float | None
    words: Callable[[Any], str]
    unknown: str = ""


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
    for one in _limits(case, now, accepted, baseline):
        if one.limit is None:
            continue
        if one.after is None or one.before is None or one.unknown:
            warnings.append(
                f"{case.label}: {one.setting} can't be checked: "
                f"{one.unknown or f'the {one.what} is not known'}"
            )
        elif one.after > one.before * (1 + one.limit):
            grown = f" (+{100 * (one.after / one.before - 1):.1f} %)" if one.before else ""
            findings.append(
                f"{case.label}: its {one.what} grew from {one.words(one.before)} to "
                f"{one.words(one.after)}{grown}, and {one.setting} is {100 * one.limit:g} %; "
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


def _limits(case: Case, now: Quantities, accepted: Quantities, baseline: Baseline) -> list[_Limit]:
    options = case.options
    limits = [
        _Limit(
            what="library",
            setting="max_size_growth",
            limit=options.max_size_growth,
            after=now.library_bytes,
            before=accepted.library_bytes,
            words=format_bytes,
        ),
        _Limit(
            what="workspace memory",
            setting="max_memory_growth",
            limit=options.max_memory_growth,
            after=now.workspace_bytes,
            before=accepted.workspace_bytes,
            words=format_bytes,
        ),
        _Limit(
            what="number of kernels",
            setting="max_kernel_growth",
            limit=options.max_kernel_growth,
            after=now.kernel_calls,
            before=accepted.kernel_calls,
            words=str,
        ),
        _Limit(
            what="peak memory",
            setting="max_peak_memory_growth",
            limit=options.max_peak_memory_growth,
            after=now.peak_memory_bytes,
            before=accepted.peak_memory_bytes,
            words=format_bytes,
        ),
        _Limit(
            what="time to compile",
            setting="max_compile_time_growth",
            limit=options.max_compile_time_growth,
            after=now.compile_s,
            before=accepted.compile_s,
            words=format_seconds,
            unknown=_other_cpu(case, baseline),
        ),
    ]
    # A run that didn't tune has no time of a trial, and nothing to check.
    if now.trial_s is not None:
        limits.append(
            _Limit(
                what="time of a tuning trial",
                setting="max_tuning_time_growth",
                limit=options.max_tuning_time_growth,
                after=now.trial_s,
                before=accepted.trial_s,
                words=format_seconds,
                unknown=_other_cpu(case, baseline),
            )
        )
    return limits


def _other_cpu(case: Case, baseline: Baseline) -> str:
    """Return why durations of this machine and of the baseline's can't be compared, or ""."""
    cpu = baseline.fingerprint["cpu"]
    return "" if cpu == case.machine.cpu else f"the baseline was accepted on {cpu}"

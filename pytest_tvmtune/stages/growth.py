"""Stage: the sizes, numbers, and durations of an artifact, next to the baseline's."""

from __future__ import annotations

from dataclasses import replace

from pytest_tvmtune.core.errors import StoreError, TvmTuneError
from pytest_tvmtune.core.gating.accepted_baseline import Baseline
from pytest_tvmtune.core.results.case_quantities import QUANTITIES, Quantity
from pytest_tvmtune.machine.fingerprint import fingerprint
from pytest_tvmtune.report.text_tables import format_quantity
from pytest_tvmtune.stages.case import Case
from pytest_tvmtune.stages.compiling import BuiltModel
from pytest_tvmtune.stages.outcomes import GrowthOutcome, Quantities
from pytest_tvmtune.stages.peak_memory import kept_bytes, measured_bytes
from pytest_tvmtune.store import artifacts


def build_quantities(case: Case, built: BuiltModel, *, trial_s: float | None = None) -> Quantities:
    """Return what a build of this run takes. trial_s: of tuning in this run, if it tuned."""
    return replace(
        _sizes(case, built.artifact),
        peak_memory_bytes=kept_bytes(case, built),
        library_compile_s=built.library_compile_s,
        trial_s=trial_s,
        compiled_on=built.build.compiled_on,
        tuned_on=tuning_machine(case),
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
        _sizes(case, artifact),
        library_compile_s=baseline.compile_s,
        trial_s=baseline.trial_s,
        compiled_on=baseline.compiled_on,
        tuned_on=baseline.tuned_on,
    )
    peak_problem = ""
    if case.options.max_peak_memory_growth is not None and now.peak_memory_bytes is not None:
        try:
            is_same = now.artifact == accepted.artifact
            peak_bytes = now.peak_memory_bytes if is_same else measured_bytes(case, artifact)
            accepted = replace(accepted, peak_memory_bytes=peak_bytes)
        except TvmTuneError as error:
            peak_problem = f": the baseline's: {error}"
    findings, warnings = [], []
    for one in QUANTITIES:
        limit: float | None = getattr(case.options, one.limit)
        after, before = one.now(now), one.now(accepted)
        # A run that didn't tune has no time of a trial, and nothing to check. Why the peak memory
        # isn't known was said where it was to be measured.
        if limit is None or (one.wanted and after is None):
            continue
        if reason := _incomparable(one, now, accepted):
            reason += peak_problem if one.field == "peak_memory_bytes" else ""
            warnings.append(f"{case.label}: {one.limit} can't be checked: {reason}")
        elif after > before * (1 + limit):
            old, new = (format_quantity(value, one.unit) for value in (before, after))
            grown = f" (+{100 * (after / before - 1):.1f} %)" if before else ""
            findings.append(
                f"{case.label}: its {one.what} grew from {old} to {new}{grown}, and {one.limit} is "
                f"{100 * limit:g} %; accept with --tvm-update"
            )
    return GrowthOutcome(accepted=accepted, findings=tuple(findings), warnings=tuple(warnings))


def tuning_machine(case: Case) -> str:
    """Return the CPUs that the time of a trial depends on."""
    here, there = fingerprint().cpu, case.machine.cpu
    return here if case.remote is None else f"{there}, tuned from {here}"


def _incomparable(one: Quantity, now: Quantities, accepted: Quantities) -> str:
    """Return why a quantity can't be compared with the baseline's, or ""."""
    if one.now(now) is None or one.now(accepted) is None:
        return f"the {one.what} is not known"
    if not one.machine:
        return ""
    here, there = (getattr(of, one.machine) or "an unknown CPU" for of in (now, accepted))
    is_known = getattr(now, one.machine) == getattr(accepted, one.machine) != ""
    return "" if is_known else f"the {one.what} is of {here}, and the baseline's is of {there}"


def _sizes(case: Case, artifact: artifacts.Artifact) -> Quantities:
    entry = artifact.manifest.entries.get(case.model.signature.entry)
    return Quantities(
        artifact=artifact.sha256,
        library_bytes=artifact.library.stat().st_size,
        workspace_bytes=entry.workspace_bytes if entry else None,
        kernel_calls=entry.kernel_calls if entry else None,
    )

"""Stage: how large an artifact and its memory are, next to the baseline's."""

from __future__ import annotations

from pytest_tvmtune.core.errors import StoreError
from pytest_tvmtune.core.gating.accepted_baseline import Baseline
from pytest_tvmtune.report.text_tables import format_bytes
from pytest_tvmtune.stages.case import Case
from pytest_tvmtune.stages.outcomes import ArtifactSizes, SizesOutcome
from pytest_tvmtune.store import artifacts


def artifact_sizes(case: Case, artifact: artifacts.Artifact) -> ArtifactSizes:
    """Return the size of an artifact, and of the memory that it needs."""
    entry = artifact.manifest.entries.get(case.model.signature.entry)
    return ArtifactSizes(
        library_bytes=artifact.library.stat().st_size,
        workspace_bytes=entry.workspace_bytes if entry else None,
    )


def compare_sizes(case: Case, now: ArtifactSizes, baseline: Baseline) -> SizesOutcome:
    """Return a finding for each size that grew more than it may.

    Sizes are exact, so that one comparison decides. A baseline whose artifact is not there is the
    latency gate's to report.
    """
    try:
        artifact = artifacts.find(case.store, baseline.artifact)
    except StoreError:
        return SizesOutcome()
    accepted = artifact_sizes(case, artifact)
    options = case.options
    rows = (
        ("library", "max_size_growth", options.max_size_growth, now.library_bytes,
         accepted.library_bytes),
        ("workspace memory", "max_memory_growth", options.max_memory_growth, now.workspace_bytes,
         accepted.workspace_bytes),
    )  # fmt: skip
    findings, warnings = [], []
    for size, name, limit, after, before in rows:
        if limit is None:
            continue
        if after is None or before is None:
            warnings.append(
                f"{case.label}: {name} can't be checked: the size of its {size} is not known"
            )
        elif after > before * (1 + limit):
            grown = f" (+{100 * (after / before - 1):.1f} %)" if before else ""
            findings.append(
                f"{case.label}: its {size} grew from {format_bytes(before)} to "
                f"{format_bytes(after)}{grown}, and {name} is {100 * limit:g} %; "
                "accept with --tvm-update"
            )
    return SizesOutcome(accepted=accepted, findings=tuple(findings), warnings=tuple(warnings))

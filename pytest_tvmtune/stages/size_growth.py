"""How large an artifact and its memory are beside the baseline's."""

from __future__ import annotations

from pytest_tvmtune.core.errors import StoreError
from pytest_tvmtune.core.gating.accepted_baseline import Baseline
from pytest_tvmtune.report.text_tables import format_bytes
from pytest_tvmtune.stages.case import Case
from pytest_tvmtune.store import artifacts


def note_sizes(case: Case, artifact: artifacts.Artifact) -> None:
    """Put the size of this run's artifact, and of its memory, into the case's result."""
    case.result.library_bytes = artifact.library.stat().st_size
    case.result.workspace_bytes = _workspace_bytes(case, artifact)


def find_growth(case: Case, baseline: Baseline) -> list[str]:
    """Note the baseline's sizes, and return a sentence for each that grew more than it may.

    Sizes are exact, so that one comparison decides. A baseline whose artifact is not there is the
    latency gate's to tell.
    """
    result, options = case.result, case.options
    try:
        accepted = artifacts.find(case.store, baseline.artifact)
    except StoreError:
        return []
    result.baseline_library_bytes = accepted.library.stat().st_size
    result.baseline_workspace_bytes = _workspace_bytes(case, accepted)
    rows = (
        ("library", "max_size_growth", options.max_size_growth, result.library_bytes,
         result.baseline_library_bytes),
        ("workspace memory", "max_memory_growth", options.max_memory_growth,
         result.workspace_bytes, result.baseline_workspace_bytes),
    )  # fmt: skip
    findings = []
    for what, name, limit, now, before in rows:
        if limit is None:
            continue
        if now is None or before is None:
            result.warnings.append(f"{case.label}: {name}: its {what} is not known")
        elif now > before * (1 + limit):
            grown = f" (+{now / before - 1:.1%})" if before else ""
            findings.append(
                f"{case.label}: its {what} grew from {format_bytes(before)} to "
                f"{format_bytes(now)}{grown}, {name} is {100 * limit:g}%; "
                "accept with --tvm-update"
            )
    return findings


def _workspace_bytes(case: Case, artifact: artifacts.Artifact) -> int | None:
    entry = artifact.manifest.entries.get(case.model.signature.entry)
    return entry.workspace_bytes if entry else None

"""Stage: what is behind wrong numbers: the first kernel that diverges from another build."""

from __future__ import annotations

from shlex import quote
from typing import Any

from pytest_tvmtune.core.divergence import Divergence
from pytest_tvmtune.core.errors import TvmTuneError
from pytest_tvmtune.core.results import ErrorResult
from pytest_tvmtune.core.tolerances import Tolerance
from pytest_tvmtune.relax.jobs import run_job
from pytest_tvmtune.relax.reproducer import SCRIPT
from pytest_tvmtune.runner.building import Built
from pytest_tvmtune.runner.case import Case
from pytest_tvmtune.runner.preparing import counterpart_build, reference_build
from pytest_tvmtune.runner.tuning import workloads_of
from pytest_tvmtune.runner.under_way import job_observer
from pytest_tvmtune.store.artifacts import Artifact
from pytest_tvmtune.store.layout import slug

JOB = "pytest_tvmtune.relax.divergence:find_divergence"
UNTUNED = "the untuned, unpacked build"
PLAIN, PREPACKED = "not prepacked", "prepacked"


def diagnose(case: Case, built: Built, error: ErrorResult, tolerance: Tolerance) -> str:
    """Return, in a line or two, where wrong numbers begin; keep it in the case's result."""
    try:
        if error.against in {PLAIN, PREPACKED}:
            sides = built, counterpart_build(case)
            now, other = sides if case.options.prepack else sides[::-1]
            against = PLAIN
        else:
            now, against = built, UNTUNED
            if case.model.library is not None:
                return "a ready library has no other build whose kernels it could be compared with"
            reference = reference_build(case, built)
            if reference is None:
                return (
                    f"this is {UNTUNED} itself: the fault is in the model, in its import, or in "
                    "what TVM makes of it before tuning"
                )
            other = reference
        found = first_divergence(case, now, other, against=against, tolerance=tolerance)
    except TvmTuneError as failure:
        # Whatever it is, the finding stands.
        return f"the first diverging kernel could not be found: {failure}"
    case.result.divergences.append(found)
    if found.kind == "none":
        return f"{found.sentence()}{_elsewhere(found, error)}"
    if found.no_reproducer:
        return f"{found.sentence()}\nno reproducer: {found.no_reproducer}"
    return f"{found.sentence()}\nreproducer: python {quote(f'{found.reproducer}/{SCRIPT}')}"


def _elsewhere(found: Divergence, error: ErrorResult) -> str:
    """Say where a fault is that no kernel shows, as far as that is known."""
    if not found.compared or found.compared < found.calls:
        return ""
    if error.against in {PLAIN, PREPACKED, UNTUNED}:
        return "; small differences add up"
    return "; the fault is older than tuning and prepacking, or small differences add up"


def first_divergence(
    case: Case, now: Built, reference: Built, *, against: str, tolerance: Tolerance
) -> Divergence:
    """Return where a build's kernels begin to compute something else than another build's.

    Both are called once, in a child. A reproducer is left in the store where a kernel is found.
    Raises ChildError.
    """
    prepacked = any(entry.transforms for entry in now.artifact.manifest.entries.values())
    number = len(case.result.divergences) + 1  # each finding of a test keeps its own
    build = f"{'prepacked' if prepacked else 'plain'}-{now.artifact.sha256[:8]}"
    told: dict[str, Any] = run_job(
        JOB,
        {
            "now": _side(now.artifact),
            "reference": _side(reference.artifact),
            "entry": case.model.signature.entry,
            "target": case.target_json,
            "rtol": tolerance.rtol,
            "atol": tolerance.atol,
            "against": against,
            "reproducer": str(case.store.reproducers / f"{slug(case.label)}-{build}-{number}"),
            "records": _records(case, now.artifact, prepack=prepacked),
        },
        arrays=case.model.data,
        scratch=case.store.scratch,
        log_path=case.log_path("divergence"),
        timeout_s=case.options.timeout_s,
        num_threads=case.num_threads,
        on_stage=job_observer(case),
    )
    return Divergence.from_json(told)


def _side(artifact: Artifact) -> dict[str, Any]:
    return {
        "library": str(artifact.library),
        "manifest": artifact.manifest.to_json(),
        "kernels": str(artifact.kernels),
    }


def _records(case: Case, artifact: Artifact, *, prepack: bool) -> dict[str, Any]:
    """Return digest -> [workload, record], in MetaSchedule's JSON, of what was applied."""
    applied = {kernel.record for kernel in artifact.manifest.kernels.values()}
    stored = workloads_of(case, prepack=prepack)
    return {
        record.digest: ((str(int(workload.shash, 16)), workload.ir), record.data)
        for workload in stored.values()
        for record in workload.records
        if record.digest in applied
    }

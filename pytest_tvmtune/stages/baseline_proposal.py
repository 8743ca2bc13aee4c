"""Stage: the baseline that a case becomes, once its whole test has passed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, replace

from pytest_tvmtune.core.clock import now_s, utc_text
from pytest_tvmtune.core.gating.accepted_baseline import Baseline
from pytest_tvmtune.core.gating.case_identity import Identity
from pytest_tvmtune.stages.case import Case
from pytest_tvmtune.stages.compiling import BuiltModel, build
from pytest_tvmtune.stages.explaining.accepted_versions import content_here
from pytest_tvmtune.stages.growth import tuning_machine
from pytest_tvmtune.stages.outcomes import BaselineProposal
from pytest_tvmtune.stages.tuning_tasks import best_records, stored_workloads
from pytest_tvmtune.store.tuning.records import Workload

KEPT_SAMPLES = 60


def propose_baseline(
    case: Case,
    identity: Identity,
    built: BuiltModel,
    samples_s: Sequence[float],
    *,
    trial_s: float | None = None,
) -> BaselineProposal:
    """Return the baseline that accepts this case's artifact; its untuned twin is built for it.

    Args:
        case: What is accepted.
        identity: Which baseline it is.
        built: Its artifact.
        samples_s: Seconds of a call; a part of them is kept.
        trial_s: The mean duration of a tuning trial, if this run tuned.

    Raises:
        CompileError: TVM refuses the untuned twin.
        ChildError: The untuned twin crashes or hangs.
    """
    untuned = build(case, built.plan, {})
    step = max(1, math.ceil(len(samples_s) / KEPT_SAMPLES))
    baseline = Baseline(
        identity=identity,
        artifact=built.artifact.sha256,
        untuned=untuned.artifact.sha256,
        signature=case.model.signature.to_json(),
        target=case.target_json,
        samples_s=tuple(samples_s[::step]),
        num_threads=case.num_threads,
        fingerprint={**asdict(case.machine), **content_here(case.store)},
        accepted_at=utc_text(now_s()),
        params_sha256=case.model.params_digest,
        compile_s=built.library_compile_s,
        trial_s=trial_s,
        compiled_on=built.build.compiled_on,
        tuned_on=tuning_machine(case),
    )
    return BaselineProposal(
        baseline=baseline, records=applied_records(case, built), compiled_s=untuned.compiled_s
    )


def applied_records(case: Case, built: BuiltModel) -> tuple[tuple[str, Workload], ...]:
    """Return (target key, workload) of each task: its record where applied, and its ledger."""
    stored = stored_workloads(case, built.plan)
    best = best_records(case, stored)
    # Another process may have refused one meanwhile.
    applied = set(built.build.applied) & set(best)
    return tuple(
        (
            built.plan.target_key,
            replace(workload, records=(best[shash][1],) if shash in applied else ()),
        )
        for shash, workload in stored.items()
    )

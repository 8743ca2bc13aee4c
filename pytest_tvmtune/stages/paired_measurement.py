"""Stages: measure two artifacts side by side, as a whole or kernel by kernel, in a child."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

from pytest_tvmtune.core.gating.confidence_sequence import Epoch, least_epochs
from pytest_tvmtune.core.kernels.kernel_table import KernelTable, SideTimes, table_of
from pytest_tvmtune.processes.jobs import run_job
from pytest_tvmtune.stages.case import Case
from pytest_tvmtune.stages.stage_progress import held, job_observer
from pytest_tvmtune.store.artifacts import Artifact
from pytest_tvmtune.store.locks import exclusive_cores

GATE_GRACE_S = 300.0
KERNELS_S = 2.0
# Of one epoch: both sides once unmeasured, then in pairs, twice over where parameters trade places.
_CALLS_PER_EPOCH = 16


@dataclass(frozen=True, kw_only=True)
class PairSamples:
    """What was measured. noise: the old artifact against itself, where nothing was decided.

    placements: how often the code was placed anew.
    """

    epochs: list[Epoch]
    noise: list[Epoch]
    placements: int
    spent_s: float
    num_threads: int


def measure(
    case: Case,
    old: Artifact,
    new: Artifact,
    *,
    alpha: float,
    expected_s: float,
    max_time_s: float | None = None,
    tell_noise: bool = True,
) -> PairSamples:
    """Return both artifacts' paired samples, taken in a child until their ratio is decided.

    alpha: of this one decision. expected_s: what a call takes, roughly. max_time_s: None for the
    case's own. tell_noise: where nothing was decided, the old artifact is measured against itself
    as well. Raises ChildError.
    """
    max_time_s = case.options.max_time_s if max_time_s is None else max_time_s
    calls = _CALLS_PER_EPOCH * least_epochs(alpha)
    with held(case, exclusive_cores()):
        told = run_job(
            "pytest_tvmtune.relax.measuring.measure_pair_job:measure_pair",
            {
                **_contest(case, old, new),
                "max_time_s": max_time_s,
                "alpha": alpha,
                "threshold": case.options.threshold,
                "tell_noise": tell_noise,
            },
            arrays=case.model.data,
            scratch=case.store.scratch,
            log_path=case.log_path("gate"),
            # However slow the model is, so many calls are made.
            timeout_s=GATE_GRACE_S + 10 * (max_time_s + calls * expected_s),
            num_threads=case.num_threads,
            on_stage=job_observer(case),
            fresh=True,
        )
    return PairSamples(
        epochs=_epochs_of(told["epochs"]),
        noise=_epochs_of(told["noise"]),
        placements=told["placements"],
        spent_s=told["spent_s"],
        num_threads=told["num_threads"],
    )


def time_kernels(
    case: Case, now: Artifact, old: Artifact | None = None, *, budget_s: float = KERNELS_S
) -> KernelTable:
    """Return what each kernel of an artifact takes, in turn with another artifact's.

    budget_s: seconds to spend, at least three rounds. Raises ChildError, and ModelError where the
    entry calls other kernels each time.
    """
    with held(case, exclusive_cores()):
        told = run_job(
            "pytest_tvmtune.relax.measuring.kernel_times_job:time_kernels",
            {**_contest(case, old or now, now), "alone": old is None, "budget_s": budget_s},
            arrays=case.model.data,
            scratch=case.store.scratch,
            log_path=case.log_path("kernels"),
            timeout_s=GATE_GRACE_S + case.options.timeout_s,
            num_threads=case.num_threads,
            on_stage=job_observer(case),
            fresh=True,
        )
    before, after = told["sides"]
    return table_of(
        SideTimes(**after),
        now.manifest.kernels,
        told["overhead_s"],
        SideTimes(**before) if before else None,
        old.manifest.kernels if old else {},
    )


def _contest(case: Case, old: Artifact, new: Artifact) -> dict[str, Any]:
    return {
        "baseline": {"library": str(old.library), "manifest": old.manifest.to_json()},
        "now": {"library": str(new.library), "manifest": new.manifest.to_json()},
        "entry": case.model.signature.entry,
        "target": case.target_json,
        "cold_cache": case.options.cold_cache,
        "seed": secrets.randbits(32),
    }


def _epochs_of(rows: Any) -> list[Epoch]:
    return [Epoch(baseline_s=tuple(before), now_s=tuple(now)) for before, now in rows]

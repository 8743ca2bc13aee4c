"""Stage: an accepted artifact, if it can be run here next to this run's."""

from __future__ import annotations

from pytest_tvmtune.core.errors import BaselineError, StoreError
from pytest_tvmtune.core.gating.accepted_baseline import Baseline
from pytest_tvmtune.relax.devices.cpu_features import lacking_features
from pytest_tvmtune.stages.case import Case
from pytest_tvmtune.stages.explaining.accepted_versions import versions_of_both
from pytest_tvmtune.store import artifacts
from pytest_tvmtune.store.artifacts import Artifact
from pytest_tvmtune.store.tuning.records import comparable_target


def comparable(case: Case, baseline: Baseline) -> Artifact:
    """Return the baseline's artifact. Raises BaselineError with the reason it can't be used."""
    if baseline.signature != case.model.signature.to_json():
        raise BaselineError("the model's interface changed since the baseline was accepted")
    # `host` is another CPU on every machine; what was accepted on one may well run on the next.
    same = comparable_target(baseline.target) == comparable_target(case.target_json)
    if not same and not case.options.target.is_host:
        raise BaselineError(f"the baseline was built for another target: {baseline.target}")
    # What a device lacks isn't known; code for this very target has just run there.
    if case.remote is None and (lacking := lacking_features(baseline.target)):
        raise BaselineError(
            f"the baseline was built for a CPU with {', '.join(lacking)}, which this CPU "
            f"({case.machine.cpu}) lacks"
        )
    try:
        return artifacts.find(case.store, baseline.artifact)
    except StoreError as error:
        raise BaselineError(f"the baseline's {error}") from error


def is_same_code(case: Case, old: Artifact, new: Artifact, baseline: Baseline) -> bool:
    """Return whether an accepted artifact runs exactly as a new one does."""
    return (
        old.sha256 == new.sha256
        and baseline.num_threads == case.num_threads
        and len(set(versions_of_both(case.store, baseline))) == 1
    )

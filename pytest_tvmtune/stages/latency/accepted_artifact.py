"""Stage: an accepted artifact, if it can be run here next to this run's."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_tvmtune.core.errors import BaselineError, StoreError
from pytest_tvmtune.core.gating.accepted_baseline import Baseline
from pytest_tvmtune.relax.devices.cpu_features import lacking_features
from pytest_tvmtune.stages.case import Case
from pytest_tvmtune.stages.compiling import BuiltModel
from pytest_tvmtune.stages.explaining.accepted_versions import versions_of_both
from pytest_tvmtune.store import artifacts
from pytest_tvmtune.store.artifacts import Artifact
from pytest_tvmtune.store.tuning.records import comparable_target


@dataclass(frozen=True, kw_only=True, eq=False)
class AcceptedArtifact:
    """A baseline or anchor with its artifact. same_code: it runs exactly as this run's does."""

    baseline: Baseline
    artifact: Artifact
    same_code: bool


def open_accepted(
    case: Case, built: BuiltModel, accepted: Baseline | BaselineError | None, what: str
) -> AcceptedArtifact | BaselineError | None:
    """Return an accepted artifact, or why it can't be used; None if nothing was accepted.

    Args:
        case: The case.
        built: Its build.
        accepted: What the store has.
        what: `baseline` or `anchor`, for messages.
    """
    if accepted is None or isinstance(accepted, BaselineError):
        return accepted
    try:
        artifact = _comparable(case, accepted, what)
    except BaselineError as error:
        return error
    same_code = (
        artifact.sha256 == built.artifact.sha256
        and accepted.num_threads == case.num_threads
        and len(set(versions_of_both(case.store, accepted))) == 1
    )
    return AcceptedArtifact(baseline=accepted, artifact=artifact, same_code=same_code)


def _comparable(case: Case, accepted: Baseline, what: str) -> Artifact:
    """Return the artifact. Raises BaselineError with the reason it can't be used."""
    if accepted.signature != case.model.signature.to_json():
        raise BaselineError(f"the model's interface changed since the {what} was accepted")
    # `host` is another CPU on every machine; what was accepted on one may well run on the next.
    same = comparable_target(accepted.target) == comparable_target(case.target_json)
    if not same and not case.options.target.is_host:
        raise BaselineError(f"the {what} was built for another target: {accepted.target}")
    # What a device lacks isn't known; code for this very target has just run there.
    if case.remote is None and (lacking := lacking_features(accepted.target)):
        raise BaselineError(
            f"the {what} was built for a CPU with {', '.join(lacking)}, which this CPU "
            f"({case.machine.cpu}) lacks"
        )
    try:
        return artifacts.find(case.store, accepted.artifact)
    except StoreError as error:
        raise BaselineError(f"the {what}'s {error}") from error

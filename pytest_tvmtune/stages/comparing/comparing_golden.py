"""Stage: outputs compared with golden outputs, which are written when a run accepts them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from pytest_tvmtune.core.comparing.golden_outputs import Golden
from pytest_tvmtune.core.comparing.outputs_comparison import compare_all
from pytest_tvmtune.core.comparing.tolerances import ComparisonOptions
from pytest_tvmtune.core.errors import GoldenError
from pytest_tvmtune.core.gating.case_identity import Identity, golden_file_name
from pytest_tvmtune.core.results.comparison_result import ErrorResult
from pytest_tvmtune.core.tensors.nested_outputs import flatten
from pytest_tvmtune.stages.case import Case
from pytest_tvmtune.stages.comparing.comparing_outputs import tolerance_of
from pytest_tvmtune.stages.outcomes import GoldenOutcome, GoldenProposal
from pytest_tvmtune.store.accepted.golden_files import read_golden, write_golden
from pytest_tvmtune.store.locks import path_lock

FOLDER = "tvmtune_golden"
_ANEW = "if you meant this change, write the file again with --tvm-update"


def compare_with_golden(
    case: Case,
    path: Path,
    identity: Mapping[str, str],
    outputs: Any,
    comparison: ComparisonOptions,
    *,
    update: bool,
    update_new: bool,
) -> GoldenOutcome:
    """Compare a case's outputs with the golden outputs in a file.

    identity: what the file must say that it belongs to. update: propose these outputs where there
    are none, or where the golden outputs can't be used or differ; update_new: only where there are
    none. A file that this run wrote is never replaced: items of other targets, and with the other
    prepack, share it.
    """
    own = Golden(
        identity=identity, data_digest=case.model.data_digest, outputs=dict(flatten(outputs))
    )
    proposal = GoldenProposal(path=path, golden=own, outputs=outputs, comparison=comparison)
    replaces = update and not _is_of_this_run(case, path)
    try:
        stored = read_golden(path)
        if stored is None:
            return GoldenOutcome(state="new", proposal=proposal if update or update_new else None)
        _check_fits(path, stored, own)
    except GoldenError as unusable:
        return GoldenOutcome(
            state="unusable", problem=str(unusable), proposal=proposal if replaces else None
        )
    error = _compare(case, outputs, stored, comparison)
    # What still agrees is left alone: no new bytes to review where nothing changed.
    if error.passed:
        return GoldenOutcome(state="matched", error=error)
    return GoldenOutcome(state="differs", error=error, proposal=proposal if replaces else None)


def shown_path(identity: Identity) -> str:
    """Return where a case's golden outputs are, from the rootdir, with forward slashes."""
    return str(PurePosixPath(identity.path).parent / FOLDER / golden_file_name(identity))


def write_proposal(case: Case, proposal: GoldenProposal) -> bool:
    """Write golden outputs, unless another item of this run did: then they must agree.

    Returns whether they were written. Raises GoldenError when they don't agree, and StoreError.
    """
    path, own = proposal.path, proposal.golden
    with path_lock(path):
        stored = read_golden(path) if _is_of_this_run(case, path) else None
        if stored is None:
            write_golden(path, own)
            return True
        _check_fits(path, stored, own)
        error = _compare(case, proposal.outputs, stored, proposal.comparison)
    if not error.passed:
        raise GoldenError(
            f"another test item of this run wrote {path}, and the outputs of this item differ; "
            f"give them different names with name=..., or fix one of them: {error.message}"
        )
    return False


def _compare(
    case: Case, outputs: Any, stored: Golden, comparison: ComparisonOptions
) -> ErrorResult:
    return compare_all(
        outputs,
        stored.outputs,
        against="golden",
        tolerance=tolerance_of(case, comparison),
        outputs=comparison.outputs,
        names=case.model.output_names,
    )


def _is_of_this_run(case: Case, path: Path) -> bool:
    try:
        return path.stat().st_mtime >= case.run_context.started_s
    except OSError:
        return False


def _check_fits(path: Path, stored: Golden, own: Golden) -> None:
    """Raise GoldenError unless stored outputs are of this case and its inputs."""
    if stored.identity != own.identity:
        raise GoldenError(
            f"{path} belongs to another test: {_listing(stored.identity)}; restore the name of the "
            "file, or remove it and write the outputs of this test with --tvm-update-new"
        )
    if stored.data_digest != own.data_digest:
        raise GoldenError(
            f"{path} was made with other inputs or parameters; give the same inputs and parameters "
            f"(from a file, or from a fixed seed), or {_ANEW}"
        )


def _listing(identity: Mapping[str, str]) -> str:
    return ", ".join(f"{key}={value!r}" for key, value in identity.items() if value)

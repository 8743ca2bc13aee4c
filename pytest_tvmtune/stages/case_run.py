"""A case on its way through the pipeline: the one value that changes, and that only there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_tvmtune.core.gating.accepted_baseline import Baseline
from pytest_tvmtune.core.gating.case_identity import Identity
from pytest_tvmtune.core.gating.item_decisions import ItemDecisions
from pytest_tvmtune.core.results.case_result import CaseResult
from pytest_tvmtune.core.settings.dimension_sizes import sizes_by_name
from pytest_tvmtune.core.settings.options import RunOptions
from pytest_tvmtune.stages.case import Case
from pytest_tvmtune.stages.compiling import BuiltModel
from pytest_tvmtune.stages.outcomes import BaselineProposal, GoldenProposal
from pytest_tvmtune.stages.peak_memory import is_peak_memory_asked_for
from pytest_tvmtune.stages.tuning_tasks import requested_trials

if TYPE_CHECKING:
    from pytest_tvmtune.stages.devices.loaded_model import LoadedModel


@dataclass(kw_only=True, eq=False)
class CaseRun:
    """A case on its way, with all that is known of it so far.

    golden_folder: of the test file's golden outputs. show_warning: shows one while the test runs.
    doubts: what to warn of before anything is done; dims_doubt: one of them, which may be why the
    model fails. built, loaded, outputs: what `prepare` made. checked: whether anything was
    compared. decisions: of the test so far. proposals: what `accept` writes.
    """

    case: Case
    identity: Identity
    run_options: RunOptions
    golden_folder: Path
    show_warning: Callable[[str], None]
    doubts: Sequence[str]
    dims_doubt: str
    result: CaseResult
    built: BuiltModel = field(init=False)
    loaded: LoadedModel = field(init=False)
    outputs: Any = None
    checked: bool = False
    decisions: ItemDecisions
    golden_proposal: GoldenProposal | None = None
    baseline_proposal: BaselineProposal | None = None
    anchor_proposal: Baseline | None = None

    def warn(self, message: str) -> None:
        """Warn of something unknown or incomplete; under --tvm-strict it fails the test."""
        warning = f"{self.case.label}: {message}"
        self.result.warnings.append(warning)
        if not self.run_options.strict:
            self.show_warning(warning)

    @property
    def samples(self) -> list[float]:
        """Seconds of each timed call, of the last latency verdict."""
        return list(self.result.latency.samples_s) if self.result.latency else []


# It returns findings, and raises TvmTuneError where it can't be made.
Check = Callable[[CaseRun], list[str]]


def begin(
    case: Case,
    *,
    identity: Identity,
    run_options: RunOptions,
    golden_folder: Path,
    show_warning: Callable[[str], None],
    doubts: Sequence[str] = (),
    dims_doubt: str = "",
    decisions: ItemDecisions | None = None,
) -> CaseRun:
    """Return a case on its way, nothing being done yet."""
    result = CaseResult(
        name=case.name,
        nodeid=case.nodeid,
        entry=case.model.signature.entry,
        target_name=case.options.target.name,
        target=case.target_json,
        prepack=case.options.prepack,
        params=case.params,
        device=case.machine.cpu if case.remote else "",
        baseline=identity.file_name,
        dims=sizes_by_name(case.model.dynamic),
        tuning_trials=requested_trials(case),
        peak_memory_asked=is_peak_memory_asked_for(case),
    )
    return CaseRun(
        case=case,
        identity=identity,
        run_options=run_options,
        golden_folder=golden_folder,
        show_warning=show_warning,
        doubts=doubts,
        dims_doubt=dims_doubt,
        result=result,
        decisions=decisions or ItemDecisions(),
    )

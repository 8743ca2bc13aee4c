"""The golden outputs of one Run: compared when its test asks, written once that has passed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from pytest_tvmtune.core.comparing.tolerances import ComparisonOptions
from pytest_tvmtune.core.gating.case_identity import Identity, golden_file_name, golden_identity
from pytest_tvmtune.core.results.comparison_result import GoldenResult, GoldenState
from pytest_tvmtune.core.results.failure import Failure
from pytest_tvmtune.core.settings.options import RunOptions

if TYPE_CHECKING:
    from pytest_tvmtune.stages.case import Case
    from pytest_tvmtune.stages.comparing_golden import Proposal
    from pytest_tvmtune.stages.compiling import BuiltModel

FOLDER = "tvmtune_golden"


@dataclass(kw_only=True, eq=False)
class GoldenFile:
    """Where they are, and what this run would write there. beside: the folder of the test file."""

    case: Case
    identity: Identity
    beside: Path
    run_options: RunOptions
    proposal: Proposal | None = None

    def check(self, built: BuiltModel, outputs: Any, comparison: ComparisonOptions) -> list[str]:
        """Compare, note it in the case's result, and return the findings."""
        from pytest_tvmtune.stages.comparing_golden import compare_with_golden
        from pytest_tvmtune.stages.comparing_outputs import note_error

        found = compare_with_golden(
            self.case,
            self.beside / FOLDER / golden_file_name(self.identity),
            golden_identity(self.identity),
            outputs,
            comparison,
            update=self.run_options.update,
            update_new=self.run_options.update_new,
        )
        self.proposal = found.proposal
        self._note(found.state)
        if found.proposal is not None:
            return []
        if found.problem:
            self.case.result.note_failure(Failure(kind="error"))
            return [f"{self.case.label}: {found.problem}"]
        if found.error is not None:
            # With --tvm-update only what this very run wrote is not replaced.
            hint = "these were written by another item of this run"
            if not self.run_options.update:
                hint = "accept with --tvm-update"
            return [
                f"{finding}\n  {hint}"
                for finding in note_error(self.case, built, found.error, comparison)
            ]
        if self.run_options.strict:
            self.case.result.warnings.append(
                f"{self.case.label}: no golden outputs yet; write them with --tvm-update-new, "
                "look at them, and commit them"
            )
        return []

    def write(self) -> None:
        """Write what was proposed, if anything was. Raises GoldenError and StoreError."""
        from pytest_tvmtune.stages.comparing_golden import write_proposal

        if self.proposal is not None:
            self._note("written" if write_proposal(self.case, self.proposal) else "matched")

    def _note(self, state: GoldenState) -> None:
        folder = PurePosixPath(self.identity.path).parent / FOLDER
        path = str(folder / golden_file_name(self.identity))
        self.case.result.golden = GoldenResult(path=path, state=state)

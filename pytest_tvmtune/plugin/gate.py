"""The latency gate of one Run: compared when its test asks, accepted once that has passed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_tvmtune.core.errors import BaselineError
from pytest_tvmtune.core.gating.accepted_baseline import Baseline
from pytest_tvmtune.core.gating.case_identity import Identity
from pytest_tvmtune.core.results.case_result import CaseResult
from pytest_tvmtune.core.results.failure import Failure
from pytest_tvmtune.core.results.latency_result import LatencyResult
from pytest_tvmtune.core.settings.options import RunOptions
from pytest_tvmtune.report.kernel_lines import slower_kernels_line

if TYPE_CHECKING:
    from pytest_tvmtune.relax.measuring.session import Session
    from pytest_tvmtune.stages.case import Case
    from pytest_tvmtune.stages.compiling import BuiltModel
    from pytest_tvmtune.store.tuning.records import Workload


@dataclass(frozen=True, kw_only=True)
class GateOutcome:
    """What a check came to.

    samples_s: of this artifact, seconds a call. unknown: why there is no verdict, "" if there is.
    """

    samples_s: list[float]
    findings: list[str] = field(default_factory=list)
    unknown: str = ""


@dataclass(kw_only=True, eq=False)
class Gate:
    """The baseline with this identity, and what this run would put in its place.

    asked: how many verdicts the test has had before.
    """

    case: Case
    identity: Identity
    run_options: RunOptions
    asked: int = 0
    proposal: tuple[Baseline, list[tuple[str, Workload]]] | None = None

    def check(self, built: BuiltModel, session: Session) -> GateOutcome:
        """Compare with the baseline, and note the verdict in the case's result."""
        from pytest_tvmtune.stages.latency_gate import judge_latency
        from pytest_tvmtune.stages.size_growth import find_growth
        from pytest_tvmtune.store.accepted.baseline_files import read_baseline

        baseline: Baseline | BaselineError | None
        try:
            baseline = read_baseline(self.case.store, self.identity)
        except BaselineError as error:
            baseline = error
        latency, samples_s = judge_latency(
            self.case, built, session, baseline, gated_before=self.asked
        )
        self.asked += 1
        result = self.case.result
        result.latency = latency
        if self._propose(built, latency, samples_s):
            return GateOutcome(samples_s=samples_s)
        findings = find_growth(self.case, baseline) if isinstance(baseline, Baseline) else []
        sentence = f"{self.case.label}: {latency.message}"
        if latency.verdict == "REGRESSION":
            result.note_failure(Failure(kind="regression"))
            findings.insert(0, f"{sentence}\n{_why_slower(result)}  accept with --tvm-update")
        elif findings:
            result.note_failure(Failure(kind="growth"))
        if latency.verdict == "NEW":
            if self.run_options.strict:
                result.warnings.append(sentence)
        elif latency.verdict not in {"PASS", "IMPROVEMENT", "REGRESSION"}:
            unknown = f"{latency.verdict}: {latency.message}"
            return GateOutcome(samples_s=samples_s, findings=findings, unknown=unknown)
        return GateOutcome(samples_s=samples_s, findings=findings)

    def write(self) -> bool:
        """Accept what was proposed; return whether anything was. Raises StoreError."""
        from pytest_tvmtune.store.accepted.baseline_files import write_baseline

        if self.proposal is None:
            return False
        write_baseline(self.case.store, *self.proposal)
        return True

    def _propose(self, built: BuiltModel, latency: LatencyResult, samples_s: list[float]) -> bool:
        """Note the baseline to record if the test passes; whether this run accepts itself."""
        from pytest_tvmtune.stages.latency_gate import accepted_records, make_baseline

        run = self.run_options
        if not (run.update or (run.update_new and latency.verdict == "NEW")):
            return False
        self.proposal = (
            make_baseline(self.case, self.identity, built, samples_s),
            accepted_records(self.case, built),
        )
        return True


def _why_slower(result: CaseResult) -> str:
    """Return the lines, with their ends, on the cause and on the kernels that cost more."""
    assert result.latency is not None
    lines = [f"cause: {result.latency.cause.message}"] if result.latency.cause else []
    # Those that the test asked for itself, of this artifact alone, tell nothing of what is slower.
    if result.kernels is not None and result.kernels.baseline_end_to_end_s is not None:
        lines.append(slower_kernels_line(result.kernels))
    return "".join(f"  {line}\n" for line in lines)

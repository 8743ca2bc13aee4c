"""The results of stages: frozen values, which `pipeline.py` folds into the case's result.

If a stage compiles another build, `compiled_s` is the duration in seconds; None if nothing was
compiled.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pytest_tvmtune.core.comparing.divergence import Divergence
from pytest_tvmtune.core.comparing.golden_outputs import Golden
from pytest_tvmtune.core.comparing.tolerances import ComparisonOptions
from pytest_tvmtune.core.errors import TvmTuneError
from pytest_tvmtune.core.gating.accepted_baseline import Baseline
from pytest_tvmtune.core.kernels.kernel_table import KernelTable
from pytest_tvmtune.core.results.comparison_result import ErrorResult, GoldenState
from pytest_tvmtune.core.results.final_in_model import FinalInModel
from pytest_tvmtune.core.results.latency_comparison import LatencyComparison
from pytest_tvmtune.core.results.latency_result import LatencyResult
from pytest_tvmtune.core.results.task_result import TaskResult
from pytest_tvmtune.core.tuning.trial_budget import TuningEnd
from pytest_tvmtune.core.tuning.tuning_curve import TuningPoint
from pytest_tvmtune.store.tuning.records import Workload

if TYPE_CHECKING:
    from pytest_tvmtune.relax.measuring import gate_job
    from pytest_tvmtune.stages.compiling import BuiltModel

# Whose outputs, or values, a case's own were compared with.
ComparedWith = Literal["untuned build", "counterpart", "given values"]


@dataclass(frozen=True, kw_only=True)
class TuningOutcome:
    """What tuning came to. tuned: the hashes of the tasks that were tuned. seconds: what it took.

    trials_spent: of the rounds that ended well. ended_by: why there were no more trials. error:
    what ended it early; the curve is as far as it came.
    """

    tuned: frozenset[str] = frozenset()
    trials_spent: int = 0
    ended_by: TuningEnd = ""
    seconds: float = 0.0
    curve: tuple[TuningPoint, ...] = ()
    error: TvmTuneError | None = None

    @property
    def trial_s(self) -> float | None:
        """The mean duration of a trial, None where none was made."""
        return self.seconds / self.trials_spent if self.trials_spent else None


@dataclass(frozen=True, kw_only=True, eq=False)
class CompileOutcome:
    """A build with the best records that there are. left_out: tasks that no trial was left for."""

    built: BuiltModel
    tasks: tuple[TaskResult, ...]
    left_out: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class FinalsOutcome:
    """Schedules compared inside the model."""

    results: tuple[FinalInModel, ...] = ()
    compiled_s: float | None = None

    @property
    def changed(self) -> bool:
        """Whether other records are to be applied."""
        return any(one.chosen for one in self.results)


@dataclass(frozen=True, kw_only=True)
class Quantities:
    """Sizes, numbers, and durations of an artifact. None: not known.

    artifact: its SHA-256. workspace_bytes: of tensors between kernels, and of outputs.
    kernel_calls: of a call of the entry. peak_memory_bytes: resident, of loading and a call.
    library_compile_s: whenever that was, on the CPU `compiled_on`. trial_s: the mean of a tuning
    trial, on the CPUs `tuned_on`. These are "" where that isn't known.
    """

    artifact: str
    library_bytes: int
    workspace_bytes: int | None
    kernel_calls: int | None
    peak_memory_bytes: int | None = None
    library_compile_s: float | None = None
    trial_s: float | None = None
    compiled_on: str = ""
    tuned_on: str = ""


@dataclass(frozen=True, kw_only=True)
class GrowthOutcome:
    """How an artifact has grown. accepted: what the baseline takes, None where it isn't there."""

    accepted: Quantities | None = None
    findings: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ComparisonOutcome:
    """Outputs compared. error: None where there is nothing to compare with."""

    error: ErrorResult | None
    compared_with: ComparedWith
    compiled_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """Where wrong numbers begin, in a line or two. divergence: None where none was looked for."""

    sentence: str
    divergence: Divergence | None = None
    compiled_s: float | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class GoldenProposal:
    """Golden outputs to write once the whole test has passed. outputs: the same, nested."""

    path: Path
    golden: Golden
    outputs: Any
    comparison: ComparisonOptions


@dataclass(frozen=True, kw_only=True, eq=False)
class GoldenOutcome:
    """What comparing with golden outputs came to.

    error: None where there is nothing to compare with. problem: why the file can't be used.
    """

    state: GoldenState
    error: ErrorResult | None = None
    problem: str = ""
    proposal: GoldenProposal | None = None


@dataclass(frozen=True, kw_only=True)
class LatencyOutcome:
    """A verdict.

    measured: what decided it, None if nothing was measured. drift: the same next to the anchor, if
    there is one. decisions: how many of the item's were made. kernels: of both artifacts, where one
    is slower. warnings: what isn't known.
    """

    latency: LatencyResult
    measured: gate_job.Result | None = None
    drift: LatencyComparison | None = None
    decisions: int = 0
    kernels: KernelTable | None = None
    warnings: tuple[str, ...] = ()
    compiled_s: float | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class KeptComparisons:
    """How a build compares in time with the untuned and the plain build.

    built: the build, which keeps the comparisons.
    warnings: of a build that is slower, and of results that aren't known.
    """

    built: BuiltModel
    comparisons: tuple[LatencyComparison, ...] = ()
    warnings: tuple[str, ...] = ()
    compiled_s: float | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class BaselineProposal:
    """A baseline to write once the whole test has passed.

    records: (target key, workload) of the records in its artifact.
    """

    baseline: Baseline
    records: tuple[tuple[str, Workload], ...]
    compiled_s: float | None = None

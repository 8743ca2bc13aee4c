"""The results of a case: plain values that travel between processes as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from msgspec import Meta

from pytest_tvmtune.core.comparing.divergence import Divergence
from pytest_tvmtune.core.json_codec import Count
from pytest_tvmtune.core.kernels.kernel_table import KernelTable
from pytest_tvmtune.core.results.budget_result import BudgetResult
from pytest_tvmtune.core.results.case_label import label_of
from pytest_tvmtune.core.results.comparison_result import ErrorResult, GoldenResult
from pytest_tvmtune.core.results.failure import Failure
from pytest_tvmtune.core.results.final_in_model import FinalInModel
from pytest_tvmtune.core.results.latency_comparison import ANCHOR, LatencyComparison
from pytest_tvmtune.core.results.latency_result import LatencyResult
from pytest_tvmtune.core.results.task_result import TaskResult
from pytest_tvmtune.core.tuning.trial_budget import TuningEnd
from pytest_tvmtune.core.tuning.tuning_curve import TuningPoint

# pytest's own words for a whole test; "" while it runs.
Outcome = Literal["passed", "failed", "skipped", "xfailed", "xpassed", ""]


# The one mutable value of this package: its run fills it in as the test asks.
@dataclass(kw_only=True)
class CaseResult:
    """The results of a call of `tvm_tune` in a test.

    Attributes:
        name: The name of the case.
        nodeid: The id of the test.
        entry: The function of the model that is called.
        target_name: The name of the target in ids and labels.
        target: The canonical target as JSON text.
        prepack: Whether the weights are prepacked.
        params: The user's parametrization ids, as in the id of the test, such as `relu-8`; empty
            without parametrization.
        device: The CPU of the device behind TVM RPC, with the key of the device; empty for the
            machine of the run.
        baseline: The name of the file of the baseline, whether the file exists or not. All
            repetitions of a test have the same name. Empty if the model couldn't be opened.
        attempts: The number of runs of the test, if a plugin runs failed tests again. All other
            values belong to the last attempt.
        earlier_findings: The findings that failed the earlier attempts.
        dims: The sizes of dynamic dimensions, by their names in the model.
        tuning_trials: The number of requested trials.
        trials_spent: The number of trials in this run.
        tuning_ended_by: Why tuning in this run ended: `trials` because they were made or no task
            has more candidates, `convergence` because no task was getting faster, or `time` because
            the time for tuning was over. Empty if this run didn't tune to its end.
        tasks: The tuning tasks of the model.
        tasks_left_out: The tasks without a trial, because there were too few trials or too little
            time.
        tasks_restored: The tasks whose records the store had lost. The records were taken from the
            baseline.
        tuned_now: Whether this run tuned the model.
        compiled_now: Whether this run compiled the model.
        tuning_s: The duration of tuning in this run.
        trial_s: The average duration of a tuning trial in this run, the start of the tuner
            included; null if this run didn't tune.
        baseline_trial_s: The `trial_s` of the run that accepted the baseline; null if that run
            didn't tune, or if nothing was compared.
        tuning_curve: Each trial of this run that made a task faster.
        finals_in_model: The schedules that this run compared inside the model with the schedules
            that are the fastest alone.
        compile_s: The duration of compiling in this run, also of other builds that the case is
            compared with.
        library_compile_s: The duration of compiling the library, in this run or in the earlier run
            that compiled it; null for a library that the test gave.
        baseline_library_compile_s: The `library_compile_s` of the baseline; null if it isn't known,
            or if nothing was compared.
        transform_s: The duration of `<entry>_transform_params`; null without a transform.
        transform_extra_bytes: The additional memory for the transformed parameters; null without a
            transform.
        library_bytes: The size of the library; null without a library.
        baseline_library_bytes: The size of the baseline's library; null if nothing was compared.
        workspace_bytes: The most memory that tensors between kernels, and outputs, need at the same
            time; null if it isn't known before a call.
        baseline_workspace_bytes: The `workspace_bytes` of the baseline's artifact; null if nothing
            was compared.
        kernel_calls: The number of kernels that a call of the entry calls. Of a branch, the side
            with more kernels counts. Null if it isn't known before a call.
        baseline_kernel_calls: The `kernel_calls` of the baseline's artifact; null if it isn't
            known, or if nothing was compared.
        peak_memory_asked: Whether a setting asks for `peak_memory_bytes`.
        peak_memory_bytes: The growth of the resident memory of a process that loads the library,
            transforms the parameters, and calls the entry once, at its peak. Null if no setting
            asks for it, or if it isn't known.
        baseline_peak_memory_bytes: The `peak_memory_bytes` of the baseline's artifact, measured in
            this run; null without `max_peak_memory_growth`, or if it isn't known.
        artifact: The SHA-256 of the library; empty without a library.
        untuned_ratio: The time of a call, divided by the time of a call of the same model without
            records. It's measured once, when the build is new. Null if it isn't known.
        errors: The comparisons of outputs.
        golden: The result for golden outputs; null if the test doesn't use them.
        divergences: The first kernel that diverges, for each failed comparison that could be
            searched.
        latency: The result of the latency gate; null if the latency wasn't compared.
        latency_comparisons: The comparisons of the latency with other variants of the model: those
            that every new build has, with `untuned` and `not prepacked`, then those that the test
            asked for.
        anchored: Whether this run accepted the artifact as the anchor of the case.
        latency_budgets: The latency next to each budget of the test.
        kernels: The times of the kernels, from a REGRESSION or from `run.kernels()`, whichever came
            last.
        logs: A map from a stage to the path of its log, with the output of its child processes. For
            `import`, `pipeline`, and `reference`, which have no child processes, the log has the
            output and all tracebacks of a failure.
        findings: The messages that failed the test.
        failure: The first failure of the case; null without a failure.
        warnings: The messages about unknown or incomplete results.
        outcome: pytest's word for the whole test, of its last attempt. With strict xfail, an
            unexpected pass is `failed`. Empty while the test runs.
    """

    name: str
    nodeid: str
    entry: str
    target_name: str
    target: str
    prepack: bool
    params: str = ""
    device: str = ""
    baseline: str = ""
    attempts: Count = 1
    earlier_findings: list[str] = field(default_factory=list)
    dims: dict[str, Count] = field(default_factory=dict)
    tuning_trials: Count = 0
    trials_spent: Count = 0
    tuning_ended_by: TuningEnd = ""
    tasks: list[TaskResult] = field(default_factory=list)
    tasks_left_out: list[str] = field(default_factory=list)
    tasks_restored: list[str] = field(default_factory=list)
    tuned_now: bool = False
    compiled_now: bool = False
    tuning_s: float = 0.0
    trial_s: float | None = None
    baseline_trial_s: float | None = None
    tuning_curve: list[TuningPoint] = field(default_factory=list)
    finals_in_model: list[FinalInModel] = field(default_factory=list)
    compile_s: float = 0.0
    library_compile_s: float | None = None
    baseline_library_compile_s: float | None = None
    transform_s: float | None = None
    transform_extra_bytes: int | None = None
    library_bytes: Count | None = None
    baseline_library_bytes: Count | None = None
    workspace_bytes: Count | None = None
    baseline_workspace_bytes: Count | None = None
    kernel_calls: Count | None = None
    baseline_kernel_calls: Count | None = None
    peak_memory_asked: bool = False
    peak_memory_bytes: Count | None = None
    baseline_peak_memory_bytes: Count | None = None
    artifact: Annotated[str, Meta(pattern="^([0-9a-f]{64})?$")] = ""
    untuned_ratio: float | None = None
    errors: list[ErrorResult] = field(default_factory=list)
    golden: GoldenResult | None = None
    divergences: list[Divergence] = field(default_factory=list)
    latency: LatencyResult | None = None
    latency_comparisons: list[LatencyComparison] = field(default_factory=list)
    anchored: bool = False
    latency_budgets: list[BudgetResult] = field(default_factory=list)
    kernels: KernelTable | None = None
    logs: dict[str, str] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)
    failure: Failure | None = None
    warnings: list[str] = field(default_factory=list)
    outcome: Outcome = ""

    @property
    def label(self) -> str:
        """The name of the case in messages and tables."""
        return label_of(self.name, self.target_name, prepack=self.prepack, params=self.params)

    @property
    def tuned_tasks(self) -> int:
        """The number of tasks with the fastest known kernel, which can be the untuned kernel."""
        return sum(task.is_settled for task in self.tasks)

    @property
    def reference_error(self) -> ErrorResult | None:
        """The first comparison against a reference, for one-line reports."""
        return self.errors[0] if self.errors else None

    @property
    def drift(self) -> LatencyComparison | None:
        """The comparison with the anchor, None without one."""
        found = (one for one in self.latency_comparisons if one.compared_with == ANCHOR)
        return next(found, None)

    def note_failure(self, failure: Failure) -> None:
        """Keep the first failure of the case."""
        self.failure = self.failure or failure

    def note_compiled(self, compiled_s: float | None) -> None:
        """Add the seconds of compiling something for the case; None if nothing was compiled."""
        if compiled_s is not None:
            self.compiled_now = True
            self.compile_s += compiled_s

"""What one case came to: plain values that travel between processes as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from msgspec import Meta

from pytest_tvmtune.core.comparing.divergence import Divergence
from pytest_tvmtune.core.json_codec import Count
from pytest_tvmtune.core.kernels.kernel_table import KernelTable
from pytest_tvmtune.core.results.case_label import label_of
from pytest_tvmtune.core.results.comparison_result import ErrorResult, GoldenResult
from pytest_tvmtune.core.results.failure import Failure
from pytest_tvmtune.core.results.latency_result import LatencyResult
from pytest_tvmtune.core.results.task_result import TaskResult
from pytest_tvmtune.core.tuning.tuning_curve import TuningPoint

# pytest's own words for a whole test; "" while it runs.
Outcome = Literal["passed", "failed", "skipped", "xfailed", "xpassed", ""]


# The one mutable value of this package: its run fills it in as the test asks.
@dataclass(kw_only=True)
class CaseResult:
    """Everything a report says about one call of `tvm_tune` in one test.

    Attributes:
        name: Name of the case.
        nodeid: The test's id.
        entry: The model's function.
        target_name: Name of the target in ids and labels.
        target: The canonical target as JSON text.
        prepack: Whether weights are prepacked.
        params: The user's own parametrization ids, as in the test's id: `relu-8`; empty without
            any.
        baseline: Name of its baseline's file, whether there is one or not; the same for all
            repetitions of a test; empty where the model could not be opened.
        attempts: How often the test was run, by plugins that run failed tests again. All else is
            of the last attempt.
        earlier_findings: What failed the attempts before.
        dims: Sizes of dynamic dimensions, by the model's own names.
        tuning_trials: Trials that were asked for.
        trials_spent: Trials that this run spent.
        tasks: The model's tuning tasks.
        tasks_left_out: Tasks that got no trial, since there were fewer trials than tasks.
        tasks_restored: Tasks that the store had lost, whose records were taken from the baseline.
        tuned_now: Whether this run tuned.
        compiled_now: Whether this run compiled.
        tuning_s: How long this run tuned.
        tuning_curve: Each trial of this run that made a task faster.
        compile_s: How long compiling took.
        transform_s: How long `<entry>_transform_params` took; null without one.
        transform_extra_bytes: How much more the transformed parameters need; null without a
            transform.
        library_bytes: Size of the library.
        baseline_library_bytes: The same of the baseline's artifact; null where nothing was
            compared.
        workspace_bytes: The most memory that tensors between kernels, and outputs, need at once;
            null where it isn't known before a call.
        baseline_workspace_bytes: The same of the baseline's artifact; null where nothing was
            compared.
        artifact: SHA-256 of the library, empty where none was built.
        untuned_ratio: Time of a call, divided by that of the same model without records; measured
            once, when the build is new.
        errors: Each comparison of outputs.
        golden: What became of golden outputs.
        divergences: For each failed comparison that could be followed, the first kernel that
            diverges.
        latency: What the latency gate found.
        kernels: What each kernel costs, of a REGRESSION or of `run.kernels()`, whichever came last.
        logs: Stage -> path of its log: what its child processes printed. For `import`, `pipeline`
            and `reference`, which have none, what was printed and all tracebacks when they failed.
        findings: What failed the test.
        failure: The first thing that failed the case.
        warnings: What was unknown or incomplete.
        outcome: pytest's own word for the whole test, of its last attempt; under strict, an
            unexpected pass is `failed`; empty while it runs.
    """

    name: str
    nodeid: str
    entry: str
    target_name: str
    target: str
    prepack: bool
    params: str = ""
    baseline: str = ""
    attempts: Count = 1
    earlier_findings: list[str] = field(default_factory=list)
    dims: dict[str, Count] = field(default_factory=dict)
    tuning_trials: Count = 0
    trials_spent: Count = 0
    tasks: list[TaskResult] = field(default_factory=list)
    tasks_left_out: list[str] = field(default_factory=list)
    tasks_restored: list[str] = field(default_factory=list)
    tuned_now: bool = False
    compiled_now: bool = False
    tuning_s: float = 0.0
    tuning_curve: list[TuningPoint] = field(default_factory=list)
    compile_s: float = 0.0
    transform_s: float | None = None
    transform_extra_bytes: int | None = None
    library_bytes: Count = 0
    baseline_library_bytes: Count | None = None
    workspace_bytes: Count | None = None
    baseline_workspace_bytes: Count | None = None
    artifact: Annotated[str, Meta(pattern="^([0-9a-f]{64})?$")] = ""
    untuned_ratio: float | None = None
    errors: list[ErrorResult] = field(default_factory=list)
    golden: GoldenResult | None = None
    divergences: list[Divergence] = field(default_factory=list)
    latency: LatencyResult | None = None
    kernels: KernelTable | None = None
    logs: dict[str, str] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)
    failure: Failure | None = None
    warnings: list[str] = field(default_factory=list)
    outcome: Outcome = ""

    @property
    def label(self) -> str:
        """Its name in messages and tables."""
        return label_of(self.name, self.target_name, prepack=self.prepack, params=self.params)

    @property
    def tuned_tasks(self) -> int:
        """How many tasks run the fastest kernel that tuning knows, which may be the untuned one."""
        return sum(task.is_settled for task in self.tasks)

    @property
    def reference_error(self) -> ErrorResult | None:
        """The first comparison against a reference, for one-line reports."""
        return self.errors[0] if self.errors else None

    def note_failure(self, failure: Failure) -> None:
        """Keep what failed the case, unless something did before."""
        self.failure = self.failure or failure

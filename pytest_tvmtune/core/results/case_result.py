"""What one case came to: plain values that travel between processes as JSON."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from pytest_tvmtune.core.comparing.divergence import Divergence
from pytest_tvmtune.core.comparing.output_error import OutputError
from pytest_tvmtune.core.gating.slowdown_cause import Cause
from pytest_tvmtune.core.json_values import known_fields
from pytest_tvmtune.core.kernels.kernel_table import KernelTable
from pytest_tvmtune.core.results.failure import Failure
from pytest_tvmtune.core.settings.accepted_slowdown import Acceptance
from pytest_tvmtune.core.tuning.tuning_curve import TuningPoint

# What today's CPUs compute in the time that one byte takes from memory, roughly.
_FLOP_A_BYTE = 10
GoldenState = Literal["new", "matched", "differs", "unusable", "written"]
TaskState = Literal["tuned", "untuned is faster", "untuned", "failed"]
# What a task can come to when nothing is left to be done for it.
_SETTLED: tuple[TaskState, ...] = ("tuned", "untuned is faster")
# pytest's own words for a whole test; "" while it runs.
Outcome = Literal["passed", "failed", "skipped", "xfailed", "xpassed", ""]
_MOST_PARAMS = 60


@dataclass(frozen=True, kw_only=True)
class Task:
    """One tuning task of a model: a distinct workload and how often the model calls it.

    shash: TVM's structural hash of the workload, 16 hex digits. flop: estimated floating-point
    operations of one call, 0.0 where TVM can't tell. size_bytes: of its arguments together.
    """

    name: str
    shash: str
    weight: int
    flop: float = 0.0
    size_bytes: int = 0

    @property
    def estimate(self) -> float:
        """What one call is likely to cost, in a unit that all tasks share."""
        return self.flop + _FLOP_A_BYTE * self.size_bytes


@dataclass(frozen=True, kw_only=True)
class TaskResult:
    """A task with what tuning made of it.

    state: `tuned` (a valid record was applied), `untuned is faster` (than every schedule that was
    tried, so that none is applied), `failed` (trials were spent, none was valid), `untuned` (no
    record; never tried). best_s: best measured seconds of one call, at tuning; untuned_s: those
    without a schedule.
    """

    name: str
    shash: str
    weight: int
    state: TaskState
    trials: int = 0
    valid_trials: int = 0
    best_s: float | None = None
    measured_on_other_cpu: bool = False
    reason: str = ""
    untuned_s: float | None = None

    @property
    def is_settled(self) -> bool:
        """Whether tuning has decided which kernel is the fastest; it may be the untuned one."""
        return self.state in _SETTLED


@dataclass(frozen=True, kw_only=True)
class TuningProgress:
    """How far the tuning of one case is.

    task: the one measured last; best_s: its best so far. note: what it waits for, "" when it
    doesn't.
    """

    label: str
    done: int = 0
    total: int = 0
    failed: int = 0
    task: str = ""
    best_s: float | None = None
    note: str = ""
    finished: bool = False


@dataclass(frozen=True, kw_only=True)
class StageProgress:
    """What is done for a case, but for trials, and for how long; without a stage: it is over."""

    label: str
    stage: str = ""
    spent_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class ErrorResult:
    """One numeric comparison. The two errors are the largest over all outputs.

    max_rel_error: only where the expected value isn't 0. outputs: one for each that was compared.
    """

    against: str
    passed: bool
    max_abs_error: float
    max_rel_error: float
    message: str = ""
    outputs: tuple[OutputError, ...] = ()

    @staticmethod
    def from_json(loaded: dict[str, Any]) -> ErrorResult:
        """Return the comparison that `asdict` made plain."""
        outputs = tuple(OutputError.from_json(one) for one in loaded["outputs"])
        return ErrorResult(**{**known_fields(ErrorResult, loaded), "outputs": outputs})


@dataclass(frozen=True, kw_only=True)
class GoldenResult:
    """What became of a case's golden outputs. path: of their file, from the rootdir.

    state: `new` (there are none), `matched`, `differs`, `unusable` (their file is), `written` (by
    this run).
    """

    path: str
    state: GoldenState


@dataclass(frozen=True, kw_only=True)
class LatencyResult:
    """What the latency gate found. Ratios are now/baseline; 1.10 is 10 % slower.

    interval: for `slowdown_ratio`, at `confidence`. None where nothing was compared. placements:
    how often the code was loaded to another place, less than epochs for large libraries. noise:
    the standard deviation of the epochs' log ratios. resolvable_ratio: the slowdown that the
    baseline against itself shows to be told apart now; only after INCONCLUSIVE. accepted_median_s,
    accepted_on: what the baseline took when accepted, and the machine, versions and time of that.
    cause: why it became slower or faster, as far as the two artifacts tell. acceptance: the
    slowdown that its marker accepts, or accepted. limit_ratio: the ratio
    that the threshold means; epoch_ratios: of each epoch, what the interval was made of; samples_s,
    baseline_samples_s: seconds of a call, in order, those of a pair at one place.
    """

    verdict: str
    message: str
    median_s: float | None = None
    baseline_median_s: float | None = None
    slowdown_ratio: float | None = None
    interval: tuple[float, float] | None = None
    confidence: float | None = None
    threshold: str = ""
    epochs: int = 0
    pairs: int = 0
    placements: int = 0
    spent_s: float = 0.0
    noise: float | None = None
    resolvable_ratio: float | None = None
    num_threads: int = 0
    accepted_median_s: float | None = None
    accepted_on: dict[str, Any] = field(default_factory=dict)
    same_code: bool = False
    accepted: bool = False
    cause: Cause | None = None
    limit_ratio: float | None = None
    acceptance: Acceptance | None = None
    epoch_ratios: tuple[float, ...] = ()
    samples_s: tuple[float, ...] = ()
    baseline_samples_s: tuple[float, ...] = ()

    @staticmethod
    def from_json(loaded: dict[str, Any]) -> LatencyResult:
        """Return the verdict that `asdict` made plain."""
        values = known_fields(LatencyResult, loaded)
        for name in ("interval", "epoch_ratios", "samples_s", "baseline_samples_s"):
            if values.get(name) is not None:
                values[name] = tuple(values[name])
        if values.get("cause") is not None:
            values["cause"] = Cause(**known_fields(Cause, values["cause"]))
        if values.get("acceptance") is not None:
            values["acceptance"] = Acceptance(**known_fields(Acceptance, values["acceptance"]))
        return LatencyResult(**values)


def label_of(name: str, target_name: str, *, prepack: bool, params: str = "") -> str:
    """Return the name of a case in messages and tables: `mlp[llvm]`, `operator[relu-8-llvm]`.

    params: the user's own parametrization ids, "" where there are none; long ones are shortened.
    """
    choice = choice_of(target_name, prepack=prepack)
    return f"{name}[{short_params(params)}-{choice}]" if params else f"{name}[{choice}]"


def short_params(params: str) -> str:
    """Return parametrization ids that fit into a label or a cell of a table."""
    return params if len(params) <= _MOST_PARAMS else f"{params[: _MOST_PARAMS - 3]}..."


def choice_of(target_name: str, *, prepack: bool) -> str:
    """Return the name of a target with a prepack choice, as in the ids of tests."""
    return f"{target_name}-prepack" if prepack else target_name


def without_group(nodeid: str) -> str:
    """Return a test's id without xdist's `@group`, which belongs to how it was run."""
    return re.sub(r"(?<=\])@[^\]]*$", "", nodeid)


@dataclass(kw_only=True)
class CaseResult:
    """Everything a report says about one call of `tvm_tune` in one test.

    The one mutable value of this package: its run fills it in as the test asks. Seconds
    everywhere; `None` where nothing was measured. workspace_bytes: the most memory that tensors
    between kernels, and outputs, need at once. dims: the sizes of dimensions that the model has
    by name. tuning_curve: of this run's own tuning. untuned_ratio: a call's time divided by that of
    the same model without records, where that was measured. logs: stage -> path of what its child
    processes printed. params: the user's own parametrization ids. baseline: the name of its
    baseline's file, whether there is one or not. attempts: how often its test was run (plugins run
    failed tests again), this being the last; earlier_findings: what failed the attempts before.
    """

    name: str
    nodeid: str
    entry: str
    target_name: str
    target: str
    prepack: bool
    params: str = ""
    baseline: str = ""
    attempts: int = 1
    earlier_findings: list[str] = field(default_factory=list)
    dims: dict[str, int] = field(default_factory=dict)
    tuning_trials: int = 0
    trials_spent: int = 0
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
    library_bytes: int = 0
    baseline_library_bytes: int | None = None
    workspace_bytes: int | None = None
    baseline_workspace_bytes: int | None = None
    artifact: str = ""
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

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; the fields are documented in docs/json.md."""
        return asdict(self)

    @staticmethod
    def from_json(loaded: dict[str, Any]) -> CaseResult:
        """Return the result written by `to_json`, also as the JSON report holds it."""
        values = known_fields(CaseResult, loaded)
        values["tasks"] = [TaskResult(**known_fields(TaskResult, task)) for task in values["tasks"]]
        curve = values.get("tuning_curve", [])
        values["tuning_curve"] = [TuningPoint(**known_fields(TuningPoint, one)) for one in curve]
        values["errors"] = [ErrorResult.from_json(error) for error in values["errors"]]
        if values["golden"] is not None:
            values["golden"] = GoldenResult(**known_fields(GoldenResult, values["golden"]))
        if values["latency"] is not None:
            values["latency"] = LatencyResult.from_json(values["latency"])
        values["divergences"] = [Divergence.from_json(one) for one in values.get("divergences", [])]
        if values.get("failure") is not None:
            values["failure"] = Failure.from_json(values["failure"])
        if values.get("kernels") is not None:
            values["kernels"] = KernelTable.from_json(values["kernels"])
        return CaseResult(**values)

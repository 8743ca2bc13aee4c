"""The report of `tvmtune vet`: what two environments make of a suite, and where they differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta

from pytest_tvmtune.core.comparing.divergence import Divergence
from pytest_tvmtune.core.kernels.kernel_table import KernelTable
from pytest_tvmtune.core.results.comparison_result import ErrorResult
from pytest_tvmtune.core.results.latency_result import LatencyResult

TestState = Literal["passed", "failed", "error", "skipped", "xfailed", "xpassed", "missing"]
# Which library under which runtime is compared with which.
ComparedSides = Literal["old and new", "runtime", "generated code"]
Schedules = Literal["untuned", "replayed"]
SlowerPart = Literal["", "runtime", "generated code", "both", "not separated"]


@dataclass(frozen=True, kw_only=True)
class TestOutcome:
    """A test in an environment.

    Attributes:
        nodeid: The id of the test, or of a file that couldn't be collected.
        state: pytest's word for it. `error`: it failed in its setup, in its teardown, or while it
            was collected. `missing`: it isn't in this environment.
        message: The reason, in a line.
    """

    nodeid: str
    state: TestState
    message: str = ""


@dataclass(frozen=True, kw_only=True)
class SidesComparison:
    """A library under a runtime, compared with another library or another runtime.

    Attributes:
        sides: `old and new`: the old library under the old runtime, and the new library under the
            new runtime. `runtime`: the old library under both runtimes. `generated code`: both
            libraries under the new runtime.
        same_code: Whether both sides run the same library.
        numbers: The outputs of the second side, compared with the outputs of the first side; null
            if they couldn't be compared.
        latency: The decision of the gate; the baseline is the first side. Null if nothing was
            measured.
        problem: The reason why a side couldn't be run; empty if both could.
    """

    sides: ComparedSides
    same_code: bool
    numbers: ErrorResult | None = None
    latency: LatencyResult | None = None
    problem: str = ""

    @property
    def is_slower(self) -> bool:
        """Whether the second side is slower, beyond the threshold."""
        return self.latency is not None and self.latency.verdict == "REGRESSION"

    @property
    def differs(self) -> bool:
        """Whether the two sides return other numbers."""
        return self.numbers is not None and not self.numbers.passed


@dataclass(frozen=True, kw_only=True)
class VettedCase:
    """A case of both environments.

    Attributes:
        label: The name of the case in messages and tables.
        nodeid: The id of the test.
        name: The name of the case.
        schedules: `untuned`: both sides compiled without records. `replayed`: both sides compiled
            with the schedules of the same records.
        tuned_kernels: The number of kernels with such a schedule, the same on both sides.
        comparisons: The comparisons that were made.
        slower_part: The part that makes the new side slower; empty if nothing is slower.
        divergence: The first kernel whose outputs differ; null if the numbers agree, or if it
            couldn't be searched.
        kernels: The times of the kernels of both libraries under the new runtime, if the generated
            code is slower.
        findings: What failed.
        notes: What is worth to know, and fails nothing.
    """

    label: str
    nodeid: str
    name: str
    schedules: Schedules
    tuned_kernels: int = 0
    comparisons: tuple[SidesComparison, ...] = ()
    slower_part: SlowerPart = ""
    divergence: Divergence | None = None
    kernels: KernelTable | None = None
    findings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def comparison(self, sides: ComparedSides) -> SidesComparison | None:
        """Return the comparison of these sides, None if it wasn't made."""
        return next((one for one in self.comparisons if one.sides == sides), None)


@dataclass(frozen=True, kw_only=True)
class VettedEnvironment:
    """An environment.

    Attributes:
        python: The interpreter.
        tvm: The folder of TVM.
        tvm_version: The version of apache-tvm.
        tvm_revision: The git revision of TVM, if it's in a checkout; else empty.
        tvm_identity: The SHA-256 of TVM's files.
        ffi_version: The version of apache-tvm-ffi.
        exit_code: The exit code of pytest.
    """

    python: str
    tvm: str
    tvm_version: str
    tvm_revision: str
    tvm_identity: str
    ffi_version: str
    exit_code: int


@dataclass(frozen=True, kw_only=True)
class VetReport:
    """The report of `tvmtune vet`, version 1. Ratios are new / old: 1.10 is 10 % slower.

    Attributes:
        schema: Always `pytest-tvmtune-vet`.
        version: The version of the format. It increases when a key changes its meaning.
        created_at: The time of the report, in UTC.
        plugin: The version of pytest-tvmtune that ran on both sides.
        arguments: The arguments of pytest.
        cpu: The CPU model of the machine.
        old: The environment to compare with.
        new: The environment to vet.
        cases: The cases, in order of their labels.
        findings: All findings: of cases, and of tests.
        notes: What is worth to know, and fails nothing.
    """

    schema: Literal["pytest-tvmtune-vet"]
    version: Literal[1]
    created_at: Annotated[
        str, Meta(pattern="^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$")
    ]
    plugin: str
    arguments: tuple[str, ...]
    cpu: str
    old: VettedEnvironment
    new: VettedEnvironment
    cases: tuple[VettedCase, ...]
    findings: tuple[str, ...]
    notes: tuple[str, ...]

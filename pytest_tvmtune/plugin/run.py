"""A Run: what `tvm_tune(...)` returns, with the checks a test makes on it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_tvmtune.core.comparing.tolerances import ComparisonOptions, Outputs
from pytest_tvmtune.core.errors import (
    BaselineError,
    ChildError,
    CompileError,
    ModelError,
    TvmTuneError,
)
from pytest_tvmtune.core.gating.case_identity import Identity
from pytest_tvmtune.core.kernels.kernel_table import KernelTable
from pytest_tvmtune.core.results.case_result import CaseResult
from pytest_tvmtune.core.results.failure import Failure, failure_of
from pytest_tvmtune.core.results.task_result import TaskResult
from pytest_tvmtune.core.settings.options import RunOptions
from pytest_tvmtune.plugin.gate import Gate
from pytest_tvmtune.plugin.golden import GoldenFile
from pytest_tvmtune.plugin.warning import TvmTuneWarning

if TYPE_CHECKING:
    from pytest_tvmtune.relax.measuring.session import Session
    from pytest_tvmtune.stages.case import Case
    from pytest_tvmtune.stages.compiling import BuiltModel
    from pytest_tvmtune.store.artifacts import Artifact
    from pytest_tvmtune.store.tuning.records import Workload

# It returns findings, and raises TvmTuneError where it can't be made.
_Check = Callable[[], list[str]]


class Run:
    """One model, compiled and run once. `assert_*` and `check` fail the test on a finding."""

    _built: BuiltModel
    _session: Session

    def __init__(
        self,
        *,
        case: Case,
        identity: Identity,
        run_options: RunOptions,
        golden: GoldenFile,
        unset_dims: str = "",
        other_model: str = "",
    ) -> None:
        self._case = case
        self._identity = identity
        self._run_options = run_options
        self._unset_dims = unset_dims
        self._other_model = other_model
        self._checked = False
        self._gate = Gate(case=case, identity=identity, run_options=run_options)
        self._golden = golden
        self.outputs: Any = None
        self.samples: list[float] = []

    @property
    def result(self) -> CaseResult:
        """Everything the reports will say."""
        return self._case.result

    @property
    def tasks(self) -> list[TaskResult]:
        """The tuning tasks: trials, best latency in seconds, tuned or not."""
        return self.result.tasks

    @property
    def mod(self) -> Any:
        """The IRModule as it was given or imported, before the pipeline."""
        return self._case.model.mod

    @property
    def _stock_mod(self) -> Any:
        """The module that the stock pipeline is given, None where it is given none."""
        return None if self._case.model.is_ready else self._case.model.mod

    @property
    def target(self) -> Any:
        """The canonical `tvm.target.Target`."""
        return self._case.target

    @property
    def vm(self) -> Any:
        """The `relax.VirtualMachine` that computed `outputs`."""
        return self._session.vm

    @property
    def artifact(self) -> Artifact:
        """The compiled library in the store, with its manifest."""
        return self._built.artifact

    def prepare(self) -> None:
        """Tune, build, load, run once: called by `tvm_tune` before the test gets the Run."""
        from pytest_tvmtune.stages.tuned_build import load_and_call, tune_and_build
        from pytest_tvmtune.stages.tuning_tasks import untuned_sentence

        for warning in filter(None, (self._other_model, self._unset_dims)):
            self.warn(warning)
        with self._findings():
            self._built = tune_and_build(self._case, self._accepted_records)
            self._session, self.outputs = load_and_call(self._case, self._built)
            self.result.transform_s = self._session.transform_s
            self.result.transform_extra_bytes = self._session.transform_extra_bytes
        if untuned := untuned_sentence(self._case):
            self.warn(untuned)

    def _accepted_records(self) -> list[tuple[str, Workload]]:
        from pytest_tvmtune.store.accepted.baseline_files import read_records

        try:
            return read_records(self._case.store, self._identity)
        except BaselineError as error:
            self.warn(f"{error}; the baseline's records are left out")
            return []

    def __call__(self) -> Any:
        """Call the entry again, as in `benchmark(run)`; return TVM's tensors, on the device."""
        from pytest_tvmtune.relax.measuring.session import call_on_device

        return call_on_device(self._session)

    def assert_allclose(
        self,
        expected: Any = None,
        *,
        rtol: float | None = None,
        atol: float | None = None,
        statistic: str | None = None,
        outputs: Outputs = None,
    ) -> None:
        """Compare the outputs with `expected`, or with the untuned, unpacked build.

        expected: one of
        - an array, or nested tuples of arrays as the model returns them;
        - a dict by path (`output[1]`), or by the source's own name, of those outputs to compare;
        - a callable that returns one of these: it is called with copies of the runtime inputs, as
          numpy arrays in the entry's order, without the parameters;
        - the name of a reference that the model brings: "onnxruntime" for ONNX models, "torch" for
          those from torch;
        - None: what TVM computes for the same model without tuning and prepack; where that is the
          very library under test, nothing is compared.
        rtol, atol, statistic: of all outputs, see `Tolerance`. outputs: a Tolerance, or a dict of
        its fields, by path; before those. What neither says: the marker's rtol and atol, else by
        dtype.
        """
        __tracebackhide__ = True
        comparison = ComparisonOptions(rtol=rtol, atol=atol, statistic=statistic, outputs=outputs)
        self._make(lambda: self._accuracy(expected, comparison))

    def assert_prepack_equivalent(
        self,
        *,
        rtol: float | None = None,
        atol: float | None = None,
        statistic: str | None = None,
        outputs: Outputs = None,
    ) -> None:
        """Compare prepacked with not prepacked: same parameters, same inputs; never tunes.

        Tolerances as in `assert_allclose`.
        """
        __tracebackhide__ = True
        comparison = ComparisonOptions(rtol=rtol, atol=atol, statistic=statistic, outputs=outputs)
        self._make(lambda: self._prepack_equivalence(comparison))

    def assert_matches_golden(
        self,
        *,
        rtol: float | None = None,
        atol: float | None = None,
        statistic: str | None = None,
        outputs: Outputs = None,
    ) -> None:
        """Compare the outputs with those kept in `tvmtune_golden/`, beside the test file.

        All targets, and both prepack choices, share one file. It is written by --tvm-update-new
        where there is none, and by --tvm-update where it differs, once the whole test has passed;
        look at it and commit it. Without one the test passes, under --tvm-strict it fails.
        Tolerances as in `assert_allclose`.
        """
        __tracebackhide__ = True
        self._checked = True
        comparison = ComparisonOptions(rtol=rtol, atol=atol, statistic=statistic, outputs=outputs)
        self._make(lambda: self._golden.check(self._built, self.outputs, comparison))

    def assert_no_regression(self) -> None:
        """Compare the latency with the accepted baseline's, both run here and now."""
        __tracebackhide__ = True
        self._make(self._latency)

    def check(
        self,
        expected: Any = None,
        *,
        rtol: float | None = None,
        atol: float | None = None,
        statistic: str | None = None,
        outputs: Outputs = None,
    ) -> None:
        """Make every check that applies, then fail once with all findings.

        Prepacked against not is compared for prepacked items; `prepack="both"` makes one of each.
        Arguments as in `assert_allclose`.
        """
        __tracebackhide__ = True
        comparison = ComparisonOptions(rtol=rtol, atol=atol, statistic=statistic, outputs=outputs)
        self._make(
            lambda: self._accuracy(expected, comparison), *self._all_but_accuracy(comparison)
        )

    def check_data_sets(self, folders: Sequence[Path]) -> None:
        """Make every check that applies, the numbers once for each folder of ONNX test data.

        folders: with input_0.pb, ..., output_0.pb, ... in the order of the model's own; the run
        has the inputs of the first. Latency is that with the first one's inputs.
        """
        __tracebackhide__ = True
        from pytest_tvmtune.stages.test_data import compare_data_sets

        self._checked = True
        self._make(
            lambda: compare_data_sets(
                self._case, self._built, self._session, self.outputs, folders
            ),
            *self._all_but_accuracy(ComparisonOptions()),
        )

    def kernels(self, *, budget_s: float = 2.0) -> KernelTable:
        """Return what each kernel of the artifact takes, the dearest first.

        budget_s: about how long to measure, in seconds. Kernels run with the instrument, whose own
        cost is measured and taken off; `unexplained_s` says how far they then are from a call
        without it.
        """
        from pytest_tvmtune.stages.paired_measurement import time_kernels

        with self._findings():
            self.result.kernels = time_kernels(self._case, self.artifact, budget_s=budget_s)
        return self.result.kernels

    def warn(self, message: str) -> None:
        """Warn of what is unknown or incomplete; under --tvm-strict it fails the test."""
        self.result.warnings.append(f"{self._case.label}: {message}")
        if not self._run_options.strict:
            warnings.warn(TvmTuneWarning(f"{self._case.label}: {message}"), stacklevel=2)

    def conclude(self) -> list[str]:
        """Return what fails the test although every check passed; called when the test is over."""
        if not self._checked:
            self.warn("nothing was checked: call run.check(), or an assert_* method of the run")
        if not self._run_options.strict or not self.result.warnings:
            return []
        self.result.note_failure(Failure(kind="unknown"))
        return list(self.result.warnings)

    def accept(self) -> bool:
        """Record what this run proposed, if anything; called once the whole test has passed.

        Returns whether that was a baseline.
        """
        if self.result.findings or not all(error.passed for error in self.result.errors):
            return False  # also where the test itself swallowed the finding
        self._golden.write()
        return self._gate.write()

    def _accuracy(self, expected: Any, comparison: ComparisonOptions) -> list[str]:
        from pytest_tvmtune.stages.comparing_outputs import compare_with_expected, note_error

        error = compare_with_expected(self._case, self._built, self.outputs, expected, comparison)
        if error is None:
            # Untuned and unpacked itself: that nothing was compared shows in every report.
            return []
        self._checked = True
        return note_error(self._case, self._built, error, comparison)

    def _all_but_accuracy(self, comparison: ComparisonOptions) -> list[_Check]:
        equivalence: list[_Check] = [lambda: self._prepack_equivalence(comparison)]
        return [*(equivalence if self.result.prepack else []), self._latency]

    def _prepack_equivalence(self, comparison: ComparisonOptions) -> list[str]:
        from pytest_tvmtune.stages.comparing_outputs import compare_prepacked, note_error

        self._checked = True
        error = compare_prepacked(self._case, self.outputs, comparison)
        return note_error(self._case, self._built, error, comparison)

    def _latency(self) -> list[str]:
        from pytest_tvmtune.stages.untuned_twin import slower_than_untuned

        self._checked = True
        found = self._gate.check(self._built, self._session)
        self.samples = found.samples_s
        if slower := slower_than_untuned(self._case, self._built, self._session):
            self.warn(slower)
        if found.unknown:
            self.warn(found.unknown)
        return found.findings

    def _make(self, *checks: _Check) -> None:
        """Make all checks, then fail the test once with all findings.

        What keeps one from being made is its finding, and no reason to leave out the others.
        """
        __tracebackhide__ = True
        from pytest_tvmtune.relax.installation.registrations_check import check_registrations

        findings: list[str] = []
        for check in checks:
            try:
                check_registrations(self._case.store, self._stock_mod)
                findings += check()
            except TvmTuneError as error:
                self.result.note_failure(failure_of(error))
                findings.append(f"{self._case.label}: {error}")
        self._fail_on(findings)

    @contextmanager
    def _findings(self) -> Iterator[None]:
        """Turn an error of ours into a failing test that names the case.

        One of them is that the test has registered since what no child has.
        """
        from pytest_tvmtune.relax.installation.registrations_check import check_registrations

        try:
            check_registrations(self._case.store, self._stock_mod)
            yield
        except TvmTuneError as error:
            self.result.note_failure(failure_of(error))
            finding = f"{self._case.label}: {error}"
            if self._unset_dims and isinstance(error, (ChildError, CompileError, ModelError)):
                finding += f"\nThat may be why: {self._unset_dims}"
            self._fail_on([finding])

    def _fail_on(self, findings: list[str]) -> None:
        __tracebackhide__ = True
        if findings:
            self.result.findings += findings
            # from None: the report needs no chain of exceptions, the finding says it all.
            raise pytest.fail.Exception("\n".join(findings), pytrace=False) from None

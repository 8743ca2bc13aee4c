"""A Run: what `tvm_tune(...)` returns, with the checks a test makes on it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from pytest_tvmtune.core.comparing.tolerances import ComparisonOptions, Outputs
from pytest_tvmtune.core.kernels.kernel_table import KernelTable
from pytest_tvmtune.core.results.case_result import CaseResult
from pytest_tvmtune.core.results.task_result import TaskResult
from pytest_tvmtune.relax.measuring.session import call_on_device
from pytest_tvmtune.stages import pipeline
from pytest_tvmtune.stages.case_run import CaseRun

if TYPE_CHECKING:
    from pytest_tvmtune.store.artifacts import Artifact


def _numbers_check(expected: Any, comparison: ComparisonOptions) -> pipeline.Check:
    # No partial: who looks at its signature, as typeguard does, compares an array as a default.
    def check(run: CaseRun) -> list[str]:
        return pipeline.check_outputs(run, expected=expected, comparison=comparison)

    return check


def make_checks(run: CaseRun, *checks: pipeline.Check) -> None:
    """Make all checks, then fail the test once with all findings."""
    __tracebackhide__ = True
    if findings := pipeline.make_checks(run, *checks):
        # from None: the report needs no chain of exceptions, the finding says it all.
        raise pytest.fail.Exception("\n".join(findings), pytrace=False) from None


class Run:
    """One model, compiled and run once. `assert_*` and `check` fail the test on a finding."""

    def __init__(self, case_run: CaseRun) -> None:
        self._run = case_run

    @property
    def outputs(self) -> Any:
        """What the model returned: numpy arrays, in tuples as it nests them."""
        return self._run.outputs

    @property
    def samples(self) -> list[float]:
        """Seconds of each timed call; empty before the latency was compared."""
        return self._run.samples

    @property
    def result(self) -> CaseResult:
        """Everything the reports will say."""
        return self._run.result

    @property
    def tasks(self) -> list[TaskResult]:
        """The tuning tasks: trials, best latency in seconds, tuned or not."""
        return self.result.tasks

    @property
    def mod(self) -> Any:
        """The IRModule as it was given or imported, before any pipeline; None for a library."""
        model = self._run.case.model
        return (model.original or model).mod

    @property
    def target(self) -> Any:
        """The canonical `tvm.target.Target`."""
        return self._run.case.target

    @property
    def vm(self) -> Any:
        """The `relax.VirtualMachine` that computed `outputs`."""
        return self._run.session.vm

    @property
    def artifact(self) -> Artifact:
        """The compiled library in the store, with its manifest."""
        return self._run.built.artifact

    def __call__(self) -> Any:
        """Call the entry again, as in `benchmark(run)`; return TVM's tensors, on the device."""
        return call_on_device(self._run.session)

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
        self._make(_numbers_check(expected, comparison))

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
        self._make(partial(pipeline.check_prepacked, comparison=comparison))

    def assert_matches_golden(
        self,
        *,
        rtol: float | None = None,
        atol: float | None = None,
        statistic: str | None = None,
        outputs: Outputs = None,
    ) -> None:
        """Compare the outputs with those kept in `tvmtune_golden/`, next to the test file.

        All targets, and both prepack choices, share one file. It is written by --tvm-update-new
        where there is none, and by --tvm-update where it differs, once the whole test has passed;
        look at it and commit it. Without one the test passes, under --tvm-strict it fails.
        Tolerances as in `assert_allclose`.
        """
        __tracebackhide__ = True
        comparison = ComparisonOptions(rtol=rtol, atol=atol, statistic=statistic, outputs=outputs)
        self._make(partial(pipeline.check_golden, comparison=comparison))

    def assert_no_regression(self) -> None:
        """Compare the latency with the accepted baseline's, both run here and now."""
        __tracebackhide__ = True
        self._make(pipeline.check_latency)

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
        numbers = _numbers_check(expected, comparison)
        self._make(*pipeline.all_checks(self._run, numbers, comparison))

    def kernels(self, *, budget_s: float = 2.0) -> KernelTable:
        """Return what each kernel of the artifact takes, the slowest first.

        budget_s: about how long to measure, in seconds. Kernels run with the instrument, whose own
        cost is measured and taken off; `unexplained_s` says how far they then are from a call
        without it.
        """
        __tracebackhide__ = True
        self._make(partial(pipeline.time_kernels, budget_s=budget_s))
        assert self.result.kernels is not None
        return self.result.kernels

    def _make(self, *checks: pipeline.Check) -> None:
        __tracebackhide__ = True
        make_checks(self._run, *checks)

"""The Run that `tvm_tune(...)` returns, with the checks for a test."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_tvmtune.core.comparing.tolerances import ComparisonOptions, Outputs
from pytest_tvmtune.core.kernels.kernel_table import KernelTable
from pytest_tvmtune.core.results.case_result import CaseResult
from pytest_tvmtune.core.results.latency_comparison import LatencyComparison
from pytest_tvmtune.core.results.task_result import TaskResult
from pytest_tvmtune.stages import latency_checks, pipeline
from pytest_tvmtune.stages.case_run import CaseRun, Check
from pytest_tvmtune.stages.latency.variants import OtherCase

if TYPE_CHECKING:
    from pytest_tvmtune.store.artifacts import Artifact


def _numbers_check(expected: Any, comparison: ComparisonOptions) -> Check:
    # A partial would have an array as a default, which typeguard compares with others.
    def check(run: CaseRun) -> list[str]:
        return pipeline.check_outputs(run, expected=expected, comparison=comparison)

    return check


def make_checks(run: CaseRun, *checks: Check) -> None:
    """Make all checks. Then, if there are findings, fail the test once with all of them."""
    __tracebackhide__ = True
    if findings := pipeline.make_checks(run, *checks):
        # from None: the finding has everything, so the report needs no chain of exceptions.
        raise pytest.fail.Exception("\n".join(findings), pytrace=False) from None


class Run:
    """A model that was compiled and run once. Its checks fail the test if they find a fault."""

    def __init__(self, case_run: CaseRun) -> None:
        self._run = case_run

    @property
    def outputs(self) -> Any:
        """The outputs of the model: numpy arrays, nested in tuples like the model's outputs."""
        return self._run.outputs

    @property
    def samples(self) -> list[float]:
        """Seconds of each timed call. It's empty until the latency is compared."""
        return self._run.samples

    @property
    def result(self) -> CaseResult:
        """The result of the case, which all reports show."""
        return self._run.result

    @property
    def tasks(self) -> list[TaskResult]:
        """The tuning tasks: trials, best latency in seconds, tuned or not."""
        return self.result.tasks

    @property
    def mod(self) -> Any:
        """The given or imported IRModule, before any pipeline. None for a library."""
        model = self._run.case.model
        return (model.original or model).mod

    @property
    def target(self) -> Any:
        """The canonical `tvm.target.Target`."""
        return self._run.case.target

    @property
    def vm(self) -> Any:
        """The `relax.VirtualMachine` that computed `outputs`."""
        return self._run.loaded.vm()

    @property
    def artifact(self) -> Artifact:
        """The compiled library in the store, with its manifest."""
        return self._run.built.artifact

    def __call__(self) -> Any:
        """Call the entry again, as in `benchmark(run)`. Returns TVM's tensors, on the device."""
        return self._run.loaded.call_again()

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

        The argument `expected` has one of these forms:

        - An array, or nested tuples of arrays like the model's outputs.
        - A dict of the outputs to compare, by path (`output[1]`) or by their name in the model.
        - A callable that returns one of these. Its arguments are copies of the runtime inputs, as
          numpy arrays in the order of the entry, without parameters.
        - The name of a reference: "onnxruntime" for ONNX models, "torch" for models from torch.
        - None: the outputs of the same model without tuning and prepack. If this build is the
          library under test, nothing is compared.

        Args:
            expected: The expectation, in one of the forms above.
            rtol: The relative tolerance of all outputs. Without it, the marker's value applies,
                then a default for the dtype.
            atol: The absolute tolerance of all outputs, in the same way.
            statistic: The statistic of all outputs, see `Tolerance`.
            outputs: A `Tolerance`, or a dict of its fields, by the path of an output. It takes
                precedence over the other arguments.
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
        """Compare the prepacked build with the plain build, with the same parameters and inputs.

        It never tunes. The tolerances are those of `assert_allclose`.
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
        """Compare the outputs with the golden outputs in `tvmtune_golden/`, next to the test file.

        All targets and both prepack choices share a file. After the whole test has passed,
        --tvm-update-new writes a missing file, and --tvm-update also replaces a file that differs.
        Review the file and commit it. Without a file, the test passes. With --tvm-strict, it fails.
        The tolerances are those of `assert_allclose`.
        """
        __tracebackhide__ = True
        comparison = ComparisonOptions(rtol=rtol, atol=atol, statistic=statistic, outputs=outputs)
        self._make(partial(pipeline.check_golden, comparison=comparison))

    def assert_no_regression(self) -> None:
        """Compare the latency with the baseline's, and with the anchor's. All of them run now."""
        __tracebackhide__ = True
        self._make(*latency_checks.LATENCY_CHECKS)

    def assert_not_slower_than(
        self, other: str | Path | Run, *, threshold: str | None = None
    ) -> None:
        """Fail if the latency is above that of another variant by more than the threshold.

        Both variants run now, in turn, as in `assert_no_regression`. If the measurement can't
        decide, the test passes with a warning.

        The argument `other` has one of these forms:

        - "untuned": the same model without records.
        - "prepacked" or "not prepacked": the model with the other prepack choice. It is tuned like
          this run, if it isn't tuned yet.
        - "onnxruntime" for ONNX models, or "torch" for models from torch: the model in that
          runtime, with its default settings and the same number of threads.
        - Another `Run` of the same test with the same inputs, such as another model or pipeline.
        - The path of a library (.so) that takes the same inputs and parameters.

        Args:
            other: The variant, in one of the forms above.
            threshold: The slowdown that fails, such as "3%". Without it, the marker's value
                applies.
        """
        __tracebackhide__ = True
        self._compare(other, threshold, may_fail=True)

    def compare_latency(
        self, other: str | Path | Run, *, threshold: str | None = None
    ) -> LatencyComparison:
        """Return the latency next to that of another variant: ratio, interval, verdict, medians.

        It fails the test only if a variant can't be built or run. The arguments are those of
        `assert_not_slower_than`.
        """
        __tracebackhide__ = True
        self._compare(other, threshold, may_fail=False)
        return self.result.latency_comparisons[-1]

    def check(
        self,
        expected: Any = None,
        *,
        rtol: float | None = None,
        atol: float | None = None,
        statistic: str | None = None,
        outputs: Outputs = None,
    ) -> None:
        """Make every check that applies. Then fail once with all findings.

        A prepacked item is also compared with the plain build. `prepack="both"` makes a plain and
        a prepacked item. The arguments are those of `assert_allclose`.
        """
        __tracebackhide__ = True
        comparison = ComparisonOptions(rtol=rtol, atol=atol, statistic=statistic, outputs=outputs)
        numbers = _numbers_check(expected, comparison)
        self._make(*pipeline.all_checks(self._run, numbers, comparison))

    def kernels(self, *, budget_s: float = 2.0) -> KernelTable:
        """Return the time of each kernel of the artifact, the slowest kernel first.

        Kernels run with an instrument. Its cost is measured and subtracted. `unexplained_s` is the
        difference between their sum and a call without the instrument.

        Args:
            budget_s: The approximate time of the measurement, in seconds.
        """
        __tracebackhide__ = True
        self._make(partial(latency_checks.time_kernels, budget_s=budget_s))
        assert self.result.kernels is not None
        return self.result.kernels

    def _compare(self, other: str | Path | Run, threshold: str | None, *, may_fail: bool) -> None:
        __tracebackhide__ = True
        named = (
            OtherCase(case=other._run.case, artifact=other.artifact)  # noqa: SLF001  of its own class
            if isinstance(other, Run)
            else other
        )
        check = partial(
            latency_checks.compare_latency, other=named, threshold=threshold, may_fail=may_fail
        )
        self._make(check)

    def _make(self, *checks: Check) -> None:
        __tracebackhide__ = True
        make_checks(self._run, *checks)

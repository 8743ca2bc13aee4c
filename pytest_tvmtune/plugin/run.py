"""A Run: what `tvm_tune(...)` returns, with the checks a test makes on it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from pytest_tvmtune.core.baseline import Baseline, Identity
from pytest_tvmtune.core.errors import BaselineError, TvmTuneError
from pytest_tvmtune.core.options import RunOptions
from pytest_tvmtune.core.results import CaseResult, ErrorResult, LatencyResult, TaskResult
from pytest_tvmtune.core.tolerances import Tolerance

if TYPE_CHECKING:
    from pytest_tvmtune.runner.building import Built
    from pytest_tvmtune.runner.case import Case
    from pytest_tvmtune.store.artifacts import Artifact
    from pytest_tvmtune.store.records import Workload

UNTUNED = "the untuned, unpacked build"
Outputs = Mapping[str, Tolerance | Mapping[str, Any]] | None


@dataclass(frozen=True, kw_only=True)
class _How:
    """How a check was told to compare; unlike a Tolerance it may hold nonsense."""

    rtol: float | None
    atol: float | None
    statistic: str | None
    outputs: Outputs

    @property
    def tolerance(self) -> Tolerance:
        """What all outputs are to keep. Raises ModelError."""
        return Tolerance(rtol=self.rtol, atol=self.atol, statistic=self.statistic)


class TvmTuneWarning(pytest.PytestWarning):
    """Something is unknown or incomplete; under --tvm-strict it fails the test."""


class Run:
    """One model, compiled and run once. `assert_*` and `check` fail the test on a finding."""

    def __init__(self, *, case: Case, identity: Identity, run_options: RunOptions) -> None:
        self._case = case
        self._identity = identity
        self._run_options = run_options
        self._built: Built | None = None
        self._checked = False
        self._pending: tuple[Baseline, list[tuple[str, Workload]]] | None = None
        self._gated = 0
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
        assert self._built is not None
        return self._built.artifact

    def prepare(self) -> None:
        """Tune, build, load, run once: called by `tvm_tune` before the test gets the Run."""
        from pytest_tvmtune.runner.preparing import load_and_call, tune_and_build

        with self._findings():
            self._built = tune_and_build(self._case, self._accepted_records)
            self._session, self.outputs = load_and_call(self._case, self._built)
            self.result.transform_s = self._session.transform_s
            self.result.transform_extra_bytes = self._session.transform_extra_bytes
        self._tell_incomplete_tuning()

    def _accepted_records(self) -> list[tuple[str, Workload]]:
        from pytest_tvmtune.store.baselines import read_records

        try:
            return read_records(self._case.store, self._identity)
        except BaselineError as error:
            self._tell(f"{error}; the baseline's records are left out")
            return []

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

        expected: an array, or nested tuples of arrays as the model returns them; a dict by path
        (`output[1]`), of those outputs to compare; None: what TVM computes for the same model
        without tuning and prepack; where that is the very library under test, nothing is compared.
        rtol, atol, statistic: of all outputs, see `Tolerance`. outputs: a Tolerance, or a dict of
        its fields, by path; before those. What neither says: the marker's rtol and atol, else by
        dtype.
        """
        __tracebackhide__ = True
        self._fail_on(
            self._accuracy(
                expected, _How(rtol=rtol, atol=atol, statistic=statistic, outputs=outputs)
            )
        )

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
        self._fail_on(
            self._prepack_equivalence(
                _How(rtol=rtol, atol=atol, statistic=statistic, outputs=outputs)
            )
        )

    def assert_no_regression(self) -> None:
        """Compare the latency with the accepted baseline's, both run here and now."""
        __tracebackhide__ = True
        self._fail_on(self._latency())

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
        how = _How(rtol=rtol, atol=atol, statistic=statistic, outputs=outputs)
        findings = self._accuracy(expected, how)
        if self.result.prepack:
            findings += self._prepack_equivalence(how)
        findings += self._latency()
        self._fail_on(findings)

    def conclude(self) -> list[str]:
        """Return what fails the test although every check passed; called when the test is over."""
        if not self._checked:
            self._tell("nothing was checked: call run.check(), or an assert_* method of the run")
        return list(self.result.warnings) if self._run_options.strict else []

    def accept(self) -> bool:
        """Record the baseline this run proposed, if any; called once the whole test has passed."""
        from pytest_tvmtune.store.baselines import write_baseline

        wrong = self.result.findings or not all(error.passed for error in self.result.errors)
        if self._pending is None or wrong:  # also where the test itself swallowed the finding
            return False
        write_baseline(self._case.store, *self._pending)
        return True

    def _accuracy(self, expected: Any, how: _How) -> list[str]:
        from pytest_tvmtune.runner.preparing import reference_outputs

        if expected is None:
            assert self._built is not None
            with self._findings():
                expected = reference_outputs(self._case, self._built)
            against = UNTUNED
        else:
            against = "expected"
        if expected is None:
            # Untuned and unpacked itself: that nothing was compared shows in every report.
            return []
        self._checked = True
        return self._compare(expected, against, how)

    def _prepack_equivalence(self, how: _How) -> list[str]:
        from pytest_tvmtune.runner.preparing import counterpart_outputs

        self._checked = True
        against = "not prepacked" if self.result.prepack else "prepacked"
        with self._findings():
            expected = counterpart_outputs(self._case)
        return self._compare(expected, against, how)

    def _compare(self, expected: Any, against: str, how: _How) -> list[str]:
        from pytest_tvmtune.core.accuracy import compare

        options = self._case.options
        with self._findings():
            wider = Tolerance(rtol=options.rtol, atol=options.atol)
            error: ErrorResult = compare(
                self.outputs,
                expected,
                against=against,
                tolerance=how.tolerance.over(wider),
                outputs=how.outputs,
            )
        self.result.errors.append(error)
        if error.passed:
            return []
        return [f"{self._case.label}: wrong numbers against {against}: {error.message}"]

    def _latency(self) -> list[str]:
        from pytest_tvmtune.runner.latency import judge_latency
        from pytest_tvmtune.store.baselines import read_baseline

        self._checked = True
        assert self._built is not None
        baseline: Baseline | BaselineError | None
        with self._findings():
            try:
                baseline = read_baseline(self._case.store, self._identity)
            except BaselineError as error:
                baseline = error
            latency, self.samples = judge_latency(
                self._case, self._built, self._session, baseline, gated_before=self._gated
            )
            self._gated += 1
            self.result.latency = latency
            if self._propose(latency):
                return []
        sentence = f"{self._case.label}: {latency.message}"
        if latency.verdict == "REGRESSION":
            return [f"{sentence}. Accept with --tvm-update"]
        if latency.verdict == "NEW":
            if self._run_options.strict:
                self.result.warnings.append(sentence)
        elif latency.verdict not in {"PASS", "IMPROVEMENT"}:
            self._tell(f"{latency.verdict}: {latency.message}")
        return []

    def _propose(self, latency: LatencyResult) -> bool:
        """Note the baseline to record if the test passes; whether this run accepts itself."""
        from pytest_tvmtune.runner.latency import accepted_records, make_baseline

        run = self._run_options
        if not (run.update or (run.update_new and latency.verdict == "NEW")):
            return False
        assert self._built is not None
        self._pending = (
            make_baseline(self._case, self._identity, self._built, self.samples),
            accepted_records(self._case, self._built),
        )
        return True

    def _tell_incomplete_tuning(self) -> None:
        if not self.result.tuning_trials:
            return
        incomplete = [task for task in self.tasks if task.state != "tuned"]
        if not incomplete:
            return
        names = ", ".join(
            task.name + (f" ({task.reason})" if task.reason else "") for task in incomplete[:6]
        )
        more = f" and {len(incomplete) - 6} more" if len(incomplete) > 6 else ""
        self._tell(
            f"{len(incomplete)} of {len(self.tasks)} tasks are untuned though "
            f"{self.result.tuning_trials} trials were asked: {names}{more}"
            + (f"; log: {self._case.log_path('tune')}" if any(t.reason for t in incomplete) else "")
        )

    def _tell(self, message: str) -> None:
        self.result.warnings.append(f"{self._case.label}: {message}")
        if not self._run_options.strict:
            warnings.warn(TvmTuneWarning(f"{self._case.label}: {message}"), stacklevel=2)

    @contextmanager
    def _findings(self) -> Iterator[None]:
        """Turn an error of ours into a failing test that names the case."""
        try:
            yield
        except TvmTuneError as error:
            self._fail_on([f"{self._case.label}: {error}"])

    def _fail_on(self, findings: list[str]) -> None:
        __tracebackhide__ = True
        if findings:
            self.result.findings += findings
            # from None: the report needs no chain of exceptions, the finding says it all.
            raise pytest.fail.Exception("\n".join(findings), pytrace=False) from None

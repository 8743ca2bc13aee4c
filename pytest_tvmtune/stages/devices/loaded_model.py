"""A built model that is ready to be called: in this process, or on a device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from pytest_tvmtune.core.errors import ModelError
from pytest_tvmtune.core.tensors.signature import Array
from pytest_tvmtune.relax.measuring import call_job
from pytest_tvmtune.relax.measuring.session import call, call_on_device, with_inputs
from pytest_tvmtune.relax.measuring.timing import sample
from pytest_tvmtune.stages.case import Case
from pytest_tvmtune.stages.devices.device_job import run_device_job
from pytest_tvmtune.stages.job_context import entry_call, job_context
from pytest_tvmtune.store.artifacts import Artifact

if TYPE_CHECKING:
    from pytest_tvmtune.relax.measuring.session import Session


class LoadedModel(Protocol):
    """What can be done with a model that is ready to be called.

    transform_s, transform_extra_bytes: the cost of the parameters' transform, None without one.
    """

    @property
    def transform_s(self) -> float | None:
        """Seconds that the parameters' transform took."""

    @property
    def transform_extra_bytes(self) -> int | None:
        """Memory that the transformed parameters take in addition."""

    @property
    def num_threads(self) -> int:
        """How many threads TVM's runtime really uses."""

    def vm(self) -> Any:
        """Return the `relax.VirtualMachine`. Raises ModelError where it isn't in this process."""

    def call_again(self) -> Any:
        """Call the entry; return TVM's tensors. Raises as `vm`."""

    def outputs(self, inputs: Sequence[Array] | None = None) -> Any:
        """Call the entry; return arrays. inputs: None for the case's own."""

    def sample(self, *, samples: int, min_sample_s: float, budget_s: float) -> list[float]:
        """Return seconds of a call, as `timing.sample` does."""


class ModelHere:
    """A model in this process."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.transform_s = session.transform_s
        self.transform_extra_bytes = session.transform_extra_bytes

    @property
    def num_threads(self) -> int:
        """How many threads TVM's runtime really uses."""
        return self._session.machine.num_threads_used()

    def vm(self) -> Any:
        """Return the `relax.VirtualMachine`."""
        return self._session.vm

    def call_again(self) -> Any:
        """Call the entry; return TVM's tensors."""
        return call_on_device(self._session)

    def outputs(self, inputs: Sequence[Array] | None = None) -> Any:
        """Call the entry; return arrays."""
        return call(self._session if inputs is None else with_inputs(self._session, inputs))

    def sample(self, *, samples: int, min_sample_s: float, budget_s: float) -> list[float]:
        """Return seconds of a call."""
        return sample(self._session, samples=samples, min_sample_s=min_sample_s, budget_s=budget_s)


class ModelOnDevice:
    """A model on a device, reserved only while it is called: others may wait for it."""

    def __init__(self, case: Case, artifact: Artifact) -> None:
        self._case, self._artifact = case, artifact
        self._first = self._run()
        self.transform_s = self._first.transform_s
        self.transform_extra_bytes = self._first.transform_extra_bytes
        self.num_threads = self._first.num_threads

    def vm(self) -> Any:
        """Raise ModelError: the VM is at the other end."""
        raise ModelError(_ELSEWHERE)

    def call_again(self) -> Any:
        """Raise ModelError, as `vm`."""
        raise ModelError(_ELSEWHERE)

    def outputs(self, inputs: Sequence[Array] | None = None) -> Any:
        """Call the entry; return arrays."""
        return call_job.outputs_of(self._first if inputs is None else self._run(inputs=inputs))

    def sample(self, *, samples: int, min_sample_s: float, budget_s: float) -> list[float]:
        """Return seconds of a call."""
        timing = call_job.SampleRequest(
            samples=samples, min_sample_s=min_sample_s, budget_s=budget_s
        )
        return list(self._run(timing=timing).samples_s)

    def _run(
        self,
        inputs: Sequence[Array] | None = None,
        timing: call_job.SampleRequest | None = None,
    ) -> call_job.Result:
        request = call_job.Request(
            library=self._artifact.library,
            manifest=self._artifact.manifest,
            call=entry_call(self._case, inputs),
            timing=timing,
        )
        return run_device_job(call_job.JOB, request, job_context(self._case, "run"))


_ELSEWHERE = (
    "the model runs on a device behind TVM RPC, so this process has no VirtualMachine of it; use "
    "run.outputs, and run.assert_no_regression() for its latency"
)

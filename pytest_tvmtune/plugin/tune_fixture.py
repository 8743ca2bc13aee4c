"""What the `tvm_tune` fixture gives a test: a callable from a model to a Run."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_tvmtune.core.errors import GivenError, TvmTuneError
from pytest_tvmtune.core.gating.case_identity import Identity
from pytest_tvmtune.core.results.case_label import label_of
from pytest_tvmtune.core.results.case_result import CaseResult
from pytest_tvmtune.core.results.failure import Failure, failure_of
from pytest_tvmtune.core.settings.dimension_sizes import (
    shapes_sentence,
    sizes_by_name,
    unset_sentence,
)
from pytest_tvmtune.core.settings.options import RunOptions
from pytest_tvmtune.plugin.attempts import check_marks
from pytest_tvmtune.plugin.collecting.baseline_identity import other_model
from pytest_tvmtune.plugin.golden import GoldenFile
from pytest_tvmtune.plugin.run import Run
from pytest_tvmtune.plugin.state import STATE, ItemState

if TYPE_CHECKING:
    from pytest_tvmtune.stages.case import RunContext

# Threads of a test may call it at once, and what builds modules in TVM is one for all threads.
_ONE_AT_A_TIME = threading.Lock()


@dataclass(frozen=True, kw_only=True, eq=False)
class TvmTune:
    """Tune what is missing, compile, load and run a model, as its test's marker says."""

    item: pytest.Item
    item_state: ItemState
    run_options: RunOptions
    run_context: RunContext | None

    def __call__(
        self,
        model: Any,
        *,
        params: Mapping[str, object] | Sequence[object] | None = None,
        inputs: Mapping[str, object] | Sequence[object] | Path | None = None,
        entry: str | None = None,
        name: str | None = None,
        shapes: Mapping[str, Sequence[int]] | None = None,
        spec: Mapping[str, Any] | None = None,
        pipeline: Any = None,
    ) -> Run:
        """Return the Run of `model` on this item's target.

        model: an IRModule, a `relax.frontend.nn.Module` (with `spec`), a torch module (with
        `inputs`) or ExportedProgram, an ONNX ModelProto, a tflite.Model, a `relax.VMExecutable`
        (never tuned), or the path of an .onnx, .pt2, .tflite or .so file.
        params: every parameter after the runtime inputs: a list in order, (name, array) pairs, or
        a dict by name. None: made up from the seed.
        inputs: arrays, torch tensors, or paths of .npy, .npz or .pb files, by name or in order; or
        the path of a folder of ONNX test data (input_0.pb, ...). None: made up from the seed.
        entry: the Relax function to call; needed where a module has several and none is `main`.
        name: what reports and the baseline call it; needed for a second call in one test.
        shapes: static shapes of an ONNX file's dynamic inputs, by the file's own names; else those
        of the inputs that are given, else what the marker's `dims` sets by name of dimension, else
        1, with a warning.
        pipeline: a pass, or a function from IRModule to IRModule, to compile with instead of
        tuning and the stock pipeline.
        Fails the test, with one message, for whatever is wrong with the model or its compilation.
        """
        if self.run_context is None:
            pytest.skip("under --setup-only no model is compiled")
        check_marks(self.item, self.item_state)
        with _ONE_AT_A_TIME:  # the name as well: two threads don't take the same one
            run = self._open(
                name,
                model,
                pipeline,
                params=params,
                inputs=inputs,
                entry=entry,
                shapes=shapes,
                spec=spec,
            )
        run.prepare()
        return run

    def _open(self, name: str | None, model: Any, pipeline: Any, **source: Any) -> Run:
        name = self._name(name)
        origin, options = self.item_state.origin, self.item_state.options
        label = label_of(name, options.target.name, prepack=options.prepack, params=origin.params)
        logs: dict[str, str] = {}
        assert self.run_context is not None
        store = self.run_context.store

        def log(stage: str) -> Path:
            from pytest_tvmtune.stages.case import log_path

            path = log_path(store, label, origin.nodeid, stage)
            logs[stage] = str(path)
            return path

        try:
            run = self._start(name, label, model, pipeline, log, **source)
        except TvmTuneError as error:
            sidecar = self.item_state.origin.sidecar
            finding = f"{label}: {error}"
            dynamic = getattr(error, "dynamic", ())
            if any(one.unset or not one.sizes for one in dynamic):
                finding += f"\n{shapes_sentence(dynamic, sidecar)}"
            elif isinstance(error, GivenError) and sidecar:
                finding += (
                    f"\n  shapes and inputs of a model file: [shapes] and [inputs] in {sidecar}"
                )
            failed = self._failed_to_open(name, source["entry"], finding, failure_of(error), logs)
            failed.dims = sizes_by_name(dynamic)
            self.item_state.results.append(failed)
            raise pytest.fail.Exception(finding, pytrace=False) from None
        self.item_state.runs.append(run)
        self.item_state.results.append(run.result)
        return run

    def _name(self, name: str | None) -> str:
        self._forget_failed(name or self.item_state.origin.name)
        taken = {run.result.name for run in self.item_state.runs}
        if name is None:
            if taken:
                pytest.fail(
                    "a second call of tvm_tune in one test needs a name of its own: "
                    'tvm_tune(..., name="decoder")',
                    pytrace=False,
                )
            return self.item_state.origin.name
        if name in taken:
            pytest.fail(f"tvm_tune: the name {name!r} is taken in this test", pytrace=False)
        return name

    def _forget_failed(self, name: str) -> None:
        """Leave out an earlier run of this name that failed: hypothesis calls a test again."""
        state = self.item_state
        state.runs = [
            one for one in state.runs if one.result.name != name or not one.result.findings
        ]
        state.results = [one for one in state.results if one.name != name or not one.findings]

    def _start(
        self,
        name: str,
        label: str,
        model: Any,
        pipeline: Any,
        log: Callable[[str], Path],
        **source: Any,
    ) -> Run:
        from pytest_tvmtune.relax.importing import open_model
        from pytest_tvmtune.relax.installation.registrations_check import check_registrations
        from pytest_tvmtune.stages.case import open_case
        from pytest_tvmtune.stages.stage_progress import under_way
        from pytest_tvmtune.store.error_logs import errors_logged

        run_context = self.run_context
        assert run_context is not None, "marked tests are checked when they are collected"
        options = self.item_state.options
        opening = under_way(run_context.on_progress, label, "opening the model")
        with errors_logged(lambda: log("import")), opening:
            opened = open_model(model, name=name, seed=options.seed, dims=options.dims, **source)
        check_registrations(run_context.store, opened.mod if pipeline is None else None)
        if options.prepack and (opened.is_ready or pipeline is not None):
            pytest.skip("prepack is the stock pipeline's, which this model doesn't go through")
        with errors_logged(lambda: log("pipeline")):
            case = open_case(
                opened,
                options,
                run_context,
                name=name,
                nodeid=self.item_state.origin.nodeid,
                params=self.item_state.origin.params,
                pipeline=pipeline,
            )
        identity = self._identity(name, case.result)
        case.result.baseline = identity.file_name
        golden = GoldenFile(
            case=case,
            identity=identity,
            beside=self.item_state.origin.path.parent,
            run_options=self.run_options,
        )
        return Run(
            case=case,
            identity=identity,
            run_options=self.run_options,
            golden=golden,
            unset_dims=unset_sentence(opened.dynamic, self.item_state.origin.sidecar),
            other_model=other_model(self.item, identity.file_name, case.model.mod_hash),
        )

    def _failed_to_open(
        self,
        name: str,
        entry: str | None,
        finding: str,
        failure: Failure,
        logs: dict[str, str],
    ) -> CaseResult:
        options = self.item_state.options
        return CaseResult(
            name=name,
            nodeid=self.item_state.origin.nodeid,
            entry=entry or "",
            target_name=options.target.name,
            target=options.target.given,
            prepack=options.prepack,
            params=self.item_state.origin.params,
            tuning_trials=options.trials,
            logs=logs,
            findings=[finding],
            failure=failure,
        )

    def _identity(self, name: str, result: CaseResult) -> Identity:
        origin = self.item_state.origin
        return Identity(
            path=origin.identity_path,
            cls=origin.cls,
            function=origin.function,
            params=origin.params,
            name=name,
            entry=result.entry,
            target_name=result.target_name,
            prepack=result.prepack,
        )


def tvm_tune_of(item: pytest.Item, item_state: ItemState) -> TvmTune:
    """Return what runs the models of one item."""
    state = item.config.stash[STATE]
    return TvmTune(
        item=item, item_state=item_state, run_options=state.run, run_context=state.run_context
    )

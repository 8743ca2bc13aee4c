"""The value of the fixture `tvm_tune`: a callable that takes a model and returns a Run."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_tvmtune.core.errors import GivenError, TvmTuneError
from pytest_tvmtune.core.gating.case_identity import Identity
from pytest_tvmtune.core.results.case_label import label_of
from pytest_tvmtune.core.results.case_result import CaseResult
from pytest_tvmtune.core.results.failure import failure_of
from pytest_tvmtune.core.settings.dimension_sizes import (
    shapes_sentence,
    sizes_by_name,
    unset_sentence,
)
from pytest_tvmtune.core.settings.options import RunOptions
from pytest_tvmtune.plugin.attempts import check_marks
from pytest_tvmtune.plugin.collecting.baseline_identity import other_model
from pytest_tvmtune.plugin.run import Run, make_checks
from pytest_tvmtune.plugin.state import STATE, ItemState
from pytest_tvmtune.plugin.warning import TvmTuneWarning
from pytest_tvmtune.relax.importing import open_model
from pytest_tvmtune.relax.installation.registrations_check import check_registrations
from pytest_tvmtune.stages.case import open_case
from pytest_tvmtune.stages.case_logs import CaseLogs, logs_of
from pytest_tvmtune.stages.case_run import CaseRun, begin
from pytest_tvmtune.stages.comparing.comparing_golden import FOLDER
from pytest_tvmtune.stages.pipeline import prepare
from pytest_tvmtune.stages.stage_progress import under_way
from pytest_tvmtune.store.error_logs import errors_logged

if TYPE_CHECKING:
    from pytest_tvmtune.stages.case import RunContext

# Threads of a test can call it at the same time, and TVM's builder of modules isn't thread-safe.
_ONE_AT_A_TIME = threading.Lock()


@dataclass(frozen=True, kw_only=True, eq=False)
class TvmTune:
    """Tunes, compiles, loads, and runs a model, with the settings of the test's marker."""

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
        """Return the Run of a model on the target of this item.

        If the model can't be opened, compiled, or run, the test fails with one message.

        Args:
            model: An IRModule, a `relax.frontend.nn.Module` (with `spec`), a torch module (with
                `inputs`) or ExportedProgram, an ONNX ModelProto, a tflite.Model, a
                `relax.VMExecutable` (never tuned), or the path of an .onnx, .pt2, .tflite, or .so
                file.
            params: Every parameter after the runtime inputs: a list in order, (name, array) pairs,
                or a dict by name. None: made up from the seed.
            inputs: Arrays, torch tensors, or paths of .npy, .npz, or .pb files, by name or in
                order. Or the path of a folder of ONNX test data (input_0.pb, ...). None: made up
                from the seed.
            entry: The Relax function to call. It's required if a module has several functions and
                none is `main`.
            name: The name in reports and of the baseline. It's required for a second call in a
                test.
            shapes: Static shapes of an ONNX file's dynamic inputs, by the names in the file. A
                dimension without a shape takes its size from the given inputs, then from the
                setting `dims`. Otherwise, it's 1, with a warning.
            spec: The export spec of a `relax.frontend.nn.Module`.
            pipeline: A pass, or a function from IRModule to IRModule, that replaces tuning and the
                stock pipeline.
        """
        if self.run_context is None:
            pytest.skip("--setup-only compiles no model")
        check_marks(self.item, self.item_state)
        with _ONE_AT_A_TIME:  # also for the name, so two threads can't take the same name
            case_run = self._open(
                name,
                model,
                pipeline,
                params=params,
                inputs=inputs,
                entry=entry,
                shapes=shapes,
                spec=spec,
            )
        make_checks(case_run, prepare)
        return Run(case_run)

    def _open(self, name: str | None, model: Any, passes: Any, **source: Any) -> CaseRun:
        name = self._name(name)
        origin, options = self.item_state.origin, self.item_state.options
        label = label_of(name, options.target.name, prepack=options.prepack, params=origin.params)
        assert self.run_context is not None
        logs = logs_of(self.run_context.store, label, origin.nodeid)
        try:
            run = self._start(name, label, model, passes, logs, **source)
        except TvmTuneError as error:
            sidecar = self.item_state.origin.sidecar
            finding = f"{label}: {error}"
            dynamic = getattr(error, "dynamic", ())
            if any(one.unset or not one.sizes for one in dynamic):
                finding += f"\n{shapes_sentence(dynamic, sidecar)}"
            elif isinstance(error, GivenError) and sidecar:
                finding += (
                    f"\n  to set the shapes and inputs of a model file, use [shapes] and [inputs] "
                    f"in {sidecar}"
                )
            failed = CaseResult(
                name=name,
                nodeid=origin.nodeid,
                entry=source["entry"] or "",
                target_name=options.target.name,
                target=options.target.given,
                prepack=options.prepack,
                params=origin.params,
                dims=sizes_by_name(dynamic),
                tuning_trials=options.trials,
                logs=logs.written(),
                findings=[finding],
                failure=failure_of(error),
            )
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
                    "a second call of tvm_tune in a test needs another name: "
                    'tvm_tune(..., name="decoder")',
                    pytrace=False,
                )
            return self.item_state.origin.name
        if name in taken:
            pytest.fail(
                f"tvm_tune: this test has a case named {name!r} already; give another name",
                pytrace=False,
            )
        return name

    def _forget_failed(self, name: str) -> None:
        """Remove an earlier run of this name that failed, because hypothesis repeats tests."""
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
        passes: Any,
        logs: CaseLogs,
        **source: Any,
    ) -> CaseRun:
        run_context = self.run_context
        assert run_context is not None, "marked tests are checked when they are collected"
        options = self.item_state.options
        opening = under_way(run_context.on_progress, label, "opening the model")
        with errors_logged(lambda: logs.path("import")), opening:
            opened = open_model(model, name=name, seed=options.seed, dims=options.dims, **source)
        check_registrations(run_context.store, opened.mod if passes is None else None)
        if options.prepack and (opened.is_ready or passes is not None):
            pytest.skip(
                "prepack belongs to the stock pipeline, and this model doesn't go through it"
            )
        with errors_logged(lambda: logs.path("pipeline")):
            case = open_case(
                opened,
                options,
                run_context,
                name=name,
                nodeid=self.item_state.origin.nodeid,
                params=self.item_state.origin.params,
                pipeline=passes,
            )
        origin = self.item_state.origin
        identity = Identity(
            path=origin.identity_path,
            cls=origin.cls,
            function=origin.function,
            params=origin.params,
            name=name,
            entry=case.model.signature.entry,
            target_name=options.target.name,
            prepack=options.prepack,
        )
        dims_doubt = unset_sentence(opened.dynamic, origin.sidecar)
        doubts = (other_model(self.item, identity.file_name, case.model.mod_hash), dims_doubt)
        return begin(
            case,
            identity=identity,
            run_options=self.run_options,
            golden_folder=origin.path.parent / FOLDER,
            show_warning=_show_warning,
            doubts=tuple(filter(None, doubts)),
            dims_doubt=dims_doubt,
            decisions=self.item_state.decisions,
        )


def _show_warning(message: str) -> None:
    warnings.warn(TvmTuneWarning(message), stacklevel=2)


def tvm_tune_of(item: pytest.Item, item_state: ItemState) -> TvmTune:
    """Return the callable that runs the models of an item."""
    state = item.config.stash[STATE]
    return TvmTune(
        item=item, item_state=item_state, run_options=state.run, run_context=state.run_context
    )

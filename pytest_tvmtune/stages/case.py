"""A case: one model on one target, with everything its stages need."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_tvmtune.core.clock import now_s
from pytest_tvmtune.core.results.case_result import CaseResult
from pytest_tvmtune.core.results.progress import StageProgress, TuningProgress
from pytest_tvmtune.core.settings.dimension_sizes import sizes_by_name
from pytest_tvmtune.core.settings.options import CaseOptions
from pytest_tvmtune.machine.fingerprint import installed_version
from pytest_tvmtune.relax.compiling.compile_job import PIPELINE
from pytest_tvmtune.relax.installation.toolchain_identity import setup_identity, toolchain_identity
from pytest_tvmtune.store.layout import Store, slug
from pytest_tvmtune.store.tuning.records import target_key

if TYPE_CHECKING:
    from tvm.target import Target

    from pytest_tvmtune.relax.model import Model


Observer = Callable[[TuningProgress | StageProgress], None]


@dataclass(frozen=True, kw_only=True)
class RunContext:
    """What all cases of one run share.

    on_progress: is called with how a case goes on, from any thread. started_s: when the session
    began, in seconds since 1970, the same on every xdist worker; what was tuned since then,
    `refresh` needn't tune.
    gated_items: how many of the session's test items may gate, the same on every worker.
    """

    store: Store
    on_progress: Observer | None = None
    started_s: float = field(default_factory=now_s)
    gated_items: int = 1


@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """One model on one target, on its way through the stages; `result` is filled in."""

    model: Model
    options: CaseOptions
    target: Target
    target_json: str
    num_threads: int
    run_context: RunContext
    result: CaseResult

    @property
    def store(self) -> Store:
        """The store of this run."""
        return self.run_context.store

    @property
    def label(self) -> str:
        """The name in messages: `mlp[llvm-prepack]`."""
        return self.result.label

    def log_path(self, stage: str) -> Path:
        """Return where children of this stage print to; reports link to it from then on."""
        path = log_path(self.store, self.label, self.result.nodeid, stage)
        self.result.logs[stage] = str(path)
        return path


def log_path(store: Store, label: str, nodeid: str, stage: str) -> Path:
    """Return where the log of a stage is, of the case that messages call `label`."""
    # Tests of two files may have one name.
    digest = hashlib.sha256(os.fsencode(nodeid)).hexdigest()[:6]
    return store.logs / f"{slug(label)}-{digest}-{stage}.log"


def open_case(
    model: Model,
    options: CaseOptions,
    run_context: RunContext,
    *,
    name: str,
    nodeid: str,
    params: str = "",
    pipeline: Any = None,
) -> Case:
    """Return a case that has not begun.

    params: the user's own parametrization ids. pipeline: the user's own passes, instead of tuning
    and the stock pipeline.
    Raises OptionError for a target TVM doesn't know, ModelError when the pipeline fails.
    """
    from pytest_tvmtune.relax.compiling.user_pipeline import apply_user_pipeline
    from pytest_tvmtune.relax.devices.targets import canonical, num_cores, resolve_target
    from pytest_tvmtune.relax.model import with_shared_params

    target = resolve_target(options.target)
    model = with_shared_params(model, run_context.store.scratch)
    if pipeline is not None:
        model = apply_user_pipeline(model, pipeline, target)
    target_json = canonical(target)
    return Case(
        model=model,
        options=options,
        target=target,
        target_json=target_json,
        num_threads=options.num_threads or num_cores(target),
        run_context=run_context,
        result=CaseResult(
            name=name,
            nodeid=nodeid,
            entry=model.signature.entry,
            target_name=options.target.name,
            target=target_json,
            prepack=options.prepack,
            params=params,
            dims=sizes_by_name(model.dynamic),
            tuning_trials=0 if model.is_ready else options.trials,
        ),
    )


def module_parts(case: Case, *, prepack: bool) -> dict[str, Any]:
    """Return what a prepared or compiled module depends on, records aside."""
    return {
        "module": case.model.mod_hash,
        "target": tuning_key(case),
        "prepack": prepack,
        **toolchain_parts(case),
        # What the user's own pipeline did is in the module's hash.
        "pipeline": "" if case.model.is_ready else PIPELINE,
    }


def toolchain_parts(case: Case) -> dict[str, Any]:
    """Return what of the installation compiling and running depends on, by content."""
    return {
        "toolchain": toolchain_identity(case.store),
        "setup": setup_identity(case.store),
    }


def tuning_key(case: Case) -> str:
    """Return the store's folder for this case's target: canonical, without num-cores."""
    return target_key(case.target_json, installed_version("apache-tvm"))

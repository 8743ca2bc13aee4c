"""TVM's stock tuning pipeline with another tuner in front of it."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_tvmtune.core.errors import TvmTuneError
from pytest_tvmtune.core.tensors.signature import Signature
from pytest_tvmtune.relax import compat
from pytest_tvmtune.relax.compiling.prepared_module import extract, prepare
from pytest_tvmtune.relax.model import Model
from pytest_tvmtune.relax.tuning.intrinsics import import_intrinsics_of_records

if TYPE_CHECKING:
    from tvm.ir import IRModule
    from tvm.target import Target
    from tvm.transform import ModulePass


def stock_pipeline(target: Target, work_dir: Path, *, prepack: bool) -> ModulePass:
    """Return TVM's pipeline, which applies the records in a work_dir and tunes nothing."""
    from tvm import relax

    return relax.pipeline.static_shape_tuning_pipeline(
        total_trials=0, target=target, work_dir=str(work_dir), cpu_weight_prepack=prepack
    )


def tuning_pass(
    tune: Callable[[IRModule, Path], Collection[str]], *, target: Target, prepack: bool
) -> ModulePass:
    """Return a pass that tunes a module, and then applies the stock pipeline.

    Args:
        tune: Writes a work_dir with the records to apply to a module, and returns the hashes of
            their workloads.
        target: Of the pipeline.
        prepack: As `cpu_weight_prepack`.
    """
    import tvm_ffi

    tvm_ffi.register_error(TvmTuneError)

    @compat.module_pass(opt_level=0)  # type: ignore[untyped-decorator]
    def _pipeline(mod: IRModule, _context: Any) -> IRModule:
        with tempfile.TemporaryDirectory(prefix="tvmtune-") as folder:
            applied = Path(folder)
            try:
                tuned = tune(mod, applied)
            except TvmTuneError as error:
                # TVM passes on the type and the message, and types only if they are registered.
                raise TvmTuneError(str(error)) from error
            import_intrinsics_of_records(applied, str(target.kind.name))
            lowered = stock_pipeline(target, applied, prepack=prepack)(mod)
        own = {task.shash for task, _ in extract(prepare(mod, target, prepack=prepack), target)}
        if not own.issuperset(tuned):
            warnings.warn(
                "some tuning records were not applied, because the tasks are others in the child "
                "processes that tune; they lack the operators and passes that this script "
                "registers",
                stacklevel=2,
            )
        return lowered

    return _pipeline


def model_to_tune(mod: IRModule) -> Model:
    """Return a module as a model that is only tuned, and never called."""
    signature = Signature(entry="", inputs=(), params=(), lifts_params=False)
    return Model(mod=mod, name="module", signature=signature, params=(), inputs=())

"""A model after the user's own passes, which replace the stock tuning pipeline."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pytest_tvmtune.core.error_text import typed_cause_of
from pytest_tvmtune.core.errors import ModelError
from pytest_tvmtune.relax import compat
from pytest_tvmtune.relax.model import Model, entry_names

if TYPE_CHECKING:
    from tvm.target import Target


def apply_user_pipeline(model: Model, pipeline: Any, target: Target) -> Model:
    """Return the model as `pipeline` leaves it under `target`; `original` is the model before it.

    pipeline: a tvm.transform.Pass (Sequential) or any function from IRModule to IRModule. It runs
    in this process; its result is compiled by tvm.compile, whose default pipeline lowers the rest.
    Raises ModelError when it isn't callable, fails, or loses the entry.
    """
    if model.is_ready or model.mod is None:
        raise ModelError("pipeline=... is only for models that are not compiled yet")
    if not callable(pipeline):
        raise ModelError(
            f"pipeline is a {type(pipeline).__name__}; give a tvm.transform.Pass, or a function "
            "from IRModule to IRModule"
        )
    try:
        with target:
            # A copy, since a function may change what it is given.
            mod = pipeline(model.mod.clone())
    except Exception as error:  # the user's own code, which may raise anything
        raise ModelError(f"the pipeline failed: {typed_cause_of(error)}") from error
    if not isinstance(mod, compat.IRModule):
        raise ModelError(f"the pipeline returned a {type(mod).__name__}, not an IRModule")
    entry = model.signature.entry
    if entry not in (names := entry_names(mod)):
        raise ModelError(
            f"the pipeline removed the entry {entry!r}; the module has {', '.join(names) or 'none'}"
        )
    return replace(model, mod=mod, original=model)

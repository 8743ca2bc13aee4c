"""A Model from a `tvm.relax.frontend.nn.Module`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pytest_tvmtune.core.error_text import cause_of
from pytest_tvmtune.core.errors import ModelError
from pytest_tvmtune.relax.model import Params

if TYPE_CHECKING:
    from tvm.ir import IRModule


def export_nn_module(module: Any, spec: Mapping[str, Any] | None) -> tuple[IRModule, Params]:
    """Return the exported module, and its parameters where all have data.

    spec: {"forward": {"x": nn.spec.Tensor((1, 784), "float32")}}, as `export_tvm` takes it.
    Without data in all parameters they are None: made up from the seed.
    Raises ModelError without a spec, and when the export fails.
    """
    if spec is None:
        raise ModelError(
            "an nn.Module needs its export spec; give "
            'spec={"forward": {"x": nn.spec.Tensor((1, 784), "float32")}}'
        )
    try:
        mod, named = module.export_tvm(spec=dict(spec))
    except Exception as error:
        raise ModelError(f"export_tvm failed: {cause_of(error)}") from error
    if all(parameter.data is not None for _, parameter in named):
        return mod, [(name, parameter.data) for name, parameter in named]
    return mod, None

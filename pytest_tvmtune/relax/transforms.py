"""Whether the parameters that a prepacked kernel got are what they should be."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pytest_tvmtune.core.arrays import compare_arrays
from pytest_tvmtune.core.kernels import WEIGHT_PREPACK, task_name
from pytest_tvmtune.core.signature import Array
from pytest_tvmtune.relax.kernels import read_kernel
from pytest_tvmtune.relax.reproducer import Captured
from pytest_tvmtune.relax.watching import Watched


def wrong_transform(now: Watched, want: Captured, got: Captured, kernels: Path, target: str) -> str:
    """Return what is wrong with the first parameter that isn't what it should be, "" when all are.

    now: the build, with its transformed parameters. want, got: the call of a kernel in a build
    that transforms nothing, and in this one. kernels: this build's IR, target: JSON.
    """
    if len(want.arguments) != len(got.arguments):
        return ""
    pointers = [int(param.data_ptr()) for param in now.session.params]
    expected = _expected(want, got, kernels, target)
    for index, value in expected.items():
        if got.pointers[index] not in pointers or _same(got.arguments[index], value):
            continue
        position = pointers.index(got.pointers[index])
        entry = f"{now.session.entry}_transform_params"
        return f"parameter {position} of what {entry} returns {_what(now, position, value)}"
    return ""


def _expected(want: Captured, got: Captured, kernels: Path, target: str) -> dict[int, Array]:
    """Return what the kernel's arguments should be, by position; of those that can be told.

    What keeps its shape is the other build's; a new layout is made of that by the build's own
    layout kernel.
    """
    expected = {
        index: value
        for index, value in enumerate(want.arguments)
        if index not in want.outputs and value.shape == got.arguments[index].shape
    }
    relaid = [
        index
        for index, value in enumerate(want.arguments)
        if index not in want.outputs and index not in expected
    ]
    if relaid:
        made = _relay(task_name(got.kernel), [want.arguments[i] for i in relaid], kernels, target)
        expected |= dict(zip(relaid, made, strict=False))
    return expected


def _relay(name: str, weights: Sequence[Array], kernels: Path, target: str) -> list[Array]:
    """Run the layout kernel of a prepacked one on weights in their old layouts."""
    import tvm

    try:
        function = read_kernel(kernels, f"{name}{WEIGHT_PREPACK}")
    except (OSError, KeyError):
        return []
    params = list(function.params)
    shapes = [tuple(int(size) for size in param.shape) for param in params]
    if shapes[: len(weights)] != [weight.shape for weight in weights]:
        return []
    mod = tvm.IRModule({"main": function.with_attr("global_symbol", "main")})
    library = tvm.compile(mod, tvm.target.Target(target))
    outputs = [
        tvm.runtime.empty(shape, str(param.dtype))
        for shape, param in zip(shapes[len(weights) :], params[len(weights) :], strict=True)
    ]
    library["main"](*(tvm.runtime.tensor(weight) for weight in weights), *outputs)
    return [output.numpy() for output in outputs]


def _same(value: Array, expected: Array) -> bool:
    return value.shape == expected.shape and compare_arrays("", value, expected).passed


def _what(now: Watched, position: int, expected: Array) -> str:
    """Say what stands where `expected` should."""
    params = [param.numpy() for param in now.session.params]
    for other, param in enumerate(params):
        if other != position and _same(param, expected):
            return f"belongs elsewhere: what should be there is parameter {other}"
    stands = params[position]
    for original in now.originals:
        if _same(stands, original):
            return "was left as it is: it should have been given another layout"
    return f"has wrong values: {compare_arrays('it', stands, expected).mismatches} of {stands.size}"

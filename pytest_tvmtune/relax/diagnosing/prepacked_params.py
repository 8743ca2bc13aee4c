"""Whether the parameters that a prepacked kernel got are correct."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pytest_tvmtune.core.comparing.array_comparison import compare_arrays
from pytest_tvmtune.core.comparing.kernel_outputs import kernel_tolerance
from pytest_tvmtune.core.comparing.tolerances import Tolerance
from pytest_tvmtune.core.kernels.matching import PREPACKED, WEIGHT_PREPACK, task_name
from pytest_tvmtune.core.tensors.signature import Array
from pytest_tvmtune.relax import compat
from pytest_tvmtune.relax.compiling.kernel_descriptions import by_itself, read_kernel
from pytest_tvmtune.relax.diagnosing.reproducer import CapturedKernel
from pytest_tvmtune.relax.measuring.kernel_instrument import InstrumentedSession

_LAYOUT_FAULT = (
    "the layout of its schedule loses elements, a fault of TVM's RewriteLayout; "
    "--tvm-tuning=refresh refuses such records"
)


def wrong_transform(
    now: InstrumentedSession,
    sides: tuple[CapturedKernel, CapturedKernel],
    kernels: Path,
    target: str,
    tolerance: Tolerance,
) -> str:
    """Return the fault of the first parameter that is wrong, "" when all are correct.

    now: the build, with its transformed parameters. sides: the call of a kernel in a build that
    transforms nothing, and in this build. kernels: this build's IR, target: JSON.
    """
    want, got = sides
    if len(want.arguments) != len(got.arguments):
        return ""
    pointers = [now.session.machine.address_of(param) for param in now.session.params]

    def describe(index: int, fault: str) -> str:
        position = pointers.index(got.pointers[index])
        return f"parameter {position} from {now.session.entry}_transform_params {fault}"

    if got.kernel.endswith(PREPACKED):
        for index, (before, after) in enumerate(zip(want.arguments, got.arguments, strict=True)):
            if got.pointers[index] in pointers and after.size < before.size:
                fault = f"has {after.size} of {before.size} elements: {_LAYOUT_FAULT}"
                return describe(index, fault)
    for index, value in _expected(want, got, kernels, target).items():
        if got.pointers[index] in pointers and not _same(got.arguments[index], value, tolerance):
            position = pointers.index(got.pointers[index])
            return describe(index, _fault(now, position, value, tolerance))
    return ""


def _expected(
    want: CapturedKernel, got: CapturedKernel, kernels: Path, target: str
) -> dict[int, Array]:
    """Return the expected arguments of the kernel, by position, where they can be determined.

    They are the other build's arguments. If the kernel has a layout kernel, its new weights are the
    layout kernel's outputs for the other build's weights.
    """
    same = {
        index: value
        for index, value in enumerate(want.arguments)
        if index not in want.only_written and value.shape == got.arguments[index].shape
    }
    if not got.kernel.endswith(PREPACKED):
        return same
    try:
        layout = read_kernel(kernels, f"{task_name(got.kernel)}{WEIGHT_PREPACK}")
        kernel = read_kernel(kernels, got.kernel)
    except (OSError, KeyError):
        return {}
    names = [str(buffer.name) for buffer in compat.buffers_of(kernel)]
    relaid = _relay(layout, names, want.arguments, target)
    # A new layout may have the old shape: without knowing which are relaid none can be judged.
    return same | relaid if relaid else {}


def _relay(
    layout: Any, names: Sequence[str], weights: Sequence[Array], target: str
) -> dict[int, Array]:
    """Run a layout kernel on weights in their old layouts; return them by position in `weights`.

    names: of the arguments of the kernel that takes the new layouts. The layout kernel takes old
    weights, then as many new weights, which have the same names, in a different order. Return
    nothing where the names don't identify the weights.
    """
    import tvm

    buffers = compat.buffers_of(layout)
    count = len(buffers) // 2
    new = [str(buffer.name) for buffer in buffers[count:]]
    if any(names.count(name) != 1 or new.count(name) != 1 for name in new):
        return {}
    positions = [names.index(name) for name in new]
    shapes = [tuple(int(size) for size in buffer.shape) for buffer in buffers]
    if shapes[:count] != [weights[position].shape for position in positions]:
        return {}
    mod = by_itself(layout)
    outputs = [
        tvm.runtime.empty(shape, str(buffer.dtype))
        for shape, buffer in zip(shapes[count:], buffers[count:], strict=True)
    ]
    tvm.compile(mod, compat.Target(target))["main"](
        *(tvm.runtime.tensor(weights[position]) for position in positions), *outputs
    )
    return {position: output.numpy() for position, output in zip(positions, outputs, strict=True)}


def _same(value: Array, expected: Array, tolerance: Tolerance) -> bool:
    if value.shape != expected.shape:
        return False
    return compare_arrays("", value, expected, kernel_tolerance(expected, tolerance)).passed


def _fault(now: InstrumentedSession, position: int, expected: Array, tolerance: Tolerance) -> str:
    """Return the difference of a parameter from `expected`, as the end of a sentence."""
    for other, param in enumerate(now.session.params):
        if other != position and _same(param.numpy(), expected, tolerance):
            return f"is at the wrong position: parameter {other} belongs there"
    stands = now.session.params[position].numpy()
    if any(_same(stands, original, tolerance) for original in now.originals):
        return "was not transformed"
    if stands.shape != expected.shape:
        return f"has shape {list(stands.shape)} instead of {list(expected.shape)}"
    wrong = compare_arrays("it", stands, expected, kernel_tolerance(expected, tolerance))
    return f"has wrong values ({wrong.mismatches} of {stands.size})"

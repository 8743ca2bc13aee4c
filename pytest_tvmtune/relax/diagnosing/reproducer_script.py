"""Shows that two kernels of a workload compute different values. Needs only tvm and numpy.

The folder has these files, too: reference.json and now.json, the IR of the kernels as it is
compiled; data.npz, the arguments and outputs of the kernels in the model; about.json. The exit code
is 1 if the kernels differ.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import tvm

HERE = Path(__file__).parent
ABOUT = json.loads((HERE / "about.json").read_text())
DATA = np.load(HERE / "data.npz")


def saved(name: str, dtype: str) -> Any:
    """Return an array; types that numpy lacks were saved as unsigned integers."""
    array = DATA[name]
    return array if str(array.dtype) == dtype else array.view(np.dtype(dtype))


def run(side: str) -> tuple[Any, Any]:
    """Compile a kernel, call it with the saved arguments; return its arguments and outputs."""
    about = ABOUT[side]
    library = tvm.compile(tvm.ir.load_json((HERE / f"{side}.json").read_text()), ABOUT["target"])
    arguments = [
        tvm.runtime.tensor(saved(one["saved"], one["dtype"]))
        if one["saved"]
        else tvm.runtime.tensor(np.zeros(one["shape"], np.dtype(one["dtype"])))
        for one in about["arguments"]
    ]
    given = [argument.numpy().copy() for argument in arguments]
    library["main"](*arguments)
    return given, [arguments[index].numpy() for index in about["outputs"]]


def wide(array: Any) -> Any:
    """Return an array in a type that holds its values: not all integers fit a double."""
    return np.atleast_1d(array).astype("longdouble" if array.dtype.kind in "iu" else "float64")


def difference(one: Any, other: Any) -> tuple[float, tuple[int, ...]]:
    """Return the largest absolute difference of two arrays, and where it is."""
    if not one.size:
        return 0.0, ()
    left, right = wide(one), wide(other)
    with np.errstate(invalid="ignore"):
        distance = np.abs(left - right)
    distance[np.isnan(distance)] = np.inf
    distance[(left == right) | (np.isnan(left) & np.isnan(right))] = 0
    index = np.unravel_index(np.argmax(distance), one.shape)
    return float(distance.max()), tuple(int(i) for i in index)


def main() -> bool:
    """Print how the two differ; return whether they do."""
    (args_reference, want), (args_now, got) = run("reference"), run("now")
    for index, (one, other) in enumerate(zip(args_reference, args_now, strict=False)):
        if one.shape == other.shape and ABOUT["now"]["arguments"][index]["saved"]:
            print(f"argument {index} differs by up to {difference(other, one)[0]:.3g}")
    wrong = False
    for number, (one, other) in enumerate(zip(want, got, strict=True)):
        worst, where = difference(other, one)
        rtol, atol = ABOUT["tolerances"][number]
        close = np.isclose(wide(other), wide(one), rtol, atol, equal_nan=True)
        wrong |= not close.all()
        print(
            f"output {number} of {ABOUT['now']['kernel']}: {(~close).sum()} of {close.size} values "
            f"differ from {ABOUT['reference']['kernel']}, by up to {worst:.3g} at {where}: "
            f"got {other[where]}, expected {one[where]}"
        )
    print("the kernels differ" if wrong else "the kernels agree")
    return wrong


if __name__ == "__main__":
    sys.exit(main())

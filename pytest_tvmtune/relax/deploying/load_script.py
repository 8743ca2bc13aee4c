"""Runs the model in this folder. Needs only tvm and numpy: python load.py [INPUT.npy ...].

Without files, the inputs are zeros. With files, the outputs are saved as output_0.npy, ... in the
current folder.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np


def load(folder: Any, params: Any = None) -> Any:
    """Return a function that takes the inputs as arrays, in order, and returns the outputs.

    params: only for a folder without params.npz: the model's parameters as arrays, in the order of
    `original_params` in manifest.json.
    """
    folder = Path(folder)
    about = json.loads((folder / "manifest.json").read_text())
    # The threads that the model was tested with; TVM's own default is one for each physical core.
    os.environ.setdefault("TVM_NUM_THREADS", str(about["num_threads"]))
    import tvm
    import tvm_ffi
    from tvm import relax

    device, entry = tvm.runtime.device(about["device"], 0), about["entry"]
    vm = relax.VirtualMachine(tvm.runtime.load_module(str(folder / "model.so")), device)

    def placed(arrays: Any) -> Any:
        return [tvm.runtime.tensor(np.asarray(one, order="C"), device) for one in arrays]

    if params is None:
        with np.load(folder / "params.npz") as saved:
            # Types that numpy lacks were saved as unsigned integers. One after the other: all of
            # them together can take GBs.
            specs = enumerate(about["params"])
            ready = placed(saved[f"arr_{index}"].view(spec["dtype"]) for index, spec in specs)
    else:
        ready = placed(params)
        if about["transforms"]:
            ready = list(vm[f"{entry}_transform_params"](ready))

    def plain(output: Any) -> Any:
        if isinstance(output, tvm_ffi.Shape):
            return np.array(output, "int64")
        if hasattr(output, "numpy"):
            return output.numpy()
        is_number = isinstance(output, (bool, int, float))
        return np.array(output) if is_number else tuple(map(plain, output))

    return lambda *inputs: plain(vm[entry](*placed(inputs), *ready))


def leaves(outputs: Any) -> Any:
    """Return the arrays in nested outputs, in order."""
    nested = isinstance(outputs, tuple)
    return [one for inner in outputs for one in leaves(inner)] if nested else [outputs]


def main(*paths: str) -> None:
    """Call the model once, and print the shapes of its outputs."""
    import ml_dtypes  # noqa: F401  adds the names of the types that numpy lacks

    here = Path(__file__).parent
    about = json.loads((here / "manifest.json").read_text())

    def zeros(specs: Any) -> Any:
        return [np.zeros(spec["shape"], spec["dtype"]) for spec in specs]

    params = None if (here / "params.npz").exists() else zeros(about["original_params"])
    if params:
        print("this folder has no parameters, so they are zeros; call load(folder, params)")
    if paths:
        named = zip(map(np.load, paths), about["inputs"], strict=True)
        inputs = [one.view(spec["dtype"]) if one.dtype.kind == "V" else one for one, spec in named]
    else:
        inputs = zeros(about["inputs"])
    for number, output in enumerate(leaves(load(here, params)(*inputs))):
        print(f"output_{number}: {output.dtype}{list(output.shape)}")
        if paths:
            np.save(f"output_{number}.npy", output)


if __name__ == "__main__":
    main(*sys.argv[1:])

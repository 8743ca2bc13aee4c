"""A folder that shows a fault with tvm and numpy alone: what one attaches to a bug report."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pytest_tvmtune.core.dtypes import to_plain
from pytest_tvmtune.core.outputs import OutputError
from pytest_tvmtune.core.signature import Array
from pytest_tvmtune.core.tolerances import Tolerance
from pytest_tvmtune.relax.kernels import read_kernel

SCRIPT = "repro.py"


@dataclass(frozen=True, kw_only=True, eq=False)
class Captured:
    """A kernel's call.

    arguments: all of them, before it ran, at `pointers`. outputs: which of them it writes; written:
    what it wrote.
    """

    kernel: str
    arguments: list[Array]
    pointers: list[int]
    outputs: tuple[int, ...]
    written: list[Array]


def write_reproducer(
    request: dict[str, Any],
    sides: tuple[Captured, Captured],
    output: OutputError,
    tolerance: Tolerance,
) -> None:
    """Write the folder `request["reproducer"]`, in place of one that is there."""
    import tvm

    folder = Path(request["reproducer"])
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    rtol, atol, _ = tolerance.settled(output.dtype)
    about: dict[str, Any] = {"target": json.loads(request["target"]), "rtol": rtol, "atol": atol}
    data: dict[str, Any] = {}
    for side, taken in zip(("reference", "now"), sides, strict=True):
        function = read_kernel(Path(request[side]["kernels"]), taken.kernel)
        mod = tvm.IRModule({"main": function.with_attr("global_symbol", "main")})
        (folder / f"{side}.json").write_text(str(tvm.ir.save_json(mod)))
        (folder / f"{side}.txt").write_text(function.script())
        arguments = []
        for index, value in enumerate(taken.arguments):
            # What is only written holds leftovers until then.
            name = "" if _only_written(index, taken, function) else f"{side}_{index}"
            if name:
                data[name] = to_plain(value)
            arguments.append({"saved": name, "shape": value.shape, "dtype": value.dtype.name})
        for number, value in enumerate(taken.written):
            data[f"{side}_output_{number}"] = to_plain(value)
        about[side] = {"kernel": taken.kernel, "outputs": taken.outputs, "arguments": arguments}
    (folder / "about.json").write_text(json.dumps(about, indent=1))
    np.savez_compressed(folder / "data.npz", **data)
    shutil.copyfile(Path(__file__).with_name(SCRIPT), folder / SCRIPT)


def _only_written(index: int, taken: Captured, function: Any) -> bool:
    # Outputs in destination passing stand last; what is written in place stands among the inputs.
    first = len(function.params) - len(taken.outputs)
    return index in taken.outputs and index >= first

"""A folder that shows a fault with tvm and numpy alone: what one attaches to a bug report."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pytest_tvmtune.core.comparing.kernel_outputs import kernel_tolerance
from pytest_tvmtune.core.comparing.tolerances import Tolerance
from pytest_tvmtune.core.tensors.dtypes import to_plain
from pytest_tvmtune.core.tensors.signature import Array
from pytest_tvmtune.relax import compat
from pytest_tvmtune.relax.compiling.kernel_descriptions import by_itself, read_kernel

# What its users call it, and what it is here.
SCRIPT = "repro.py"
_SOURCE = Path(__file__).with_name("reproducer_script.py")


@dataclass(frozen=True, kw_only=True, eq=False)
class CapturedKernel:
    """A kernel's call.

    arguments: all of them, before it ran, at `pointers`. outputs: which of them it writes,
    only_written: without reading them; written: what it wrote.
    """

    kernel: str
    arguments: list[Array]
    pointers: list[int]
    outputs: tuple[int, ...]
    only_written: frozenset[int]
    written: list[Array]


def write_reproducer(
    sides: tuple[CapturedKernel, CapturedKernel],
    kernels: tuple[Path, Path],
    target: str,
    tolerance: Tolerance,
    scratch: Path,
) -> Path:
    """Write a folder that shows how a kernel differs from its counterpart.

    Args:
        sides: The counterpart's call, and the kernel's.
        kernels: The files with the IR of both builds' kernels.
        target: In JSON.
        tolerance: Beyond which they differ.
        scratch: Where the folder is made.

    Returns:
        The folder.

    Raises:
        OSError: There is no room, or no IR.
        KeyError: The IR has no such kernel.

    """
    folder = scratch / "written-reproducer"
    folder.mkdir()
    allowed = [kernel_tolerance(value, tolerance) for value in sides[0].written]
    about: dict[str, Any] = {
        "target": json.loads(target),
        "tolerances": [(one.rtol, one.atol) for one in allowed],
    }
    data: dict[str, Any] = {}
    for side, taken, path in zip(("reference", "now"), sides, kernels, strict=True):
        function = read_kernel(path, taken.kernel)
        mod = by_itself(function)
        (folder / f"{side}.json").write_text(str(compat.save_json(mod)))
        (folder / f"{side}.txt").write_text(function.script())
        arguments = []
        for index, value in enumerate(taken.arguments):
            # What is only written holds leftovers until then.
            name = "" if index in taken.only_written else f"{side}_{index}"
            if name:
                data[name] = to_plain(value)
            arguments.append({"saved": name, "shape": value.shape, "dtype": value.dtype.name})
        for number, value in enumerate(taken.written):
            data[f"{side}_output_{number}"] = to_plain(value)
        about[side] = {"kernel": taken.kernel, "outputs": taken.outputs, "arguments": arguments}
    (folder / "about.json").write_text(json.dumps(about, indent=1))
    np.savez_compressed(folder / "data.npz", **data)
    shutil.copyfile(_SOURCE, folder / SCRIPT)
    return folder

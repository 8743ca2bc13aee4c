"""Arguments and output that `tvmtune tune` and `tvmtune export` share."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pytest_tvmtune.cli.arguments import parsed_by, print_json
from pytest_tvmtune.core.errors import counted
from pytest_tvmtune.core.json_codec import to_json_values
from pytest_tvmtune.core.settings.dimension_sizes import parse_dims
from pytest_tvmtune.core.tensors.signature import TensorSpec
from pytest_tvmtune.report.text_tables import format_bytes, format_seconds
from pytest_tvmtune.store.artifacts import LIBRARY
from pytest_tvmtune.store.exported_folders import PARAMS, SCRIPT, ExportManifest

_SUFFIXES = (".onnx", ".pt2", ".tflite")
_MOST_TENSORS = 4


def model_file(text: str) -> Path:
    """Return the path of a model file; argparse's `type`."""
    path = Path(text)
    if path.suffix == ".so":
        raise argparse.ArgumentTypeError(
            f"{text!r} is a compiled library, which can't be tuned and has no parameters; give "
            f"the model that it was compiled from ({', '.join(_SUFFIXES)})"
        )
    if path.suffix not in _SUFFIXES:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a model file; give a file that ends with {', '.join(_SUFFIXES)}"
        )
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"no such model file: {text!r}")
    return path


class _AddDims(argparse.Action):
    """Collects the sizes of all `--dim`."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,  # noqa: ARG002  argparse's own signature
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,  # noqa: ARG002
    ) -> None:
        """Add the sizes of an option to those before it."""
        setattr(namespace, self.dest, {**getattr(namespace, self.dest), **values})


def add_dims(parser: argparse.ArgumentParser) -> None:
    """Add --dim."""
    parser.add_argument(
        "--dim",
        metavar="NAME=SIZE",
        dest="dims",
        action=_AddDims,
        default={},
        type=parsed_by(parse_dims),
        help="the size of a dynamic dimension; it takes precedence over the sidecar, and can be "
        "given several times",
    )


def add_force(parser: argparse.ArgumentParser) -> None:
    """Add --force."""
    parser.add_argument(
        "--force",
        action="store_true",
        help="replace a folder that isn't an earlier export, with all of its files",
    )


def print_warning(text: str) -> None:
    """Print a warning to stderr."""
    print(f"tvmtune: warning: {text}", file=sys.stderr)


def print_export(folder: Path, manifest: ExportManifest, *, as_json: bool) -> None:
    """Print what was exported: a line for each fact, or the manifest."""
    if as_json:
        print_json(to_json_values(manifest))
        return
    tuned = [task for task in manifest.tasks if task.best_s is not None]
    tasks = f"{len(tuned)} of {counted(len(manifest.tasks), 'task')} with a record"
    if tuned:
        slowest = max(tuned, key=lambda task: task.calls * (task.best_s or 0.0))
        tasks += f"; the longest: {slowest.name}, {format_seconds(slowest.best_s or 0.0)} a call"
    spent = counted(manifest.trials, "trial")
    if seconds := manifest.seconds.get("tuning"):
        spent += f" in {format_seconds(seconds)}"
    library = format_bytes((folder / LIBRARY).stat().st_size)
    params = "none; give them to load(folder, params)"
    if PARAMS in manifest.files:
        size = format_bytes((folder / PARAMS).stat().st_size)
        params = f"{counted(len(manifest.params), 'array')} in {PARAMS} ({size})"
    prepack = "on" if manifest.prepack else "off"
    compared = manifest.inputs and manifest.outputs
    checked = "returns the same outputs as here" if compared else "runs"
    print(
        f"library     {LIBRARY} ({library}), sha256 {manifest.files[LIBRARY]}\n"
        f"entry       {manifest.entry}: {_listed(manifest.inputs)} -> "
        f"{_listed(manifest.outputs) or 'not known'}\n"
        f"target      {json.dumps(manifest.target, sort_keys=True)}, "
        f"{counted(manifest.num_threads, 'thread')}, prepack {prepack}\n"
        f"TVM         {manifest.tvm}, tvm-ffi {manifest.tvm_ffi}\n"
        f"tuning      {tasks}; {spent} now\n"
        f"parameters  {params}\n"
        f"checked     {SCRIPT} {checked}, in a new process\n"
        f"exported to {folder}"
    )


def _listed(specs: Sequence[TensorSpec]) -> str:
    more = len(specs) - _MOST_TENSORS
    shown = ", ".join(map(str, specs[:_MOST_TENSORS]))
    return f"{shown} and {more} more" if more > 0 else shown

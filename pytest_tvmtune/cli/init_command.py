"""`tvmtune init`: write sidecars for ONNX files with dynamic dimensions."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pytest_tvmtune.cli.arguments import add_json, print_json
from pytest_tvmtune.core.errors import ModelError
from pytest_tvmtune.core.settings.dimension_sizes import DynamicInput, toml_of
from pytest_tvmtune.core.settings.model_file_patterns import SUFFIX, sidecar_path

_HEAD = """\
# Options of pytest-tvmtune for {name}, written by `tvmtune init`.
# Each dynamic dimension is 1 here. Set the sizes with which you use the model.
"""


def add_parser(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "init",
        parents=[common],
        help="write a sidecar next to each ONNX file with dynamic dimensions and no sidecar",
    )
    parser.add_argument(
        "paths",
        metavar="MODELS",
        nargs="+",
        type=_existing,
        help="ONNX files, or folders to search at any depth",
    )
    parser.add_argument("--dry-run", action="store_true", help="only print what would be written")
    add_json(parser)
    parser.set_defaults(run=_init)


def _existing(text: str) -> Path:
    path = Path(text)
    if path.is_dir() or (path.is_file() and path.suffix == SUFFIX):
        return path
    raise argparse.ArgumentTypeError(f"{text!r} is neither a folder nor an {SUFFIX} file")


def _init(options: argparse.Namespace) -> int:
    files = list(dict.fromkeys(file for path in options.paths for file in _onnx_files(path)))
    rows = []
    for file in files:
        state, text = _handle(file, dry_run=options.dry_run)
        rows.append({"path": str(file), "state": state, "text": text})
        if not options.json:
            print(f"{file}: {text}")
    if options.json:
        print_json({"dry_run": options.dry_run, "files": rows})
    elif not files:
        print(f"no {SUFFIX} file in {', '.join(map(str, options.paths))}")
    return 0 if files and all(row["state"] != "problem" for row in rows) else 1


def _onnx_files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
        return
    for root, folders, names in os.walk(path):
        # pytest collects nothing there.
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and not Path(root, name, "pyvenv.cfg").exists()
        )
        yield from (Path(root, name) for name in sorted(names) if name.endswith(SUFFIX))


def _handle(file: Path, *, dry_run: bool) -> tuple[str, str]:
    """Write a file's sidecar, if it needs one. Return the result: state and text."""
    from pytest_tvmtune.relax.importing.onnx.static_shapes import dynamic_inputs_of_file

    path = sidecar_path(file)
    if path.exists():
        return "left", f"unchanged, because {path.name} exists"
    try:
        found = dynamic_inputs_of_file(file)
        if not found:
            return "left", "unchanged, because its shapes are static"
        if not dry_run:
            # "x" never overwrites a file.
            with path.open("x", encoding="utf-8") as sidecar:
                sidecar.write(_text(file, found))
    except ModelError as error:
        return "problem", str(error).removeprefix(f"{file}: ")
    except OSError as error:
        return "problem", f"{path.name} can't be written: {error.strerror or error}"
    done = "would write" if dry_run else "wrote"
    return "written", f"{done} {path.name}, for {', '.join(map(str, found))}"


def _text(file: Path, found: Sequence[DynamicInput]) -> str:
    inputs = "".join(f"#   {' '.join(str(one).split())}\n" for one in found)
    return f"{_HEAD.format(name=file.name)}# Its dynamic inputs:\n{inputs}\n{toml_of(found)}\n"

"""A TVM that no wheel owns, as a checkout on PYTHONPATH: links to the installed one, and edits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path

Edits = Mapping[str, Callable[[bytes], bytes]]


def edited_tvm(folder: Path, edits: Edits) -> Path:
    """Make a package `tvm` in a folder, for PYTHONPATH; return the folder.

    edits: path in the package -> what becomes of the file's content.
    """
    spec = find_spec("tvm")
    assert spec is not None
    assert spec.origin is not None
    _link(Path(spec.origin).parent, folder / "tvm", edits)
    return folder


def _link(source: Path, made: Path, edits: Edits) -> None:
    made.mkdir()
    for entry in source.iterdir():
        name, copy = entry.name, made / entry.name
        below = {
            path.removeprefix(f"{name}/"): edit
            for path, edit in edits.items()
            if path.startswith(f"{name}/")
        }
        if name in edits:
            copy.write_bytes(edits[name](entry.read_bytes()))
        elif below:
            _link(entry, copy, below)
        elif name != "__pycache__":
            copy.symlink_to(entry)

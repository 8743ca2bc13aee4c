"""Make docs/pictures/terminal.svg: what pytest prints of a real run with failing tests, as an SVG.

Usage: python docs/pictures/terminal.py

Runs the untuned tests of the suite next to this file before and after its changes. Needs rich.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

HERE = Path(__file__).parent
COLUMNS = 118
COMMAND = (
    "pytest", "--quiet", "--no-header", "--color=yes", "--disable-warnings", "-p", "no:benchmark",
    "-k", "not embedder",
)  # fmt: skip


def run_suite(folder: Path) -> str:
    """Return what the second of two runs prints, with its escape sequences."""
    shutil.copy(HERE / "test_models.py", folder)
    (folder / "pytest.ini").write_text("[pytest]\n")
    printed = ""
    for after, options in (("0", ["--tvm-update-new"]), ("1", [])):
        done = subprocess.run(
            [sys.executable, "-m", *COMMAND, *options],
            cwd=folder,
            env={**os.environ, "AFTER": after, "COLUMNS": str(COLUMNS)},
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        printed = done.stdout
        if done.returncode != int(after):
            raise SystemExit(f"the run with AFTER={after} exits with {done.returncode}:\n{printed}")
    return printed


def svg_of(printed: str) -> str:
    """Return an SVG that loads nothing; the reader has a monospaced font."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(printed))
    svg = console.export_svg(title="pytest", theme=MONOKAI, unique_id="terminal")
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    return "\n".join(line.rstrip() for line in svg.splitlines()) + "\n"


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="tvmtune-pictures-") as name:
        printed = run_suite(Path(name)).replace(name, "models")
    (HERE / "terminal.svg").write_text(svg_of(printed), encoding="utf-8")


if __name__ == "__main__":
    main()

"""Other environments: virtual ones that have this one's packages, and files of their own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.support import ROOT


def make_environment(
    place: Path, files: Mapping[str, str] | None = None, *, has_packages: bool = True
) -> Path:
    """Return the interpreter of a new environment.

    files: by their names in its site-packages, which come first. has_packages: whether it has the
    packages of this environment, TVM among them.
    """
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True)
    (own,) = place.glob("lib/python*/site-packages")
    if has_packages:
        theirs = [path for path in sys.path if path.endswith("site-packages")]
        (own / "others.pth").write_text("\n".join([*theirs, str(ROOT)]))
    for name, text in (files or {}).items():
        (own / name).parent.mkdir(parents=True, exist_ok=True)
        (own / name).write_text(text)
    return place / "bin" / "python"

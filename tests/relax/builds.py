"""Build functions for the tests of the forking builder, importable in a candidate's process."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from pytest_tvmtune.relax.tuning.candidates.candidate_builder import build_library


def by_kind_of_function(mod_text: str, target_text: str, library: Path, compiler: str) -> None:
    """Crash, hang, raise or eat memory for modules that ask for it; build the others."""
    if "crash_here" in mod_text:
        os.kill(os.getpid(), signal.SIGSEGV)
    if "hang_here" in mod_text:
        time.sleep(600)
    if "eat_here" in mod_text:
        eaten = [bytearray(1 << 26) for _ in range(1 << 10)]  # 64 GiB, piece by piece
        raise AssertionError(f"{len(eaten)} pieces eaten")
    if "raise_here" in mod_text:
        raise ValueError("no such schedule")
    build_library(mod_text, target_text, library, compiler)


def tell_imports(mod_text: str, target_text: str, library: Path, compiler: str) -> None:
    """Write what was imported before the build began, then build."""
    import sys

    library.with_name("modules.txt").write_text("\n".join(sys.modules))
    build_library(mod_text, target_text, library, compiler)

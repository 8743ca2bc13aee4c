"""A fast import of TVM's tensor intrinsics.

`tvm.s_tir.tensor_intrin` parses the TVMScript of every target's intrinsics: 14 to 31 s. Without
the source of the frames around it, and without the intrinsics of other targets, under 2 s.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from pytest_tvmtune.relax.installation.frames_without_source import frames_without_source
from pytest_tvmtune.store.tuning.work_dirs import RECORDS_FILE

_PACKAGE = "tvm.s_tir.tensor_intrin"
_CPU_KINDS = frozenset({"llvm", "c"})
_NOT_FOR_CPU = ("cuda", "rocm", "hexagon", "riscv_cpu", "metal")


def import_intrinsics(kind: str) -> None:
    """Register the tensor intrinsics that targets of this kind can use; once a process.

    For CPU kinds those of other devices are left out; a later import of theirs still works.
    """
    import tvm  # noqa: F401  outside the patched part: it needs none of it

    of_others = [f"{_PACKAGE}.{name}" for name in _NOT_FOR_CPU]
    with frames_without_source():
        if _PACKAGE not in sys.modules:
            with _stubbed(of_others):
                package = importlib.import_module(_PACKAGE)
            for name in _NOT_FOR_CPU:
                vars(package).pop(name, None)
        if kind not in _CPU_KINDS:
            for name in of_others:
                importlib.import_module(name)


def import_intrinsics_of_records(work_dir: Path, kind: str) -> None:
    """Register tensor intrinsics where the trace of a record in a work_dir uses one.

    Without them the whole pipeline raises; importing them always would cost seconds.
    """
    with (work_dir / RECORDS_FILE).open() as records:
        uses_one = any("Tensorize" in json.dumps(json.loads(line)[1][0]) for line in records)
    if uses_one:
        import_intrinsics(kind)


@contextmanager
def _stubbed(names: list[str]) -> Iterator[None]:
    stubs = {name: ModuleType(name) for name in names if name not in sys.modules}
    sys.modules.update(stubs)
    try:
        yield
    finally:
        for name, stub in stubs.items():
            if sys.modules.get(name) is stub:
                del sys.modules[name]

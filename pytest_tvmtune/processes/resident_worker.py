"""The work in a resident process: an object whose methods answer requests, until its caller ends.

`processes/resident_process.py` is the other end.
"""

from __future__ import annotations

import json
import os
import pkgutil
import sys
import traceback
from pathlib import Path
from typing import Any, BinaryIO

from pytest_tvmtune.core.json_codec import from_binary, to_binary
from pytest_tvmtune.processes.job_failures import job_failure_of
from pytest_tvmtune.processes.linux_process import die_with_parent, name_process
from pytest_tvmtune.processes.loading import loading
from pytest_tvmtune.processes.resident_process import FAILED, OK, SIZE, annotated_types


def main() -> None:
    """Answer requests. The command line: class, folder, setup as JSON, process it is for."""
    kind, folder, setup, parent = sys.argv[1:]
    die_with_parent()
    if os.getppid() != int(parent):  # it died before that was heard
        return
    name_process("tvmtune-side")
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    # Anything that TVM or a user's function reads or prints is not part of the conversation.
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(2, 1)
    loading().begin()
    _serve(kind, Path(folder), json.loads(setup), requests, answers)
    sys.stdout.flush()
    os._exit(0)  # TVM's thread pool can hang or crash in static destructors


def _serve(
    kind: str, folder: Path, setup: list[str], requests: BinaryIO, answers: BinaryIO
) -> None:
    served: Any = None
    while size := requests.read(SIZE.size):
        frame = requests.read(SIZE.unpack(size)[0])
        (length,) = SIZE.unpack(frame[: SIZE.size])
        name, body = frame[SIZE.size :][:length].decode(), frame[SIZE.size + length :]
        try:
            if served is None:
                loading().import_setup(setup)
                served = pkgutil.resolve_name(kind)(folder)
            method = getattr(served, name)
            request = from_binary(body, annotated_types(getattr(type(served), name))["request"])
            answer = OK + to_binary(method(request))
        except Exception as error:  # noqa: BLE001  what isn't raised on purpose is reported with the log
            traceback.print_exc()
            answer = FAILED + to_binary(job_failure_of(error))
        answers.write(SIZE.pack(len(answer)) + answer)
        answers.flush()

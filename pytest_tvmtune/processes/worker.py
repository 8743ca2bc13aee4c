"""The work in a job's process, forked or new: its request, its function, its answer.

`processes/run_job.py` is the other end, `processes/job_processes.py` starts the process.
"""

from __future__ import annotations

import atexit
import json
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from pytest_tvmtune.processes.job import WorkerContext, job_named
from pytest_tvmtune.processes.job_failures import job_failure_of
from pytest_tvmtune.processes.linux_process import die_with_parent, name_process
from pytest_tvmtune.processes.loading import loading
from pytest_tvmtune.processes.messages import read_message, write_message

REQUEST_FILE, RESULT_FILE, FAILURE_FILE = "request", "result", "failure"


def run_request(folder: Path, job_name: str, setup: Sequence[str]) -> NoReturn:
    """Do a job with the request in its folder, leave the answer there, and end this process."""
    name_process("tvmtune-job")
    try:
        loading().import_setup(setup)
        job = job_named(job_name)
        request = read_message(folder / REQUEST_FILE, job.request_type)
        write_message(folder / RESULT_FILE, job.run(request, WorkerContext(folder=folder)))
    except Exception as error:  # noqa: BLE001  what isn't raised on purpose is reported with the log
        traceback.print_exc()
        write_message(folder / FAILURE_FILE, job_failure_of(error))
    sys.stdout.flush()
    # multiprocessing removes its temporary folder here. Then out at once: TVM's thread pool can
    # hang or crash in static destructors, and the answer is on disk.
    atexit._run_exitfuncs()  # noqa: SLF001
    os._exit(0)


def main() -> None:
    """Do the job that the command line names: folder, job, setup as JSON, process it is for."""
    folder, job_name, setup, parent = sys.argv[1:]
    die_with_parent()
    if os.getppid() == int(parent):  # else it died before that was heard
        loading().begin()
        run_request(Path(folder), job_name, json.loads(setup))

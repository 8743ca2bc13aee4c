"""The `tvmtune` command: looks after the store and the set-up."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from pytest_tvmtune.cli import (
    baselines_command,
    db_command,
    doctor_command,
    env_command,
    gc_command,
    history_command,
    init_command,
)
from pytest_tvmtune.core.errors import TvmTuneError
from pytest_tvmtune.machine.fingerprint import installed_version

_EXAMPLES = """\
examples:
  tvmtune doctor                             can this machine gate, and how finely?
  tvmtune init models/                       sidecars for ONNX files with dynamic shapes
  tvmtune history 'mlp[llvm]'                what a model took, and where that changed
  tvmtune baselines export baselines.zip     all that another machine needs
  tvmtune db import WORK_DIR --target=llvm   records that were tuned elsewhere
  tvmtune gc --max-size 2G                   remove what was least recently used

exit codes: 0 fine, 1 a problem was found, 2 wrong usage. --json, after a command's name, prints
what it tells as JSON. `tvmtune COMMAND --help` says more.
"""
# What a shell says of a program that SIGPIPE or SIGINT ended.
_BROKEN_PIPE, _INTERRUPTED = 128 + 13, 128 + 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code: 0 fine, 1 a problem was found, 2 wrong usage."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that can't show a letter of a name shows its number.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    options = _parser().parse_args(arguments)
    try:
        exit_code: int = options.run(options)
        sys.stdout.flush()
    except TvmTuneError as error:
        print(f"tvmtune: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # as by `| head`
        # Or Python would complain once more, when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    except KeyboardInterrupt:
        return _INTERRUPTED
    return exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tvmtune",
        description="Look after the store and the set-up of pytest-tvmtune, and back at its runs.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--version", action="version", version=f"%(prog)s {installed_version('pytest-tvmtune')}"
    )
    # Every command takes it, after its name.
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--dir", type=Path, default=Path(".tvmtune"), help="the store (default: %(default)s)"
    )
    commands = parser.add_subparsers(
        title="commands", dest="command", required=True, metavar="COMMAND"
    )
    for module in (
        env_command,
        doctor_command,
        init_command,
        history_command,
        baselines_command,
        db_command,
        gc_command,
    ):
        module.add_parser(commands, common)
    return parser

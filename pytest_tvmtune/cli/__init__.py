"""The command `tvmtune`: manages the store, checks the installation, and exports models."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from pytest_tvmtune.cli import (
    baselines_command,
    bisect_command,
    db_command,
    doctor_command,
    env_command,
    export_command,
    gc_command,
    history_command,
    init_command,
    tune_command,
    vet_command,
)
from pytest_tvmtune.core.errors import TvmTuneError
from pytest_tvmtune.machine.fingerprint import installed_version

_EXAMPLES = """\
examples:
  tvmtune doctor                             find the slowdown that this machine can detect
  tvmtune init models/                       write sidecars for ONNX files with dynamic shapes
  tvmtune history 'mlp[llvm]'                show the latency of a model, and its changes
  tvmtune baselines export baselines.zip     write baselines for another machine
  tvmtune db import WORK_DIR --target=llvm   import records that were tuned elsewhere
  tvmtune gc --max-size 2G                   remove the least recently used files
  tvmtune tune model.onnx -o deploy          tune a model file, and export it
  tvmtune export 'mlp[llvm]' deploy          export the library that was tested
  tvmtune vet --old PYTHON --new PYTHON      compare two TVMs on the tests of a suite
  tvmtune bisect --good v1.0 --bad HEAD      find the commit that made a model slower

exit codes: 0 success, 1 a problem was found, 2 wrong usage. Most commands take --json, which prints
the result as JSON. For the options of a command, run `tvmtune COMMAND --help`.
"""
# The exit codes that a shell reports after SIGPIPE and SIGINT.
_BROKEN_PIPE, _INTERRUPTED = 128 + 13, 128 + 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. Returns the exit code: 0 success, 1 a problem was found, 2 wrong usage."""
    for stream in (sys.stdout, sys.stderr):
        # If a terminal can't show a character of a name, it shows the character's number.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        options = _parsed(arguments)
    except SystemExit as exit_:
        given = sys.argv[1:] if arguments is None else arguments
        if exit_.code and list(given[:1]) == [bisect_command.STEP]:
            # `git bisect run` would take the exit code of argparse for that of a bad commit.
            raise SystemExit(bisect_command.ENDS_BISECTION) from None
        raise
    try:
        exit_code: int = options.run(options)
        sys.stdout.flush()
    except TvmTuneError as error:
        print(f"tvmtune: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # as by `| head`
        # Otherwise, Python reports another error when it flushes at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    except KeyboardInterrupt:
        return _INTERRUPTED
    return exit_code


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = _parser()
    options, unknown = parser.parse_known_args(arguments)
    if hasattr(options, "pytest_arguments"):
        options.pytest_arguments = [one for one in unknown if one != "--"]
    elif unknown:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    return options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tvmtune",
        description="Manage the store of pytest-tvmtune, check the installation, show earlier "
        "runs, and export models.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--version", action="version", version=f"%(prog)s {installed_version('pytest-tvmtune')}"
    )
    # Each command takes it, after its name.
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--dir",
        type=Path,
        default=Path(".tvmtune"),
        help="the folder of the store (default: %(default)s)",
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
        tune_command,
        export_command,
        vet_command,
        bisect_command,
    ):
        module.add_parser(commands, common)
    return parser

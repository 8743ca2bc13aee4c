"""`tvmtune vet`: compare two environments, each with its own TVM, on the tests of a suite."""

from __future__ import annotations

import argparse
import sys
import traceback
from pathlib import Path
from typing import Any

from pytest_tvmtune.cli.arguments import add_json, print_json
from pytest_tvmtune.core.errors import TvmTuneError
from pytest_tvmtune.core.json_codec import finite, to_json_values

_NOT_VETTED = 2


def add_parser(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command. All arguments that it doesn't know are pytest's."""
    parser = commands.add_parser(
        "vet",
        parents=[common],
        allow_abbrev=False,
        help="compare two environments with different TVMs on the tests of a suite",
        description="Run a suite in two environments, each with its own TVM, and report where the "
        "new TVM computes other numbers or is slower, because of its runtime or of its generated "
        "code. All other arguments are pytest's.",
    )
    parser.add_argument(
        "--old",
        metavar="PYTHON",
        type=Path,
        required=True,
        help="the interpreter of the environment to compare with",
    )
    parser.add_argument(
        "--new",
        metavar="PYTHON",
        type=Path,
        required=True,
        help="the interpreter of the environment to vet",
    )
    parser.add_argument(
        "--html", metavar="FILE", type=Path, help="write the result as a page to this file"
    )
    add_json(parser)
    parser.set_defaults(run=_vet, pytest_arguments=())


def _vet(options: argparse.Namespace) -> int:
    from pytest_tvmtune.report.report_files import check_report_path
    from pytest_tvmtune.report.vet_text import summary_line, vet_lines
    from pytest_tvmtune.stages.vetting.vet import VetRequest, vet

    request = VetRequest(
        old=options.old,
        new=options.new,
        arguments=tuple(options.pytest_arguments),
        store=options.dir,
    )
    # The exit code 1 is for findings.
    try:
        if options.html is not None:
            check_report_path("--html", options.html.absolute())
        report = vet(request, lambda words: print(words, file=sys.stderr, flush=True))
        if options.json:
            print_json(finite(to_json_values(report)))
            print(summary_line(report), file=sys.stderr)
        else:
            print("\n".join(vet_lines(report)), flush=True)
        if options.html is not None:
            from pytest_tvmtune.report.vet_html import vet_page
            from pytest_tvmtune.store.atomic_files import write_text

            write_text(options.html, vet_page(report))
    except TvmTuneError as error:
        print(f"tvmtune: {error}", file=sys.stderr)
        return _NOT_VETTED
    except BrokenPipeError:
        raise
    except Exception:  # noqa: BLE001  a fault of this package, or of the machine
        traceback.print_exc()
        return _NOT_VETTED
    return 1 if report.findings else 0

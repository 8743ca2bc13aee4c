"""`tvmtune bisect` and `bisect-step`: find the commit that made a model slower, or wrong."""

from __future__ import annotations

import argparse
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from pytest_tvmtune.cli.arguments import add_json, print_json
from pytest_tvmtune.core.bisecting.commit_verdict import CommitVerdict, Sought
from pytest_tvmtune.core.errors import TvmTuneError, counted
from pytest_tvmtune.core.json_codec import to_json_values

if TYPE_CHECKING:
    from pytest_tvmtune.stages.bisecting.bisection import Bisection

STEP = "bisect-step"
# What `git bisect run` takes for good, bad, and a commit that can't be tested.
_EXIT_CODES: dict[CommitVerdict, int] = {"good": 0, "bad": 1, "undecided": 125}
# It ends `git bisect run`, as any code above 127: no other commit would be tested either.
ENDS_BISECTION = 129


def add_parser(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add both commands. All arguments that they don't know are pytest's."""
    bisect = commands.add_parser(
        "bisect",
        parents=[common],
        allow_abbrev=False,
        help="find the commit that made a model slower, or its numbers wrong",
        description="Accept the baselines of a good commit, and find the first commit that the "
        "latency gate, or a comparison of numbers, finds bad. Models are compared untuned, unless "
        "there is --tvm-trials or --tvm-tuning. All other arguments are pytest's.",
    )
    for name, what in (("--good", "is as fast as it should be"), ("--bad", "is slower, or wrong")):
        bisect.add_argument(name, metavar="REV", required=True, help=f"a commit that {what}")
    _add_common(bisect)
    add_json(bisect)
    bisect.set_defaults(run=_bisect, pytest_arguments=())
    step = commands.add_parser(
        STEP,
        allow_abbrev=False,
        help="test the commit that is checked out, with exit codes for `git bisect run`",
        description="Test the commit that is checked out against the baselines of the store. The "
        "exit code is 0 if it's good, 1 if it's bad, 125 if that can't be decided, and 129 if "
        "nothing can be tested. All other arguments are pytest's.",
    )
    step.add_argument(
        "--dir",
        type=Path,
        help="the folder of the store, whose baselines --accept replaces (default: a store in "
        "git's own folder)",
    )
    step.add_argument(
        "--accept",
        action="store_true",
        help="accept the baselines of the commit, which is good: its cases decide from now on",
    )
    _add_common(step)
    step.set_defaults(run=_step, pytest_arguments=())


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--find",
        choices=get_args(Sought),
        metavar="slower|wrong|any",
        default="slower",
        help="what makes a commit bad: a slowdown, wrong numbers, or any of both "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--install",
        metavar="COMMAND",
        default="",
        help="a shell command that installs or builds a commit before its tests; a commit where it "
        "fails is left out",
    )


def _bisect(options: argparse.Namespace) -> int:
    from pytest_tvmtune.stages.bisecting.bisection import BisectRequest, bisect

    request = BisectRequest(
        good=options.good,
        bad=options.bad,
        sought=options.find,
        arguments=tuple(options.pytest_arguments),
        install=options.install,
        records=options.dir.absolute(),
    )
    found = bisect(request, lambda words: print(words, file=sys.stderr, flush=True))
    if options.json:
        print_json(to_json_values(found))
    else:
        print("\n".join(_result_lines(found)))
    return 1 if found.first_bad is None else 0


def _result_lines(found: Bisection) -> list[str]:
    end = f"{counted(len(found.steps), 'commit')} tested in {found.seconds:.0f} s"
    if found.first_bad is None:
        return [
            "the first bad commit is one of these; some of them can't be decided:",
            *(f"  {commit}" for commit in found.candidates),
            end,
        ]
    return [f"first bad commit: {found.first_bad}", *found.findings, end]


def _step(options: argparse.Namespace) -> int:
    # The exit code 1 is for a bad commit, also if a package is missing.
    try:
        from pytest_tvmtune.stages.bisecting.tested_commit import (
            CommitTest,
            accept_commit,
            accepted_keys,
            judge_commit,
            own_store,
        )
        from pytest_tvmtune.store.layout import open_store

        arguments = tuple(options.pytest_arguments)
        store = open_store(options.dir.absolute()) if options.dir else own_store(arguments)
        test = CommitTest(
            store=store,
            sought=options.find,
            arguments=arguments,
            install=options.install,
            keys=None if options.accept else accepted_keys(store),
        )
        tested = (accept_commit if options.accept else judge_commit)(test)
    except TvmTuneError as error:
        print(f"tvmtune: {error}", file=sys.stderr)
        return ENDS_BISECTION
    except Exception:  # noqa: BLE001  a fault of this package, or of the machine
        traceback.print_exc()
        return ENDS_BISECTION
    print(f"{tested.verdict} in {tested.seconds:.0f} s: {tested.reason}")
    return _EXIT_CODES[tested.verdict]

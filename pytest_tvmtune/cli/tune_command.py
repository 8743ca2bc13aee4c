"""`tvmtune tune`: a model file tuned without a test, as a folder for deployment."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from pytest_tvmtune.cli.arguments import add_json, parsed_by
from pytest_tvmtune.cli.exported_facts import (
    add_dims,
    add_force,
    model_file,
    print_export,
    print_warning,
)
from pytest_tvmtune.core.settings.parsing import default_of, parse_setting
from pytest_tvmtune.core.settings.target_spec import HOST, parse_target

_SETTINGS = ("trials", "max_trials_per_task", "max_tuning_time", "prepack", "tuning", "dims")


def add_parser(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "tune",
        parents=[common],
        help="tune a model file, and write the library, with everything to run it, to a folder",
    )
    parser.add_argument(
        "model", metavar="MODEL", type=model_file, help="an .onnx, .pt2, or .tflite file"
    )
    parser.add_argument(
        "-o", metavar="DIR", dest="folder", type=Path, required=True, help="the folder to write"
    )
    parser.add_argument(
        "--target",
        type=parsed_by(parse_target),
        default=HOST,
        help="the target to compile for (default: %(default)s, the CPU of this machine)",
    )
    for name, text in (
        ("trials", f"the trials for the whole model (default: {default_of('trials')})"),
        ("max-trials-per-task", "the most trials for a task (default: no limit)"),
    ):
        parser.add_argument(
            f"--{name}", metavar="N", type=_setting(name.replace("-", "_")), help=text
        )
    parser.add_argument(
        "--time",
        metavar="SECONDS",
        dest="max_tuning_time",
        type=_setting("max_tuning_time"),
        help="end tuning after this time, although trials are left (default: no limit)",
    )
    parser.add_argument(
        "--prepack",
        action="store_const",
        const="on",
        help="compile with cpu_weight_prepack, and transform the parameters",
    )
    parser.add_argument(
        "--tuning",
        metavar="HOW",
        type=_setting("tuning"),
        help="missing, never, or refresh, as in --tvm-tuning (default: missing)",
    )
    add_dims(parser)
    add_force(parser)
    add_json(parser)
    parser.set_defaults(run=_tune)


def _setting(name: str) -> Any:
    return parsed_by(lambda text, where: parse_setting(name, text, where))


def _tune(options: argparse.Namespace) -> int:
    from pytest_tvmtune.report.progress_lines import ProgressDisplay
    from pytest_tvmtune.stages.deployment.tuned_export import TuneRequest, tune_and_export

    given = {name: getattr(options, name) for name in _SETTINGS}
    request = TuneRequest(
        model=options.model,
        target=options.target,
        settings={name: value for name, value in given.items() if value is not None},
        store=options.dir,
        folder=options.folder,
        force=options.force,
    )
    manifest = tune_and_export(request, ProgressDisplay(sys.stderr), print_warning)
    print_export(options.folder, manifest, as_json=options.json)
    return 0

"""`tvmtune export`: an accepted baseline as a folder for deployment."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from pytest_tvmtune.cli.arguments import add_json, existing_store
from pytest_tvmtune.cli.chosen_baselines import chosen_baseline
from pytest_tvmtune.cli.exported_facts import (
    add_dims,
    add_force,
    model_file,
    print_export,
    print_warning,
)


def add_parser(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "export",
        parents=[common],
        help="write the library of an accepted baseline, with everything to run it, to a folder",
    )
    parser.add_argument(
        "case",
        metavar="CASE",
        help="a part of the name of a baseline's file, test, or case, such as mlp[llvm]",
    )
    parser.add_argument("folder", metavar="DIR", type=Path, help="the folder to write")
    parser.add_argument(
        "--model",
        metavar="FILE",
        type=model_file,
        help="the model file that has the parameters (default: the test's own file, if its test "
        "is a model file)",
    )
    add_dims(parser)
    add_force(parser)
    add_json(parser)
    parser.set_defaults(run=_export)


def _export(options: argparse.Namespace) -> int:
    store = existing_store(options.dir)
    baseline = chosen_baseline(store, options.case)
    from pytest_tvmtune.stages.deployment.baseline_export import BaselineExport, export_baseline

    request = BaselineExport(
        baseline=baseline,
        model=options.model,
        dims=options.dims,
        folder=options.folder,
        force=options.force,
    )
    manifest = export_baseline(store, request, print_warning)
    print_export(options.folder, manifest, as_json=options.json)
    return 0

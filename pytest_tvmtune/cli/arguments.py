"""Arguments and output that several commands share: ages, sizes, an existing store, JSON."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pytest_tvmtune.core.clock import now_s
from pytest_tvmtune.core.errors import OptionError, StoreError
from pytest_tvmtune.core.json_codec import finite
from pytest_tvmtune.store.layout import Store

_DAY_S = 86400.0
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}


def add_group(
    commands: Any, common: argparse.ArgumentParser, name: str, text: str
) -> Callable[[str, Callable[[argparse.Namespace], int], str], argparse.ArgumentParser]:
    """Add a command that has commands. Returns add(name, run, text) -> parser for each of them."""
    group = commands.add_parser(name, help=text)
    subcommands = group.add_subparsers(dest=name, required=True, metavar="COMMAND")

    def add(
        name: str, run: Callable[[argparse.Namespace], int], text: str
    ) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = subcommands.add_parser(name, parents=[common], help=text)
        parser.set_defaults(run=run)
        return parser

    return add


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add --json."""
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def print_json(value: Any) -> None:
    """Print a value for scripts, in ASCII; values that JSON can't hold are null."""
    print(json.dumps(finite(value), indent=1, sort_keys=True))


def parsed_by(parse: Callable[[str, str], Any]) -> Callable[[str], Any]:
    """Return argparse's `type` for a function of a value and its name that raises OptionError."""

    def parsed(text: str) -> Any:
        try:
            return parse(text, "value")
        except OptionError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return parsed


def existing_store(folder: Path) -> Store:
    """Return the store in a folder. Raises StoreError if it isn't a store."""
    if not (folder / "CACHEDIR.TAG").is_file():
        raise StoreError(
            f"{folder} is not a store: give its folder with --dir (pytest makes .tvmtune)"
        )
    return Store(root=folder)


def days_ago(text: str) -> float:
    """Return the time so many days ago, in seconds since 1970; argparse's `type`."""
    try:
        days = float(text)
    except ValueError:
        days = -1.0
    if not 0 <= days < 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of days")
    return now_s() - days * _DAY_S


def size(text: str) -> int:
    """Return the bytes in `500M` or `2GB`; argparse's `type`."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)b?", text.strip().lower())
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 500M or 2G")
    return int(float(match[1]) * _UNITS[match[2]])

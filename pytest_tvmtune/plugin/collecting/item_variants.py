"""The items of a test: an item for each target and prepack choice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pytest_tvmtune.core.results.case_label import choice_of
from pytest_tvmtune.core.settings.options import CaseOptions, RunOptions
from pytest_tvmtune.core.settings.parsing import PREPACK, TARGET, first_set
from pytest_tvmtune.core.settings.target_spec import select_targets


@dataclass(frozen=True, kw_only=True)
class ItemVariant:
    """The options of an item, and the plugin's part of its id.

    options: None if the item is left out. left_out: the reason.
    """

    id: str
    options: CaseOptions | None
    left_out: str = ""


def item_choices(run: RunOptions, arguments: Mapping[str, Any]) -> list[ItemVariant]:
    """Return the items of a test whose marker has these parsed arguments, at least one item."""
    pinned = arguments.get("target")
    targets = select_targets(pinned, run.asked_targets, TARGET.default)
    if not targets:
        asked = ", ".join(spec.given for spec in run.asked_targets or ())
        mine = ", ".join(spec.given for spec in pinned or ())
        reason = f"this test is for {mine}, and this run is for {asked}"
        return [ItemVariant(id="left-out", options=None, left_out=reason)]
    prepack = first_set(PREPACK, (arguments, *run.layers))
    packed = {"off": (False,), "on": (True,), "both": (False, True)}[prepack]
    return [
        ItemVariant(
            id=choice_of(target.name, prepack=prepack),
            options=run.case_options(arguments, target=target, prepack=prepack),
        )
        for target in targets
        for prepack in packed
    ]

"""Which test an item is of, as its baseline's identity has it, and that no two tests share one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pytest_tvmtune.core.gating.case_identity import default_name
from pytest_tvmtune.core.settings.options import CaseOptions
from pytest_tvmtune.plugin.collecting.case_items import CASE_FIXTURE
from pytest_tvmtune.plugin.collecting.user_parameters import parametrized
from pytest_tvmtune.plugin.state import STATE, ItemOrigin


def function_origin(item: pytest.Function) -> ItemOrigin:
    """Return the origin of a test function's item."""
    path = path_of(item)
    return ItemOrigin(
        nodeid=item.nodeid,
        path=item.path,
        identity_path=path,
        name=default_name(item.originalname, path),
        cls=_classes_of(item),
        function=item.originalname,
        params=parametrized(item).params,
    )


def path_of(item: pytest.Item) -> str:
    """Return a file's path from the rootdir, also where it is outside of it: `../tests/test_a.py`.

    Of such a file pytest's own id is no help: it depends on whether the file or a folder of its is
    named on the command line.
    """
    rootdir = item.config.rootpath
    if item.path.is_relative_to(rootdir):
        return item.path.relative_to(rootdir).as_posix()
    # Either may be reached through a symbolic link.
    return Path(os.path.relpath(item.path.resolve(), rootdir.resolve())).as_posix()


def note_source(item: pytest.Function) -> None:
    """Note of which parameters an item's baseline is."""
    sources = item.config.stash[STATE].sources.setdefault(_key(item), [])
    if (ids := parametrized(item).ids) not in sources:
        sources.append(ids)


def shared_baseline(item: pytest.Item) -> str:
    """Return what to say of an item whose baseline is another test's, too; "" for all others."""
    if not isinstance(item, pytest.Function):
        return ""
    sources = item.config.stash[STATE].sources.get(_key(item), [])
    if len(sources) < 2:
        return ""
    first, second = (" and ".join(map(repr, ids)) for ids in sources[:2])
    return (
        f"two tests have the id {item.nodeid!r}, so that they would share a baseline: one has the "
        f"parameter ids {first}, one {second}; give them ids that differ when '-' joins them"
    )


def other_model(item: pytest.Item, baseline: str, mod_hash: str) -> str:
    """Return what to say where another test of one baseline had another model, else "".

    baseline: its file's name. A plugin that repeats a test repeats its model as well.
    """
    first, its_hash = item.config.stash[STATE].gated.setdefault(baseline, (item.nodeid, mod_hash))
    if first == item.nodeid or its_hash == mod_hash:
        return ""
    return (
        f"its baseline is that of {first!r} as well, whose model is another one: parameters that a "
        "plugin adds name no baseline. Where they make another model, ask for them in the test "
        "(an argument, or pytest.mark.usefixtures); where its weights are random, seed them"
    )


def _key(item: pytest.Function) -> tuple[str, ...]:
    """Return what the identity of an item's baselines is made of."""
    options = item.callspec.params[CASE_FIXTURE]
    choice = f"{options.target.name} {options.prepack}" if isinstance(options, CaseOptions) else ""
    params = parametrized(item).params
    return path_of(item), _classes_of(item), item.originalname, params, choice


def _classes_of(item: pytest.Item) -> str:
    """Return the names of what is between a test and its file: `TestOuter.TestInner`."""
    chain = item.listchain()
    file = next((n for n, node in enumerate(chain) if isinstance(node, pytest.File)), 0)
    return ".".join(node.name for node in chain[file + 1 : -1])

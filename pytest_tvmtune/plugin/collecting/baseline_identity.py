"""The test of an item, for its baseline's identity, and a check that no two tests share it."""

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
    """Return a file's path relative to the rootdir, such as `../tests/test_a.py`.

    For a file outside of the rootdir, pytest's id isn't unique: it depends on whether the command
    line names the file or a folder.
    """
    rootdir = item.config.rootpath
    if item.path.is_relative_to(rootdir):
        return item.path.relative_to(rootdir).as_posix()
    # A symbolic link can lead to either of them.
    return Path(os.path.relpath(item.path.resolve(), rootdir.resolve())).as_posix()


def note_source(item: pytest.Function) -> None:
    """Note the parameters of an item for its baseline."""
    sources = item.config.stash[STATE].sources.setdefault(_key(item), [])
    if (ids := parametrized(item).ids) not in sources:
        sources.append(ids)


def shared_baseline(item: pytest.Item) -> str:
    """Return a message if another test has the same baseline as an item, else ""."""
    if not isinstance(item, pytest.Function):
        return ""
    sources = item.config.stash[STATE].sources.get(_key(item), [])
    if len(sources) < 2:
        return ""
    first, second = (" and ".join(map(repr, ids)) for ids in sources[:2])
    return (
        f"two tests have the id {item.nodeid!r}, so they would share a baseline: the first test "
        f"has the parameter ids {first}, the second test {second}; give them ids that still "
        "differ after '-' joins them"
    )


def other_model(item: pytest.Item, baseline: str, mod_hash: str) -> str:
    """Return a message if another test with the same baseline has another model, else "".

    A plugin that repeats a test also repeats its model. baseline: the name of the file.
    """
    first, its_hash = item.config.stash[STATE].gated.setdefault(baseline, (item.nodeid, mod_hash))
    if first == item.nodeid or its_hash == mod_hash:
        return ""
    return (
        f"{first!r} has the same baseline and another model, because parameters that a plugin adds "
        "aren't part of a baseline's identity. If they select the model, request them in the test "
        "(as an argument, or with pytest.mark.usefixtures). If the weights of the model are "
        "random, use a fixed seed"
    )


def _key(item: pytest.Function) -> tuple[str, ...]:
    """Return the parts of the identity of an item's baselines."""
    options = item.callspec.params[CASE_FIXTURE]
    choice = f"{options.target.name} {options.prepack}" if isinstance(options, CaseOptions) else ""
    params = parametrized(item).params
    return path_of(item), _classes_of(item), item.originalname, params, choice


def _classes_of(item: pytest.Item) -> str:
    """Return the names of the classes of a test: `TestOuter.TestInner`."""
    chain = item.listchain()
    file = next((n for n, node in enumerate(chain) if isinstance(node, pytest.File)), 0)
    return ".".join(node.name for node in chain[file + 1 : -1])

"""Which test an item is of, as its baseline's identity has it, and that no two tests share one."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_tvmtune.core.baseline import default_name
from pytest_tvmtune.core.options import CaseOptions
from pytest_tvmtune.plugin.parameters import CASE_FIXTURE, parametrized
from pytest_tvmtune.plugin.state import STATE, Origin


def function_origin(item: pytest.Function) -> Origin:
    """Return the origin of a test function's item."""
    path = path_of(item)
    return Origin(
        nodeid=item.nodeid,
        path=item.path,
        identity_path=path,
        name=default_name(item.originalname, path),
        cls=_classes_of(item),
        function=item.originalname,
        params=parametrized(item).params,
    )


def path_of(item: pytest.Item) -> str:
    """Return a file's path from the rootdir; of one outside of it, the path that its id has."""
    rootdir = item.config.rootpath
    # The second: where either is reached through a symbolic link.
    for path, root in ((item.path, rootdir), (item.path.resolve(), rootdir.resolve())):
        if path.is_relative_to(root):
            return path.relative_to(root).as_posix()
    # pytest's path of a file that was named itself is empty.
    return item.nodeid.partition("::")[0] or item.path.name


def note_source(item: pytest.Item) -> None:
    """Note of which test an item's baseline is."""
    sources = item.config.stash[STATE].sources.setdefault(_key(item), [])
    if (source := _source(item)) not in sources:
        sources.append(source)


def shared_baseline(item: pytest.Item) -> str:
    """Return what to say of an item whose baseline is another test's, too; "" for all others."""
    sources = item.config.stash[STATE].sources.get(_key(item), [])
    if len(sources) < 2:
        return ""
    files = list(dict.fromkeys(path for path, _ in sources))
    if len(files) > 1:
        return (
            f"two tests have the id {item.nodeid!r}, so that they would share a baseline: those in "
            f"{files[0]} and {files[1]}; run them in two sessions, or with a --rootdir above both"
        )
    first, second = (" and ".join(map(repr, ids)) for _, ids in sources[:2])
    return (
        f"two tests have the id {item.nodeid!r}, so that they would share a baseline: one has the "
        f"parameter ids {first}, one {second}; give them ids that differ when '-' joins them"
    )


def _key(item: pytest.Item) -> tuple[str, ...]:
    """Return what the identity of an item's baselines is made of."""
    if not isinstance(item, pytest.Function):
        return path_of(item), item.name
    made = parametrized(item)
    options = item.callspec.params[CASE_FIXTURE]
    choice = f"{options.target.name} {options.prepack}" if isinstance(options, CaseOptions) else ""
    return path_of(item), _classes_of(item), item.originalname, made.params, choice


def _source(item: pytest.Item) -> tuple[Path, tuple[str, ...]]:
    ids = parametrized(item).ids if isinstance(item, pytest.Function) else ()
    return item.path, ids


def _classes_of(item: pytest.Item) -> str:
    """Return the names of what is between a test and its file: `TestOuter.TestInner`."""
    chain = item.listchain()
    file = next((n for n, node in enumerate(chain) if isinstance(node, pytest.File)), 0)
    return ".".join(node.name for node in chain[file + 1 : -1])

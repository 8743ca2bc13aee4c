"""The first call of a library that computes other values under another runtime."""

from __future__ import annotations

import pytest

from pytest_tvmtune.relax.turns.library_side import Watched, WatchedCall
from pytest_tvmtune.stages.vetting.runtime_divergence import first_difference


def watched(*calls: tuple[str, str]) -> Watched:
    return Watched(calls=tuple(WatchedCall(name=name, digest=digest) for name, digest in calls))


OLD = watched(("matmul", "a"), ("pool", "b"), ("relu", "c"))


@pytest.mark.parametrize(
    ("new", "words"),
    [
        (OLD, "no call differs: 3 were compared, bit by bit"),
        (
            watched(("matmul", "a"), ("pool", "x"), ("relu", "y")),
            "first call with other values: pool, call 2 of 3",
        ),
        (
            watched(("matmul", "a"), ("copy", "b"), ("relu", "c")),
            "call 2 is pool under the old runtime and copy under the new",
        ),
        (watched(("matmul", "a")), "3 calls under the old runtime and 1 under the new"),
    ],
)
def test_it_is_named(new: Watched, words: str) -> None:
    assert first_difference(OLD, new) == words

"""The page on bisecting, read in a repository that has what the page says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.documents import Reader
from tests.support import ROOT
from tests.support.bisect_history import History, git, make_history

PAGE = ROOT / "docs/how-to/bisect-a-slowdown.md"
HISTORY = History(
    slow_from=8, wrong=(9, 10), broken=(6,), tags={"v1.0": 1, "v1.1-rc": 10}
)  # fmt: skip


@pytest.mark.slow
def test_its_commands_find_the_commits(tmp_path: Path) -> None:
    folder = tmp_path / "repository"
    hashes = make_history(folder, HISTORY)
    reader = Reader(folder=folder)
    reader.read(PAGE)
    # Of the last command on the page.
    assert f"{hashes[7]} is the first bad commit" in reader.printed
    assert git(folder, "status", "-sb") == "## main"

"""Other plugins and odd environments: exit codes and output, by real pytest processes.

Slow, and in need of plugins that no other test may have loaded: `make test-all`. A table of what
was expected and seen closes the run.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.setups.harness import Setup, make_folder, run_setup, run_step, table_row
from tests.setups.rows_environments import ENVIRONMENTS
from tests.setups.rows_layouts import LAYOUTS
from tests.setups.rows_machines import MACHINES
from tests.setups.rows_plugins import PLUGINS
from tests.setups.rows_repeating import REPEATING
from tests.setups.rows_reporters import REPORTERS
from tests.setups.suites import ONE

pytestmark = pytest.mark.slow
SETUPS = [*REPEATING, *PLUGINS, *REPORTERS, *LAYOUTS, *ENVIRONMENTS, *MACHINES]


@pytest.fixture(scope="session")
def warm_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that holds the tiny model's library and no baseline."""
    setup = Setup(name="warm", files={"test_one.py": ONE}, cold=True)
    folder = tmp_path_factory.mktemp("warm") / "suite"
    make_folder(setup, folder, Path(os.devnull))
    seen = run_step(setup, setup.steps[0], folder)
    assert not seen.wrong, seen.output
    return folder / ".tvmtune"


@pytest.mark.parametrize("setup", SETUPS, ids=[setup.name for setup in SETUPS])
def test_setup(
    setup: Setup,
    tmp_path: Path,
    warm_store: Path,
    record_property: Callable[[str, object], None],
) -> None:
    seen = run_setup(setup, tmp_path / "suite", warm_store)
    record_property("setup", table_row(setup, seen))
    for number, one in enumerate(seen, start=1):
        print(f"--- step {number}: exit code {one.exit_code}, {list(one.wrong)}\n{one.output}")
    assert [one.wrong for one in seen] == [() for _ in seen]


def test_names_are_unique() -> None:
    names = [setup.name for setup in SETUPS]
    assert len(set(names)) == len(names) >= 30

"""Cases without pytest around them: a model, a store, the stages."""

from __future__ import annotations

from pathlib import Path

import pytest
from cases import opener
from modules import OpenCase

from pytest_tvmtune.store.layout import open_store


@pytest.fixture
def open_(tmp_path: Path) -> OpenCase:
    """Return open_(mod, **settings and source) -> Case, all on one store of the test's own."""
    return opener(open_store(tmp_path / "store"), usual_name="model")

"""Cases without pytest around them: a model, a store, the stages."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_tvmtune.store.layout import open_store
from tests.support.cases import opener
from tests.support.locks import cores_of_the_machine, cores_of_this_worker  # noqa: F401
from tests.support.modules import OpenCase
from tests.support.preloaded_python import preloaded_jobs, preloaded_python  # noqa: F401
from tests.support.unmeasured import unmeasured_jobs  # noqa: F401


@pytest.fixture
def open_(tmp_path: Path) -> OpenCase:
    """Return open_(mod, **settings and source) -> Case, all on one store of the test's own."""
    return opener(open_store(tmp_path / "store"), usual_name="model")

"""Cases without pytest around them: a model, a store, the stages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from modules import OpenCase

from pytest_tvmtune.core.options import RunOptions
from pytest_tvmtune.core.targets import parse_target
from pytest_tvmtune.relax.doors import open_model
from pytest_tvmtune.runner.case import Case, Workshop, open_case
from pytest_tvmtune.store.layout import open_store


@pytest.fixture
def open_(tmp_path: Path) -> OpenCase:
    """Return open_(mod, prepack=..., target=..., trials=..., **source) -> Case on one store."""
    store = open_store(tmp_path / "store")

    def opened(
        mod: Any,
        *,
        prepack: bool = False,
        target: str = "llvm",
        name: str = "model",
        settings: dict[str, Any] | None = None,
        **source: Any,
    ) -> Case:
        run = RunOptions(layers=({"trials": 0, **(settings or {})},), store_dir=store.root)
        options = run.case_options({}, target=parse_target(target), prepack=prepack)
        model = open_model(mod, name=name, seed=options.seed, **source)
        # A new Workshop each time, as each pytest process has its own.
        return open_case(model, options, Workshop(store=store), name=name, nodeid=f"t::{name}")

    return opened

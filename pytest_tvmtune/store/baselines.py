"""Accepted baselines, one JSON file a case."""

from __future__ import annotations

import json

from pytest_tvmtune.core.baseline import Baseline, Identity
from pytest_tvmtune.core.errors import BaselineError
from pytest_tvmtune.store.atomic import write_json
from pytest_tvmtune.store.layout import Store


def read_baseline(store: Store, identity: Identity) -> Baseline | None:
    """Return the accepted baseline of a case, or None when there is none.

    Raises BaselineError when its file is damaged or belongs to another case.
    """
    path = store.baselines / identity.file_name
    try:
        baseline = Baseline.from_json(json.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise BaselineError(f"{path}: {error}") from error
    if baseline.identity != identity:
        raise BaselineError(f"{path} belongs to another case: {baseline.identity}")
    return baseline


def write_baseline(store: Store, baseline: Baseline) -> None:
    """Accept a baseline. Raises StoreError."""
    write_json(store.baselines / baseline.identity.file_name, baseline.to_json())

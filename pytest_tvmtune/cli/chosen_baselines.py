"""The baselines that arguments of commands name."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_tvmtune.core.errors import StoreError
from pytest_tvmtune.core.gating.accepted_baseline import Baseline
from pytest_tvmtune.core.gating.case_identity import default_name
from pytest_tvmtune.core.results.case_label import label_of
from pytest_tvmtune.store.accepted.baseline_files import load_baseline
from pytest_tvmtune.store.layout import Store


def chosen_baselines(store: Store, names: Sequence[str]) -> list[Baseline]:
    """Return the baselines whose names contain one of the names, or all baselines.

    Each has three names: of its file, of its test, and of its case in reports.

    Raises StoreError if there is none, or if a baseline is damaged.
    """
    found, matched = [], set()
    for path in sorted(store.baselines.glob("*.json")):
        try:
            baseline = load_baseline(path, path.read_bytes())
        except (OSError, ValueError) as error:
            raise StoreError(f"{path}: {error}") from error
        texts = _names(baseline)
        own = {name for name in names if any(name in text for text in texts)}
        matched |= own
        if own or not names:
            found.append(baseline)
    if lost := [name for name in names if name not in matched]:
        raise StoreError(
            f"{store.root} has no baseline named {' or '.join(lost)}: see `tvmtune baselines list`"
        )
    if not found:
        raise StoreError(f"{store.root} has no baselines: accept one with --tvm-update-new")
    return found


def chosen_baseline(store: Store, name: str) -> Baseline:
    """Return the baseline with this name, or the only baseline whose name contains it.

    Raises StoreError if there is none, or if there are several.
    """
    found = chosen_baselines(store, [name])
    exact = [one for one in found if name in _names(one)]
    if len(exact) == 1 or len(found) == 1:
        return (exact or found)[0]
    listed = ", ".join(one.identity.file_name for one in exact or found)
    raise StoreError(f"several baselines match {name!r}, choose one by its file: {listed}")


def _names(baseline: Baseline) -> tuple[str, str, str]:
    one = baseline.identity
    label = label_of(one.name, one.target_name, prepack=one.prepack, params=one.params)
    return one.file_name, name_of_test(baseline), label


def name_of_test(baseline: Baseline) -> str:
    """Return the name of a baseline's test, with the name of the case if it has another."""
    one = baseline.identity
    parts = [one.path, one.cls, one.function]
    params = f"[{one.params}]" if one.params else ""
    name = f" {one.name}" if one.name != default_name(one.function, one.path) else ""
    return "::".join(part for part in parts if part) + params + name

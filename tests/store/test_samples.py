"""Samples of the tuner: kept, bounded, merged, and replaced where a file is damaged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pytest_tvmtune.store.cleaning import old_artifacts
from pytest_tvmtune.store.inventory import problems
from pytest_tvmtune.store.layout import Store, open_store
from pytest_tvmtune.store.merging import LeftOut, MergedFile, merge_samples
from pytest_tvmtune.store.tuning import samples
from pytest_tvmtune.store.tuning.samples import (
    MOST_SAMPLES,
    Samples,
    add_samples,
    load_samples,
    machine_of,
    samples_path,
    stored_samples,
)

KEY, SHASH, MACHINE = (
    "llvm-tvm0.27-0123456789ab",
    "00000000000000aa",
    machine_of("a CPU", 2, "a TVM"),
)


def made(*run_s: float, shash: str = SHASH, rows: int = 2) -> Samples:
    """Return samples of these times; the features have the time in them."""
    features = tuple(np.full((rows, 5), value, "float32") for value in run_s)
    return Samples(shash=shash, features=features, run_s=run_s)


def times(store: Store) -> list[float]:
    return [value for one in stored_samples(store, KEY, MACHINE, 10_000) for value in one.run_s]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "store")


def test_samples_are_kept_with_their_features(store: Store) -> None:
    add_samples(store, KEY, MACHINE, made(0.5, 0.25, rows=3))
    add_samples(store, KEY, MACHINE, made(0.125, rows=1))
    (found,) = stored_samples(store, KEY, MACHINE, 100)
    assert (found.shash, found.run_s) == (SHASH, (0.5, 0.25, 0.125))
    assert [one.shape for one in found.features] == [(3, 5), (3, 5), (1, 5)]
    assert all((one == run_s).all() for one, run_s in zip(found.features, found.run_s, strict=True))


def test_machines_and_targets_have_their_own(store: Store) -> None:
    add_samples(store, KEY, MACHINE, made(0.5))
    assert not list(stored_samples(store, KEY, machine_of("a CPU", 1, "a TVM"), 100))
    assert not list(stored_samples(store, KEY, machine_of("a CPU", 2, "a TVM, built again"), 100))
    assert not list(stored_samples(store, "llvm-tvm0.26-0123456789ab", MACHINE, 100))


def test_a_file_keeps_the_newest(store: Store) -> None:
    for start in range(0, 3 * MOST_SAMPLES, 100):
        add_samples(store, KEY, MACHINE, made(*np.arange(start + 1.0, start + 101)))
    assert times(store) == list(np.arange(400 - MOST_SAMPLES + 1.0, 401))


def test_a_target_keeps_the_files_written_last(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samples, "MOST_FILES", 3)
    for number in range(6):
        add_samples(store, KEY, MACHINE, made(number + 1.0, shash=f"{number:016x}"))
    assert sorted(times(store)) == [4, 5, 6]


def test_reading_stops_at_the_bound(store: Store) -> None:
    for number in range(6):
        add_samples(store, KEY, MACHINE, made(number + 1.0, number + 1.5, shash=f"{number:016x}"))
    found = list(stored_samples(store, KEY, MACHINE, 3))
    assert [one.run_s for one in found] == [(6, 6.5), (5, 5.5)]


def test_git_leaves_them_out(store: Store) -> None:
    """Also in a store that an earlier version made."""
    add_samples(store, KEY, MACHINE, made(0.5))
    assert (store.samples / ".gitignore").read_text() == "*\n"


def test_equal_times_are_two_samples(store: Store) -> None:
    features = tuple(np.full((1, 5), value, "float32") for value in (1, 2))
    add_samples(store, KEY, MACHINE, Samples(shash=SHASH, features=features, run_s=(0.5, 0.5)))
    assert times(store) == [0.5, 0.5]


def test_old_samples_are_cleaned_up(store: Store) -> None:
    add_samples(store, KEY, MACHINE, made(0.5))
    path = samples_path(store, KEY, SHASH, MACHINE)
    assert not old_artifacts(store, before_s=path.stat().st_mtime - 1, max_bytes=None)
    (removal,) = old_artifacts(store, before_s=path.stat().st_mtime + 1, max_bytes=None)
    assert removal.path == path


def test_fallbacks_are_read(tmp_path: Path, store: Store) -> None:
    add_samples(store, KEY, MACHINE, made(0.5))
    assert times(Store(root=tmp_path / "other", fallbacks=(store.root,))) == [0.5]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no zip",
        b"PK\x03\x04",
        pytest.param("encrypted", id="encrypted"),
        pytest.param(None, id="cut"),
        pytest.param({"features": np.zeros((2, 5), "float32")}, id="arrays are missing"),
        pytest.param(
            {"features": np.zeros((2, 5), "float32"), "rows": np.array([1]), "run_s": [0.5]},
            id="rows don't add up",
        ),
        pytest.param(
            {"features": np.full((1, 5), np.nan, "float32"), "rows": np.array([1]), "run_s": [0.5]},
            id="not finite",
        ),
        pytest.param(
            {"features": np.zeros((1, 5), "float32"), "rows": np.array([1]), "run_s": [-1.0]},
            id="negative time",
        ),
    ],
)
def test_a_damaged_file_is_found_and_replaced(store: Store, content: object) -> None:
    path = samples_path(store, KEY, SHASH, MACHINE)
    add_samples(store, KEY, MACHINE, made(0.5))
    if isinstance(content, dict):
        np.savez(path, **content)
    elif content == "encrypted":
        data = bytearray(path.read_bytes())
        for start in (data.find(b"PK\x03\x04") + 6, data.find(b"PK\x01\x02") + 8):
            data[start] |= 1
        path.write_bytes(data)
    else:
        path.write_bytes(path.read_bytes()[:-30] if content is None else bytes(content))  # type: ignore[call-overload]
    assert [problem.path for problem in problems(store)] == [path]
    assert times(store) == []
    add_samples(store, KEY, MACHINE, made(0.25))
    assert times(store) == [0.25]
    assert not list(problems(store))


def test_no_pickle_is_loaded(store: Store, tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (tmp_path / "run",))  # type: ignore[return-value]

    path = samples_path(store, KEY, SHASH, MACHINE)
    path.parent.mkdir(parents=True)
    array = np.empty(1, dtype=object)
    array[0] = Evil()
    np.savez(path, features=array, rows=array, run_s=array)
    with pytest.raises(ValueError, match="pickle"):
        load_samples(path)
    assert not (tmp_path / "run").exists()


def test_merging_adds_what_is_new_and_can_be_repeated(store: Store, tmp_path: Path) -> None:
    other = open_store(tmp_path / "other")
    add_samples(store, KEY, MACHINE, made(0.5, 0.25))
    add_samples(other, KEY, MACHINE, made(0.25, 0.125))
    add_samples(other, KEY, MACHINE, made(1.0, shash=f"{1:016x}"))
    first = list(merge_samples(store, [other]))
    assert [one.changed for one in first if isinstance(one, MergedFile)] == [True, True]
    assert sorted(times(store)) == [0.125, 0.25, 0.5, 1.0]
    assert not any(
        one.changed for one in merge_samples(store, [other]) if isinstance(one, MergedFile)
    )


def test_merging_leaves_out_a_damaged_file(store: Store, tmp_path: Path) -> None:
    other = open_store(tmp_path / "other")
    add_samples(other, KEY, MACHINE, made(0.5))
    path = samples_path(other, KEY, SHASH, MACHINE)
    path.write_bytes(b"no zip")
    (left_out,) = merge_samples(store, [other])
    assert isinstance(left_out, LeftOut)
    assert left_out.path == path
    assert path.read_bytes() == b"no zip"

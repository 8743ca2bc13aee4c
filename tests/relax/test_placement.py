"""Where both sides of a comparison lie in memory: what they share, trade and have of their own."""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tvm

from pytest_tvmtune.processes.job import Job, JobContext
from pytest_tvmtune.processes.run_job import run_job
from pytest_tvmtune.processes.shared_arrays import share_arrays
from pytest_tvmtune.relax import compat
from pytest_tvmtune.relax.devices.machine import ThisMachine
from pytest_tvmtune.relax.measuring.placement import (
    _COPY_COST,
    MeasuredLibrary,
    Measurement,
    match_params,
    open_copies,
    place,
)
from pytest_tvmtune.store.artifacts import Artifact
from tests.relax.libraries import (
    Request,
    ThreeKinds,
    arrange,
    compared_of,
    compiled,
    occupy,
    products,
)
from tests.support import IMPORTABLE

RNG = np.random.default_rng(5)
X, W, V = (RNG.standard_normal(shape, "float32") for shape in ((2, 8), (8, 8), (8, 5)))
S = np.array(3.0, "float32")
EXPECTED = X @ W.T @ np.concatenate((V, V), axis=1) * S


def tensors(*values: Any) -> list[Any]:
    return [tvm.runtime.tensor(np.asarray(value)) for value in values]


def matched(*sides: Sequence[Any]) -> set[Any]:
    return set(match_params(sides))


def test_equal_bits_are_shared_equal_sizes_traded_and_the_rest_is_left() -> None:
    """The same bits under another shape or dtype are as large, no more."""
    ones = np.ones(4, "float32")
    before = tensors(ones, ones.reshape(2, 2), ones.view("int32"), S, np.zeros(7, "int8"))
    now = tensors(np.zeros(7, "int8"), S, S + 1, ones, ones.reshape(4, 1), ones * 2, ones * 3)
    shared = {((4, 0),), ((3, 1),), ((0, 3),)}
    # Of 16 bytes there are two left here and three there; nothing is as large as S + 1.
    traded = {((1, None), (None, 4)), ((2, None), (None, 5))}
    assert matched(before, now) == shared | traded | {((None, 2),), ((None, 6),)}


def test_each_is_matched_once_however_many_are_equal() -> None:
    one, other = np.ones(3, "float32"), np.zeros(3, "float32")
    groups = {((0, 0),), ((1, 1),), ((2, None), (None, 2))}
    assert matched(tensors(one, one, other), tensors(one, one, one)) == groups
    assert matched(tensors(one), tensors(one, one)) == {((0, 0),), ((None, 1),)}
    assert matched([], tensors(one)) == {((None, 0),)}


def test_nan_is_equal_to_itself_and_signed_zeros_differ() -> None:
    nan, zero = np.array([np.nan], "float32"), np.array([0.0], "float32")
    groups = matched(tensors(nan, zero), tensors(-zero, nan))
    assert groups == {((0, 1),), ((1, None), (None, 0))}


def run(
    run_: Any,
    folder: Path,
    sides: Sequence[Artifact],
    params: Sequence[Any],
    x: Any,
    **changes: Any,
) -> Any:
    """Run a job of libraries.py.

    sides: baseline, now, and the anchor, if any; changes: of the request.
    """
    request = Request(compared=compared_of(*sides, params=params, x=x), **changes)
    context = JobContext(
        scratch=folder / "tmp", log_path=folder / "job.log", timeout_s=60, num_threads=1
    )
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PYTHONPATH", IMPORTABLE)
        return run_job(Job(run=run_), request, context)


@pytest.fixture(scope="module")
def arranged(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return told(prepack of the baseline, prepack of now) -> what the job saw in three epochs."""
    folder = tmp_path_factory.mktemp("libraries")
    sides = {
        prepack: compiled(ThreeKinds, folder / f"{prepack}.so", prepack=prepack)
        for prepack in (False, True)
    }

    def told(baseline: bool, now: bool, *, large: bool = False) -> Any:
        between = (sides[baseline], sides[now])
        if not large:
            return run(arrange, folder, between, [W, V, S], X, epochs=3)
        shared_arrays = share_arrays([W, V, S], folder)
        return run(arrange, folder, between, shared_arrays.arrays, X, epochs=2, large_bytes=1)

    return told


@pytest.fixture(scope="module")
def plain_and_packed(arranged: Any) -> Any:
    """Plain parameters are w, v, s; packed ones s, then w and v as the kernels want them."""
    return arranged(False, True)


def test_every_arrangement_computes_the_same(plain_and_packed: Any) -> None:
    for epoch in plain_and_packed.epochs:
        assert len(epoch.arrangements) == 2
        for sides in epoch.arrangements:
            for side in sides:
                # One call, and two after one that isn't timed.
                assert len(side.results) == 4
                for result in side.results:
                    np.testing.assert_allclose(result, EXPECTED, rtol=1e-4)


def test_large_parameters_lie_in_files_and_each_epoch_has_copies(arranged: Any) -> None:
    told = arranged(False, True, large=True)
    # The three that were given, and what two of them became.
    assert told.mapped == [3, 5]
    for epoch in told.epochs:
        for sides in epoch.arrangements:
            for side in sides:
                assert not set(side.arguments) & set(told.own)
                for result in side.results:
                    np.testing.assert_allclose(result, EXPECTED, rtol=1e-4)


def test_the_timers_call_with_what_was_arranged(plain_and_packed: Any) -> None:
    for epoch in plain_and_packed.epochs:
        for sides in epoch.arrangements:
            assert all(set(side.arguments) <= side.touched for side in sides)


def test_equal_ones_are_shared_others_trade_places_or_have_their_own(plain_and_packed: Any) -> None:
    told = plain_and_packed
    ((s_plain, s_packed),) = (tensor for (tensor,) in told.alone if None not in tensor)
    (((w_plain, _), (_, w_packed)),) = told.trading
    assert (s_plain, w_plain) == (2, 0)
    v_plain, v_packed = 1, 3 - s_packed - w_packed
    for epoch in told.epochs:
        for plain, packed in epoch.arrangements:
            assert plain.arguments[0] == packed.arguments[0]
            assert plain.arguments[1 + s_plain] == packed.arguments[1 + s_packed]
            assert plain.arguments[1 + v_plain] != packed.arguments[1 + v_packed]
        first, second = epoch.arrangements
        places = [
            (plain.arguments[1 + w_plain], packed.arguments[1 + w_packed])
            for plain, packed in (first, second)
        ]
        assert places[0] == places[1][::-1]
        assert len(set(places[0])) == 2
        # Only they move within an epoch.
        assert set(first[0].arguments) ^ set(second[0].arguments) == set(places[0])
        # What is on neither side now is untouched by its kernels.
        assert places[0][1] not in first[0].touched


def test_each_epoch_has_copies_of_everything(plain_and_packed: Any) -> None:
    own = set(plain_and_packed.own)
    for epoch in plain_and_packed.epochs:
        for sides in epoch.arrangements:
            for side in sides:
                assert not own & set(side.arguments)
                assert not own & side.touched


def test_the_same_layout_is_shared_and_needs_one_arrangement(arranged: Any) -> None:
    told = arranged(True, True)
    assert ([None in tensor for (tensor,) in told.alone], told.trading) == ([False] * 3, [])
    for epoch in told.epochs:
        ((before, now),) = epoch.arrangements
        assert before.arguments == now.arguments
        for side in (before, now):
            np.testing.assert_allclose(side.results[0], EXPECTED, rtol=1e-4)


def test_three_tensors_trade_three_places_in_either_order(tmp_path: Path) -> None:
    """In one order alone, each side would always follow the same one."""
    library = compiled(ThreeKinds, tmp_path / "plain.so").library
    sides = tuple(
        MeasuredLibrary(library=library, params=tuple(tensors(W + side, V, S))) for side in range(3)
    )
    measurement = Measurement(
        entry="main",
        machine=ThisMachine("cpu"),
        sides=sides,
        rivals=(0, 2),
        inputs=tuple(tensors(X)),
        groups=match_params([side.params for side in sides]),
    )
    copies = open_copies(measurement, tmp_path)
    orders = set()
    for seed in range(8):
        arrangements = place(measurement, copies, random.Random(seed))
        assert len(arrangements) == 3
        places = []
        for arrangement in arrangements:
            arrangement.enter()
            given = [arguments[1] for arguments in arrangement.arguments]
            for side, tensor in enumerate(given):
                np.testing.assert_array_equal(tensor.numpy(), W + side)
            places.append([compat.address_of(tensor) for tensor in given])
        rooms = sorted(places[0])
        assert all(sorted(row) == rooms for row in (*places, *zip(*places, strict=True)))
        first, second = (rooms.index(row[0]) for row in places[:2])
        orders.add((second - first) % 3)
    assert orders == {1, 2}


def test_what_two_of_three_sides_share_trades_places_with_the_third(tmp_path: Path) -> None:
    """The anchor is plain as the baseline is, but another library."""
    plain, packed = (
        compiled(ThreeKinds, tmp_path / f"{prepack}.so", prepack=prepack)
        for prepack in (False, True)
    )
    anchor = compiled(ThreeKinds, tmp_path / "anchor.so")
    told = run(arrange, tmp_path, (plain, packed, anchor), [W, V, S], X, epochs=2)
    assert told.rivals == (0, 2)
    ((w_shared, w_packed),) = told.trading
    assert (w_shared[0], w_shared[1]) == (w_shared[2], None)
    for epoch in told.epochs:
        assert len(epoch.arrangements) == 2
        places = []
        for sides in epoch.arrangements:
            for side in sides:
                for result in side.results:
                    np.testing.assert_allclose(result, EXPECTED, rtol=1e-4)
            before, now, old = (side.arguments for side in sides)
            assert before == old
            places.append((before[1 + w_shared[0]], now[1 + w_packed[1]]))
        assert places[0] == places[1][::-1]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/maps")
def test_each_epoch_maps_the_libraries_anew_and_leaves_no_file(plain_and_packed: Any) -> None:
    mapped = [epoch.mapped for epoch in plain_and_packed.epochs]
    assert [len(these) for these in mapped] == [2, 4, 6]
    assert mapped[0] < mapped[1] < mapped[2]
    assert len({address for address, _ in mapped[2]}) == 6
    assert plain_and_packed.left == []


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/maps")
def test_beyond_the_budget_the_copies_that_are_there_serve_again(tmp_path: Path) -> None:
    one, other = (
        compiled(ThreeKinds, tmp_path / f"{prepack}.so", prepack=prepack)
        for prepack in (False, True)
    )
    twice = 2 * sum(_COPY_COST * side.library.stat().st_size for side in (one, other))
    for now, budget_bytes, copies in ((other, twice, [2, 4, 4, 4]), (one, 0, [2, 2, 2, 2])):
        told = run(
            arrange, tmp_path, (one, now), [W, V, S], X, epochs=4,
            budget_bytes=budget_bytes,
        )  # fmt: skip
        assert [len(epoch.mapped) for epoch in told.epochs] == copies
        for epoch in told.epochs:
            for side in epoch.arrangements[0]:
                np.testing.assert_allclose(side.results[0], EXPECTED, rtol=1e-4)


def test_memory_does_not_grow_with_the_epochs(tmp_path: Path) -> None:
    params = [RNG.standard_normal((512, 512), "float32") for _ in range(16)]
    side = compiled(products(16, 512), tmp_path / "products.so")
    x = RNG.standard_normal((1, 512), "float32")
    occupied = run(occupy, tmp_path, (side, side), params, x, epochs=30)
    assert occupied[-1] - occupied[9] < 2 * sum(param.nbytes for param in params)

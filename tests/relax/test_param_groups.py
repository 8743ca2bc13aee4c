"""Which parameters share a tensor, and which trade places, for two sides and for three."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pytest_tvmtune.relax.measuring.param_groups import group_params, places_of

PARAMS = st.lists(
    st.integers(0, 4).map(lambda number: (f"bits {number}", 8 * (number % 3))), max_size=6
)


@given(st.lists(PARAMS, min_size=2, max_size=3))
def test_each_parameter_is_in_one_group(sides: list[list[tuple[str, int]]]) -> None:
    groups = group_params(sides)
    found = [place for group in groups for tensor in group for place in places_of(tensor)]
    every = [(side, index) for side, params in enumerate(sides) for index in range(len(params))]
    assert sorted(found) == every
    for group in groups:
        of_group = [place for tensor in group for place in places_of(tensor)]
        # Each side once at most, and all as large.
        assert len({side for side, _ in of_group}) == len(of_group)
        assert len({sides[side][index][1] for side, index in of_group}) == 1
        for tensor in group:
            assert len({sides[side][index][0] for side, index in places_of(tensor)}) == 1


def test_what_two_sides_share_trades_places_with_what_the_third_has() -> None:
    plain, packed = [("w", 64), ("s", 4)], [("s", 4), ("packed w", 64)]
    assert set(group_params([plain, packed, plain])) == {
        ((0, None, 0), (None, 1, None)),
        ((1, 0, 1),),
    }
    assert group_params([[("a", 8)], [("b", 8)], [("c", 8)]]) == (
        ((0, None, None), (None, 0, None), (None, None, 0)),
    )


def test_no_parameters_make_no_group() -> None:
    assert group_params([[], [], []]) == ()

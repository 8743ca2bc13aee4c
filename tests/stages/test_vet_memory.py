"""The plan of the memory that both sides of `tvmtune vet` map."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from pytest_tvmtune.relax.turns.requests import ArgumentBits, Slot
from pytest_tvmtune.stages.latency.turns import plan_memory


def bits(name: int, size_bytes: int) -> ArgumentBits:
    return ArgumentBits(shape=(size_bytes,), dtype="uint8", digest=str(name), size_bytes=size_bytes)


ARGUMENTS = st.lists(
    st.builds(bits, st.integers(0, 3), st.sampled_from([0, 1, 64, 100])), max_size=6
)


def ranges(slots: tuple[Slot, ...], arguments: list[ArgumentBits]) -> list[tuple[int, int]]:
    return sorted((s.offset, s.offset + arguments[s.index].size_bytes) for s in slots)


@given(ARGUMENTS, ARGUMENTS, st.integers(0, 10_000))
def test_each_argument_has_a_place(
    old: list[ArgumentBits], new: list[ArgumentBits], start: int
) -> None:
    plan = plan_memory(old, new, start)
    for side, arguments in enumerate((old, new)):
        for arrangement in range(plan.arrangements):
            traded = plan.traded[side][arrangement] if plan.traded[side] else ()
            slots = (*plan.fixed[side], *traded)
            assert sorted(slot.index for slot in slots) == list(range(len(arguments)))
            places = ranges(slots, arguments)
            assert all(begin % 64 == 0 and begin >= start for begin, _ in places)
            assert all(end <= plan.size_bytes for _, end in places)
            filled = [(begin, end) for begin, end in places if end > begin]
            assert all(end <= begin for (_, end), (begin, _) in pairwise(filled))


def test_equal_arguments_share_a_place_that_one_side_writes() -> None:
    plan = plan_memory([bits(0, 8), bits(1, 8)], [bits(1, 8), bits(0, 8)], 0)
    first, second = ({slot.index: slot for slot in side} for side in plan.fixed)
    assert first[0].offset == second[1].offset
    assert first[1].offset == second[0].offset
    assert all(slot.is_written for slot in first.values())
    assert not any(slot.is_written for slot in second.values())
    assert plan.arrangements == 1


def test_other_arguments_of_one_size_trade_places() -> None:
    plan = plan_memory([bits(0, 8)], [bits(1, 8)], 0)
    assert plan.arrangements == 2
    (old_first,), (old_second,) = plan.traded[0]
    (new_first,), (new_second,) = plan.traded[1]
    assert (old_first.offset, old_second.offset) == (new_second.offset, new_first.offset)
    assert old_first.offset != new_first.offset

"""Which parameters of the sides of a comparison share a tensor, and which trade places."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence

# A tensor: its index in the parameters of each side, None for a side that doesn't have it.
ParamTensor = tuple[int | None, ...]
# Tensors that trade places: all are as large, and each side has one of them at most.
ParamGroup = tuple[ParamTensor, ...]


def group_params(sides: Sequence[Sequence[tuple[Hashable, int]]]) -> tuple[ParamGroup, ...]:
    """Return all parameters of all sides, each in one group.

    Args:
        sides: (bits, bytes) of each parameter of each side. The bits are a value that is equal
            where the shape, the dtype, and all bits are.
    """
    tensors: dict[tuple[Hashable, int], list[int | None]] = {}
    sizes: dict[tuple[Hashable, int], int] = {}
    for side, params in enumerate(sides):
        seen: Counter[Hashable] = Counter()
        for index, (bits, size_bytes) in enumerate(params):
            # The same bits may be there more than once.
            key = (bits, seen[bits])
            seen[bits] += 1
            tensors.setdefault(key, [None] * len(sides))[side] = index
            sizes[key] = size_bytes
    groups: list[list[ParamTensor]] = []
    of_size: dict[int, list[list[ParamTensor]]] = {}
    for key, indices in tensors.items():
        tensor, alike = tuple(indices), of_size.setdefault(sizes[key], [])
        group = next((group for group in alike if _have_no_side_in_common(group, tensor)), None)
        if group is None:
            group = []
            groups.append(group)
            alike.append(group)
        group.append(tensor)
    return tuple(map(tuple, groups))


def places_of(tensor: ParamTensor) -> list[tuple[int, int]]:
    """Return (side, index) of a tensor in the parameters of each side that has it."""
    return [(side, index) for side, index in enumerate(tensor) if index is not None]


def _have_no_side_in_common(group: Sequence[ParamTensor], tensor: ParamTensor) -> bool:
    return all(None in pair for other in group for pair in zip(other, tensor, strict=True))

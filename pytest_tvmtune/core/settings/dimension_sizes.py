"""Dynamic dimensions: their sizes by name, and the lines to write if no setting gives a size."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from textwrap import indent

from pytest_tvmtune.core.errors import GivenError, OptionError
from pytest_tvmtune.core.settings.quantities import parse_count

MAX_SIZE = 2**31 - 1
# What a dynamic dimension without a name is called.
UNNAMED = "?"
# What a dimension is that nothing sets.
UNSET_SIZE = 1
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_INDENT = "    "


@dataclass(frozen=True, kw_only=True)
class Dims:
    """Sizes of dynamic dimensions, by their names.

    own: the names that the test itself sets; its model must have them. What the whole run sets
    need not be in each model.
    """

    sizes: Mapping[str, int] = field(default_factory=dict)
    own: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class DynamicInput:
    """An input whose shape isn't static in the model.

    declared: a size, a name or UNNAMED for each dimension, None without a rank. sizes: those it
    got, empty where there is no rank. unset: the dimensions that nothing sets.
    """

    name: str
    declared: tuple[int | str, ...] | None
    sizes: tuple[int, ...] = ()
    unset: tuple[int, ...] = ()

    @property
    def needs_shape(self) -> bool:
        """Whether names of dimensions don't say all of its shape."""
        return self.declared is None or UNNAMED in self.declared

    def __str__(self) -> str:
        shape = "no rank" if self.declared is None else ", ".join(map(str, self.declared))
        return f"{self.name!r} ({shape})"


def parse_dims(value: object, where: str) -> dict[str, int]:
    """Return sizes by name.

    Args:
        value: A table, or one or several texts `NAME=SIZE`, of which the last one counts.
        where: Where it was given, for messages.

    Raises:
        OptionError: It is none of these, or a size is out of range.
    """
    if isinstance(value, Mapping):
        pairs = list(value.items())
    else:
        pairs = [_pair(text, where) for text in (value if isinstance(value, list) else [value])]
    for name, _ in pairs:
        if not isinstance(name, str) or not name.strip():
            raise OptionError(f"{where}: {name!r} is not the name of a dimension")
    return {
        name.strip(): parse_count(size, f"{where}: {name.strip()}", minimum=1, maximum=MAX_SIZE)
        for name, size in pairs
    }


def _pair(text: object, where: str) -> tuple[str, str]:
    # A name may hold an equals sign, a size can't.
    name, equals, size = text.rpartition("=") if isinstance(text, str) else ("", "", "")
    if not equals:
        raise OptionError(
            f"{where}: {text!r} is not NAME=SIZE, such as batch=1; in a marker, give a dict of "
            "sizes by name, and in a sidecar, a table"
        )
    return name, size


def check_names(dims: Dims, inputs: Sequence[DynamicInput], label: str) -> None:
    """Check that a model has all dimensions that its own test sets.

    Args:
        dims: Sizes by name.
        inputs: Those of the model whose shapes aren't static.
        label: The model, for messages.

    Raises:
        GivenError: The test sets a dimension that its model doesn't have.
    """
    known = names_of(inputs)
    if unknown := sorted(dims.own - {*known}):
        has = (
            f"the model's dynamic dimensions are {', '.join(known)}"
            if known
            else "no dynamic dimension of the model has a name"
        )
        error = GivenError(f"{label}: dims has {unknown[0]!r}, but {has}")
        error.dynamic = inputs
        raise error


def names_of(inputs: Sequence[DynamicInput]) -> list[str]:
    """Return the names of dimensions, in the order of the inputs."""
    dims = (dim for one in inputs for dim in one.declared or ())
    return list(dict.fromkeys(d for d in dims if isinstance(d, str) and d != UNNAMED))


def sizes_by_name(inputs: Sequence[DynamicInput]) -> dict[str, int]:
    """Return what each dimension with a name got; where inputs differ, in the first of them."""
    sizes: dict[str, int] = {}
    for one in inputs:
        for dim, size in zip(one.declared or (), one.sizes, strict=False):
            if isinstance(dim, str) and dim != UNNAMED:
                sizes.setdefault(dim, size)
    return sizes


def unset_sentence(inputs: Sequence[DynamicInput], sidecar: str) -> str:
    """Return the dimensions that no setting gives a size, and the lines to write; "" without any.

    Args:
        inputs: Those of the model whose shapes aren't static.
        sidecar: Where the options of a model file are, "" for a test function.
    """
    unset = [one for one in inputs if one.unset]
    if not unset:
        return ""
    names = {(one.declared or ())[index]: None for one in unset for index in one.unset}
    listed = [str(name) for name in names if name != UNNAMED]
    for one in unset:
        numbers = [str(index) for index in one.unset if (one.declared or ())[index] == UNNAMED]
        if numbers:
            word = "dimension" if len(numbers) == 1 else "dimensions"
            listed.append(f"{word} {', '.join(numbers)} of {one.name!r}")
    return (
        f"no setting gives these dynamic dimensions a size, so each is {UNSET_SIZE}: "
        f"{', '.join(listed)}. "
        f"{_how_to_set(unset, sidecar)}"
    )


def shapes_sentence(inputs: Sequence[DynamicInput], sidecar: str) -> str:
    """Return the inputs whose shapes aren't static, as a possible reason for a failure.

    Args:
        inputs: Those of the model whose shapes aren't static.
        sidecar: Where the options of a model file are, "" for a test function.
    """
    unset = any(one.unset for one in inputs)
    return (
        f"Dynamic inputs of the model: {', '.join(map(str, inputs))}"
        f"{f'; a dimension without a size in the settings is {UNSET_SIZE}' if unset else ''}. "
        f"{_how_to_set(inputs, sidecar)}"
    )


def _how_to_set(inputs: Sequence[DynamicInput], sidecar: str) -> str:
    if sidecar:
        return f"Set them in {sidecar}:\n{indent(toml_of(inputs), _INDENT)}"
    return f"Set them in the test:\n{indent(_python_of(inputs), _INDENT)}"


def toml_of(inputs: Sequence[DynamicInput]) -> str:
    """Return the tables [dims] and [shapes] of a sidecar for these inputs."""
    dims, shapes = _tables(inputs)
    lines = []
    if dims:
        lines += ["[dims]", *(f"{_key(name)} = {size}" for name, size in dims.items())]
    if dims and shapes:
        lines.append("")
    if shapes:
        lines.append("[shapes]")
        for one, sizes in shapes:
            lines.append(f"{_key(one.name)} = [{', '.join(map(str, sizes))}]  # {_shape(one)}")
    return "\n".join(lines)


def _python_of(inputs: Sequence[DynamicInput]) -> str:
    dims, shapes = _tables(inputs)
    lines = []
    if dims:
        named = ", ".join(f"{name!r}: {size}" for name, size in dims.items())
        lines.append(f"@pytest.mark.tvm_tune(dims={{{named}}})")
    if shapes:
        named = ", ".join(f"{one.name!r}: {sizes}" for one, sizes in shapes)
        lines.append(f"tvm_tune(model, shapes={{{named}}})")
    return "\n".join(lines)


def _tables(
    inputs: Sequence[DynamicInput],
) -> tuple[dict[str, int], list[tuple[DynamicInput, tuple[int, ...]]]]:
    """Return sizes by name of dimension, and the shapes of those inputs that need one."""
    named = [one for one in inputs if not one.needs_shape]
    known = sizes_by_name(named)
    dims = {name: known.get(name, UNSET_SIZE) for name in names_of(named)}
    return dims, [(one, _sizes(one)) for one in inputs if one.needs_shape]


def _sizes(one: DynamicInput) -> tuple[int, ...]:
    if one.sizes or one.declared is None:
        return one.sizes or (UNSET_SIZE,)
    return tuple(dim if isinstance(dim, int) else UNSET_SIZE for dim in one.declared)


def _shape(one: DynamicInput) -> str:
    if one.declared is None:
        return "no rank: give all sizes"
    # A name may hold anything, a comment no line break.
    return f"({', '.join(map(str, one.declared))})".replace("\n", " ")


def _key(name: str) -> str:
    return name if _BARE_KEY.fullmatch(name) else json.dumps(name, ensure_ascii=False)

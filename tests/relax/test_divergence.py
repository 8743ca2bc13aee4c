"""Ground truth for the search of the first diverging kernel: models with one known fault."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tvm
from tvm import relax

from pytest_tvmtune.core.comparing.divergence import Divergence
from pytest_tvmtune.core.comparing.tolerances import Tolerance
from pytest_tvmtune.core.json_codec import from_binary, to_binary
from pytest_tvmtune.processes.job import WorkerContext
from pytest_tvmtune.relax import compat
from pytest_tvmtune.relax.diagnosing.divergence_job import run
from pytest_tvmtune.store.artifacts import Artifact
from tests.relax.layers import COUNT, WEIGHTS, X, build, divergence_request, entry_call, layers
from tests.relax.reproducing import reproduced

Find = Callable[..., Divergence]


@pytest.fixture(scope="module")
def right(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return build(layers(), tmp_path_factory.mktemp("right"), prepack=False)


@pytest.fixture
def find(right: Artifact, tmp_path: Path) -> Find:
    """Return find(build under test, **changes of the request) -> Divergence."""

    def found(now: Artifact, **changes: Any) -> Divergence:
        request = divergence_request(right, now, WEIGHTS, [X], tmp_path / "reproducer")
        context = WorkerContext[None](folder=tmp_path)
        told = run(replace(request, **changes), context)
        assert from_binary(to_binary(told), Divergence) == told
        return told

    return found


BOTH = pytest.mark.parametrize("prepack", [False, True], ids=["plain", "prepack"])


@BOTH
@pytest.mark.parametrize("number", range(COUNT))
def test_the_wrong_kernel_is_named_first(
    find: Find, tmp_path: Path, number: int, prepack: bool
) -> None:
    kind = ("short", "nan", "one")[number % 3]
    told = find(build(layers(number, kind), tmp_path / "wrong", prepack=prepack))
    letter = chr(ord("a") + number)
    assert (told.kind, told.kernel.rstrip("1"), told.other) == (
        "kernel",
        f"layer{letter}",
        f"layer{letter}",
    )
    assert told.input_error is not None
    assert told.input_error < 1e-5
    assert not told.tuned
    assert told.output is not None
    assert told.output.shape == (3, WEIGHTS[number].shape[0])
    assert told.output.unexpected_nan == (kind == "nan")
    if kind != "short":
        assert told.output.mismatches == 1
    transposes = 0 if prepack else number + 1
    assert (told.call, told.calls) == (number + transposes, COUNT if prepack else 2 * COUNT)
    assert f"first diverging kernel: {told.kernel} (untuned)" in told.sentence()
    if number in (4, 7):
        assert f"of {told.kernel}: " in reproduced(Path(told.reproducer))


@BOTH
def test_the_same_numbers_diverge_nowhere(find: Find, tmp_path: Path, prepack: bool) -> None:
    told = find(build(layers(rounds={3: 2}), tmp_path / "same", prepack=prepack))
    assert (told.kind, told.kernel[:5], told.reproducer) == ("none", "layer", "")
    assert "no kernel diverges from the right one" in told.sentence()


@pytest.mark.each_version
def test_a_tolerance_of_the_users_own_counts(find: Find, tmp_path: Path) -> None:
    now = build(layers(4, "one"), tmp_path / "wrong", prepack=False)
    assert find(now, tolerance=Tolerance(atol=0.2)).kind == "none"
    assert find(now, tolerance=Tolerance(atol=0.05)).kind == "kernel"


def transform(lowered: Any, made: Callable[[relax.BlockBuilder, Any], list[Any]]) -> Any:
    """Return a lowered module with another transform: made(builder, params) are what it returns."""
    old = lowered["main_transform_params"]
    params = relax.Var("params", compat.type_of(old.params[0]))
    builder = relax.BlockBuilder()
    with builder.function("main_transform_params", [params], attrs={"num_input": 0}):
        with builder.dataflow():
            out = builder.emit_output(relax.Tuple(made(builder, params)))
        builder.emit_func_output(out)
    changed = tvm.IRModule(dict(lowered.functions_items()))
    changed.update_func(
        changed.get_global_var("main_transform_params"),
        builder.finalize()["main_transform_params"],
    )
    return relax.transform.LegalizeOps()(changed)


def square(count: int = 4, size: int = 16) -> tuple[Any, list[Any], Any]:
    """Return a module of square weights, whose shapes tell nothing; its params and input."""
    weights = [RNG.standard_normal((size, size)).astype("float32") for _ in range(count)]
    x = relax.Var("x", compat.tensor_type()((2, size), "float32"))
    names = [
        relax.Var(f"w{i}", compat.tensor_type()((size, size), "float32")) for i in range(count)
    ]
    builder = relax.BlockBuilder()
    with builder.function("main", [x, *names], attrs={"num_input": 1}):
        with builder.dataflow():
            value: Any = x
            for name in names:
                value = builder.emit(relax.op.matmul(value, relax.op.permute_dims(name)))
                value = builder.emit(relax.op.nn.relu(value))
            result = builder.emit_output(value)
        builder.emit_func_output(result)
    return builder.finalize(), weights, RNG.standard_normal((2, size)).astype("float32")


RNG = np.random.default_rng(3)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (
            lambda b, p: [b.emit(relax.TupleGetItem(p, i)) for i in range(4)],
            "was not transformed",
        ),
        (
            lambda b, p: [
                b.emit(relax.op.permute_dims(b.emit(relax.TupleGetItem(p, i))))
                for i in (0, 2, 1, 3)
            ],
            "is at the wrong position: parameter 2 belongs there",
        ),
        (
            lambda b, p: [
                b.emit(
                    relax.op.multiply(
                        relax.op.permute_dims(b.emit(relax.TupleGetItem(p, i))),
                        relax.const(1.0 if i == 0 else 1.5, "float32"),
                    )
                )
                for i in range(4)
            ],
            "has wrong values (25",
        ),
    ],
    ids=["left out", "permuted", "wrong values"],
)
def test_a_wrong_transform_is_named(
    find: Find, tmp_path: Path, made: Callable[..., list[Any]], said: str
) -> None:
    mod, params, x = square()
    reference = build(mod, tmp_path / "square", prepack=False)
    now = build(
        mod, tmp_path / "wrong", prepack=True, change=lambda lowered: transform(lowered, made)
    )
    told = find(now, reference=reference, call=entry_call(params, [x]))
    assert told.kind == "transform"
    position = 0 if "not transformed" in said else 1
    assert told.cause.startswith(f"parameter {position} from main_transform_params {said}")
    assert told.sentence().startswith("wrong parameter after the transform: parameter")
    assert "argument 1 differs by up to" in reproduced(Path(told.reproducer))

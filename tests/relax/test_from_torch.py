"""Models from torch, on small modules, against torch itself."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pytest_tvmtune.core.errors import GivenError, ModelError, UnsupportedOperatorError
from pytest_tvmtune.core.settings.dimension_sizes import (
    Dims,
    names_of,
    sizes_by_name,
    unset_sentence,
)
from pytest_tvmtune.core.versions import minor
from pytest_tvmtune.machine.installed_tvm import package_version
from pytest_tvmtune.relax.importing import open_model

RNG = np.random.default_rng(7)


@pytest.fixture(autouse=True)
def _warnings_are_errors() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def floats(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype("float32")


def run_in_tvm(opened: Any) -> Any:
    import tvm
    from tvm import relax

    vm = relax.VirtualMachine(tvm.compile(opened.mod, "llvm"), tvm.cpu())
    arguments = [
        tvm.runtime.tensor(np.asarray(a, order="C")) for a in (*opened.inputs, *opened.params)
    ]
    got = vm["main"](*arguments)
    return got.numpy() if hasattr(got, "numpy") else tuple(one.numpy() for one in got)


def assert_same(source: Any, **given: Any) -> Any:
    """Open, run in TVM, compare with torch's outputs, return the model."""
    opened = open_model(source, name="m", **given)
    got, want = run_in_tvm(opened), opened.references["torch"](*opened.inputs)
    assert isinstance(got, tuple) == isinstance(want, tuple)
    pairs = zip(got, want, strict=True) if isinstance(got, tuple) else [(got, want)]
    for one, other in pairs:
        assert one.dtype == other.dtype
        rtol = 2e-2 if one.dtype.itemsize < 4 else 1e-5
        exact, wide = (np.asarray(a, "float64") for a in (one, other))
        np.testing.assert_allclose(exact, wide, rtol=rtol, atol=rtol / 10)
    return opened


class Linear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(x).relu()


@pytest.mark.parametrize(
    "kind", [pytest.param("torch", marks=pytest.mark.each_version), "numpy", "by name"]
)
def test_a_module(kind: str) -> None:
    module, x = Linear().eval(), floats(2, 4)
    inputs = {"torch": (torch.from_numpy(x),), "numpy": [x], "by name": {"x": x}}[kind]
    opened = assert_same(module, inputs=inputs)
    assert [str(spec) for spec in opened.signature.inputs] == ["x: float32[2, 4]"]
    assert [param.shape for param in opened.params] == [(3, 4), (3,)]
    assert opened.signature.lifts_params
    np.testing.assert_array_equal(opened.inputs[0], x)
    # On the module's own memory: large models are not copied.
    assert np.shares_memory(opened.params[0], module.fc.weight.detach().numpy())


class Stateful(nn.Module):
    """Parameters under two names, all kinds of buffers, constants, several of everything."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(10, 4)
        self.out = nn.Linear(4, 10, bias=False)
        self.out.weight = self.embedding.weight
        self.norm = nn.BatchNorm1d(4)
        self.register_buffer("kept", torch.arange(4.0))
        self.register_buffer("passing", torch.arange(4.0) + 1, persistent=False)
        self.unused = nn.Parameter(torch.ones(7))
        self.frozen = nn.Parameter(torch.ones(4), requires_grad=False)

    def forward(
        self,
        tokens: torch.Tensor,
        nothing: None = None,
        times: int = 2,
        *,
        more: dict[str, torch.Tensor],
    ) -> dict[str, Any]:
        x = self.embedding(tokens).mean(1) * self.kept + self.passing * self.frozen
        y = self.norm(x) * times + torch.tensor([1.0, 2.0, 3.0, 4.0])
        y = y + more["a"] - more["b"]
        return {"logits": self.out(y), "both": (x, [y, None, 3])}


def test_parameters_buffers_constants_and_nested_values() -> None:
    module = Stateful().eval()
    tokens, more = torch.randint(0, 9, (3, 2)), {"b": floats(4), "a": torch.ones(4)}
    opened = assert_same(module, inputs={"more": more, "tokens": tokens, "times": 3})
    names = [spec.name for spec in opened.signature.params]
    # One for a tensor under two names, none for what nobody uses.
    assert [n for n in names if "weight" in n] == ["p_embedding_weight", "p_norm_weight"]
    assert {"b_kept", "b_passing", "b_norm_running_mean", "p_frozen"} <= set(names)
    assert not any("unused" in n or "num_batches" in n for n in names)
    assert [spec.name for spec in opened.signature.inputs] == ["more_b", "more_a", "tokens"]
    assert_same(OneTuple().eval(), inputs=(floats(3), None))


class OneTuple(nn.Module):
    def forward(self, x: torch.Tensor, y: torch.Tensor | None = None) -> tuple[torch.Tensor]:
        return (x + 1 if y is None else x + y,)


def test_a_module_keeps_its_mode_and_training_mode_is_told() -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.BatchNorm1d(4))
    module[2].eval()
    before = [part.training for part in module.modules()]
    mean = module[2].running_mean.clone()
    with pytest.warns(UserWarning, match=r"Sequential is in training mode, .*call \.eval\(\)"):
        opened = open_model(module, name="m", inputs=(floats(8, 4),))
    want = opened.references["torch"](*opened.inputs)
    assert [part.training for part in module.modules()] == before
    assert torch.equal(module[2].running_mean, mean)
    np.testing.assert_allclose(run_in_tvm(opened), want, rtol=1e-5, atol=1e-6)
    assert module[0].weight.requires_grad


def exported(module: nn.Module, *args: Any, **options: Any) -> Any:
    return torch.export.export(module.eval(), args, **options)


def test_an_exported_program_brings_its_inputs(tmp_path: Path) -> None:
    x = floats(2, 4)
    program = exported(Linear(), torch.from_numpy(x))
    np.testing.assert_array_equal(assert_same(program).inputs[0], x)
    other = floats(2, 4)
    for inputs in ((other,), {"x": other}):
        np.testing.assert_array_equal(assert_same(program, inputs=inputs).inputs[0], other)
    torch.export.save(program, tmp_path / "linear.pt2")
    assert_same(str(tmp_path / "linear.pt2"))


def test_constants_of_an_exported_program() -> None:
    tokens, more = torch.zeros(3, 2, dtype=torch.int64), {"b": torch.ones(4), "a": torch.ones(4)}
    program = torch.export.export(Stateful().eval(), (tokens, None, 5), {"more": more})
    assert_same(program)
    assert_same(program, inputs=(tokens, None, 5, more))
    assert_same(program, inputs=(tokens, more))
    with pytest.raises(
        ModelError, match="exported with times=5 as a constant; to use 6, export it"
    ):
        open_model(program, name="m", inputs=(tokens, None, 6, more))
    with pytest.raises(ModelError, match=r"1 input given, but the program takes 3: tokens"):
        open_model(program, name="m", inputs=(tokens,))
    with pytest.raises(ModelError, match="inputs has token, but the program takes tokens, more_b"):
        open_model(program, name="m", inputs={"token": tokens})


def test_dynamic_dimensions_become_those_of_the_inputs() -> None:
    batch = torch.export.Dim("batch", min=1, max=64)
    program = exported(Linear(), torch.ones(2, 4), dynamic_shapes={"x": {0: batch}})
    assert assert_same(program).inputs[0].shape == (2, 4)
    assert assert_same(program, inputs=(floats(5, 4),)).inputs[0].shape == (5, 4)


def test_dynamic_dimensions_are_set_by_the_names_that_the_program_shows() -> None:
    class Looked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(3, 4)

        def forward(self, tokens: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
            return self.table(tokens).sum(1) + x

    batch, length = torch.export.Dim("batch", min=1, max=64), torch.export.Dim("length", max=9)
    program = exported(
        Looked(),
        torch.zeros(2, 3, dtype=torch.int64),
        torch.ones(2, 4),
        dynamic_shapes={"tokens": {0: batch, 1: length}, "x": {0: batch}},
    )
    by_example = assert_same(program)
    first, second = names_of(by_example.dynamic)
    assert sizes_by_name(by_example.dynamic) == {first: 2, second: 3}
    # One is set, the other one has the example's size; made-up tokens stay inside the table.
    opened = assert_same(program, dims=Dims(sizes={first: 5}, own=frozenset({first})))
    assert [one.shape for one in opened.inputs] == [(5, 3), (5, 4)]
    assert opened.inputs[0].max() < 3
    assert unset_sentence(opened.dynamic, "") == ""
    # What the test gives counts more than what the run sets.
    given = (np.zeros((4, 3), "int64"), floats(4, 4))
    opened = open_model(program, name="m", inputs=given, dims=Dims(sizes={first: 5}))
    assert opened.inputs[0].shape == (4, 3)
    with pytest.raises(GivenError, match=rf"dims has 'batch', .* are {first}, {second}"):
        open_model(program, name="m", dims=Dims(sizes={"batch": 5}, own=frozenset({"batch"})))
    with pytest.raises(GivenError, match=rf"the size 70 of {first} is out of range; .* 1 to 64"):
        open_model(program, name="m", dims=Dims(sizes={first: 70}))
    # Nothing says how large they are.
    program.example_inputs = None
    opened = open_model(program, name="m", dims=Dims(sizes={second: 2}))
    assert [one.shape for one in opened.inputs] == [(1, 2), (1, 4)]
    assert f"so each is 1: {first}. Set them" in unset_sentence(opened.dynamic, "")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64", "int8", "uint8", "bool"])
def test_types(dtype: str) -> None:
    class Weighted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("weight", torch.ones(4).to(getattr(torch, dtype)))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x ^ self.weight if dtype == "bool" else x + self.weight

    x = np.asarray([[0, 1, 1, 0], [1, 0, 1, 1]], dtype)
    opened = assert_same(Weighted().eval(), inputs=(x,))
    assert [one.dtype.name for one in (*opened.inputs, *opened.params)] == [dtype] * 2


class Mixed(nn.Module):
    """Products and convolutions, with and without bias, which TVM imports as float32."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(2, 3, 2)
        self.plain = nn.Conv1d(3, 3, 1, bias=False)
        self.fc = nn.Linear(4, 4)
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.fc(self.plain(self.conv(x)))
        return self.attention(y, y, y, need_weights=False)[0] @ y.mT


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_products_and_convolutions_of_16_bit_floats(dtype: str) -> None:
    torch.manual_seed(1)
    module = Mixed().eval().to(getattr(torch, dtype))
    opened = assert_same(module, inputs=(np.asarray(floats(1, 2, 5), dtype),))
    assert {param.dtype.name for param in opened.params} == {dtype}


class Unsupported(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.special.bessel_j0(x) + torch.special.bessel_j0(x + 1) + torch.frexp(x)[0]


def test_unsupported_operators_are_named_and_counted() -> None:
    with pytest.raises(UnsupportedOperatorError) as caught:
        open_model(Unsupported().eval(), name="m", inputs=(floats(3),))
    assert caught.value.operators == {
        "aten.special_bessel_j0.default": 2,
        "aten.frexp.Tensor": 1,
    }
    assert "unsupported operator aten.frexp.Tensor (node 'frexp', 1 in all), aten.sp" in str(
        caught.value
    )


class Angle(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.atan2(x, x + 1)


@pytest.mark.each_version
def test_an_older_importer_names_the_version_that_has_the_converter() -> None:
    if minor(package_version("tvm")) != "0.25":
        assert_same(Angle().eval(), inputs=(floats(3),))
        return
    words = r"aten\.atan2\.default .* no converter; the importer of apache-tvm 0\.26 converts it"
    with pytest.raises(UnsupportedOperatorError, match=words):
        open_model(Angle().eval(), name="m", inputs=(floats(3),))


class Counter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return x * self.calls


class Branching(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if x.sum() > 0 else -x


class Silent(nn.Module):
    def forward(self, x: torch.Tensor) -> None:
        return None


@pytest.mark.parametrize(
    ("module", "inputs", "message"),
    [
        (Linear().eval(), None, r"needs example inputs; give tvm_tune\(module, inputs=\(x,\)\)"),
        (Linear().eval(), torch.ones(2, 4), r"inputs is a Tensor; give a tuple: inputs=\(x,\)"),
        (Linear().eval(), (torch.ones(2, 5),), "torch.export can't export it with these inputs"),
        (Linear().eval(), {"y": torch.ones(2, 4)}, "torch.export can't export it"),
        (Linear().eval().to("meta"), (torch.ones(2, 4, device="meta"),), "on the meta device"),
        (
            Counter().eval(),
            (torch.ones(2),),
            r"it changes 'calls' when .* \(buffer mutation\)",
        ),
        (Branching().eval(), (torch.ones(2),), "torch.export can't export it"),
        (Silent().eval(), (torch.ones(2),), "it returns no tensor"),
    ],
)
def test_what_can_not_be_compiled(module: nn.Module, inputs: Any, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        open_model(module, name="m", inputs=inputs)


def test_what_belongs_to_another_door_is_refused(tmp_path: Path) -> None:
    options: list[dict[str, Any]] = [
        {"params": [floats(4, 3)]},
        {"shapes": {"x": (1, 4)}},
        {"spec": {}},
    ]
    for option in options:
        with pytest.raises(ModelError):
            open_model(Linear().eval(), name="m", inputs=(floats(2, 4),), **option)
    with pytest.raises(ModelError, match="no such file"):
        open_model(tmp_path / "gone.pt2", name="m")
    (tmp_path / "text.pt2").write_text("once upon a time")
    with pytest.raises(ModelError, match=r"torch\.export\.load can't read it"):
        open_model(tmp_path / "text.pt2", name="m")

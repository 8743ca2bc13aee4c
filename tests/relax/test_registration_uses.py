"""Which registrations can change what becomes of a model: all that isn't known to be of no use."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tvm import relax
from tvm.ir import IRModule
from tvm.script import relax as R  # noqa: N812

from pytest_tvmtune.processes.setup_modules import use_setup
from pytest_tvmtune.relax.installation.registration_uses import concerns
from pytest_tvmtune.relax.installation.registrations import Registration


@pytest.fixture
def exponential() -> IRModule:
    """Return a module that holds one operator, relax.exp."""
    builder = relax.BlockBuilder()
    x = relax.Var("x", R.Tensor((16,), "float32"))
    with builder.function("main", [x]):
        with builder.dataflow():
            y = builder.emit_output(builder.emit(relax.op.exp(x)))
        builder.emit_func_output(y)
    return builder.get()


@pytest.fixture
def setup_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    path = tmp_path_factory.mktemp("setup") / "setup_of_uses.py"
    path.touch()
    use_setup([str(path)])
    yield
    use_setup([])


def counts(kind: str, name: str, mod: IRModule) -> bool:
    return concerns(Registration(kind=kind, name=name, file="test_it.py", line=1), mod)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("FLegalize of relax.exp", True),
        ("FLegalize of relax.add", False),
        # What the kernel of relax.exp calls, and what passes look at.
        ("llvm.FLowerIntrinsic of tirx.exp", True),
        ("default.FLegalize of tirx.exp", True),
        ("TMixedPrecisionPolicy of relax.add", True),
        ("FPurity of relax.call_tir", True),
    ],
)
def test_only_the_lowering_of_an_operator_it_lacks_is_let_pass(
    exponential: IRModule, name: str, expected: bool
) -> None:
    assert counts("operator attribute", name, exponential) is expected
    assert counts("removal of operator attribute", name, exponential) is expected


@pytest.mark.usefixtures("setup_module")
def test_lowerings_of_the_setup_may_make_any_operator(exponential: IRModule) -> None:
    assert counts("operator attribute", "FLegalize of relax.add", exponential)

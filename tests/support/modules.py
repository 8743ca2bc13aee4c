"""Small modules that show every shape an entry function can have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tvm import relax
from tvm.script import ir as I  # noqa: N812
from tvm.script import relax as R  # noqa: N812
from tvm.script import tirx as T  # noqa: N812

from pytest_tvmtune.relax import compat

# What the fixture `open_` is: (mod, **settings and source) -> Case.
OpenCase = Callable[..., Any]


@I.ir_module
class Square:
    """A square weight: without the parameter transform the ranks and shapes still fit."""

    @R.function
    def main(x: R.Tensor((2, 8), "float32"), w: R.Tensor((8, 8), "float32")) -> R.Tensor(
        (2, 8), "float32"
    ):
        R.func_attr({"num_input": 1})
        with R.dataflow():
            wt = R.permute_dims(w)
            gv = R.matmul(x, wt)
            R.output(gv)
        return gv


@I.ir_module
class Halves:
    """Long sums in float16."""

    @R.function
    def main(x: R.Tensor((4, 512), "float16"), w: R.Tensor((512, 64), "float16")) -> R.Tensor(
        (4, 64), "float16"
    ):
        R.func_attr({"num_input": 1})
        with R.dataflow():
            gv = R.matmul(x, w)
            R.output(gv)
        return gv


@I.ir_module
class Gathers:
    """Two kernels; the second one takes its input as indices."""

    @T.prim_func(private=True, s_tir=True)
    def plus_one(x: T.Buffer((T.int64(4),), "int32"), y: T.Buffer((T.int64(4),), "int32")):
        for i in range(T.int64(4)):
            with T.sblock("b"):
                vi = T.axis.remap("S", [i])
                y[vi] = x[vi] + 1

    @T.prim_func(private=True, s_tir=True)
    def gather(
        x: T.Buffer((T.int64(4),), "int32"),
        y: T.Buffer((T.int64(4),), "int32"),
        z: T.Buffer((T.int64(4),), "int32"),
    ):
        for i in range(T.int64(4)):
            with T.sblock("b"):
                vi = T.axis.remap("S", [i])
                z[vi] = y[x[vi]]

    @R.function
    def main(x: R.Tensor((4,), "int32")) -> R.Tensor((4,), "int32"):
        R.func_attr({"num_input": 1})
        cls = Gathers
        with R.dataflow():
            y = R.call_tir(cls.plus_one, (x,), R.Tensor((4,), "int32"))
            z = R.call_tir(cls.gather, (x, y), R.Tensor((4,), "int32"))
            R.output(z)
        return z


@I.ir_module
class Scatters:
    """What TVM can't compile with `cpu_weight_prepack`."""

    @R.function
    def main(
        x: R.Tensor((4, 4), "float32"),
        at: R.Tensor((2, 4), "int64"),
        new: R.Tensor((2, 4), "float32"),
    ) -> R.Tensor((4, 4), "float32"):
        R.func_attr({"num_input": 3})
        with R.dataflow():
            gv = R.scatter_elements(x, at, new, axis=0)
            R.output(gv)
        return gv


@I.ir_module
class SquareAndLayer:
    """Square, and one layer more."""

    @R.function
    def main(
        x: R.Tensor((2, 8), "float32"),
        w: R.Tensor((8, 8), "float32"),
        w2: R.Tensor((5, 8), "float32"),
    ) -> R.Tensor((2, 5), "float32"):
        R.func_attr({"num_input": 1})
        with R.dataflow():
            wt = R.permute_dims(w)
            hidden = R.matmul(x, wt)
            w2t = R.permute_dims(w2)
            gv = R.matmul(hidden, w2t)
            R.output(gv)
        return gv


@I.ir_module
class NotMain:
    """The entry has another name."""

    @R.function
    def encode(
        x: R.Tensor((2, 4), "float32"),
        w: R.Tensor((6, 4), "float32"),
        b: R.Tensor((6,), "float32"),
    ) -> R.Tensor((2, 6), "float32"):
        R.func_attr({"num_input": 1})
        with R.dataflow():
            gv = R.add(R.matmul(x, R.permute_dims(w)), b)
            R.output(gv)
        return gv


@I.ir_module
class TwoEntries:
    """Two entries with parameters of their own."""

    @R.function
    def encode(x: R.Tensor((2, 4), "float32"), w: R.Tensor((6, 4), "float32")) -> R.Tensor(
        (2, 6), "float32"
    ):
        R.func_attr({"num_input": 1})
        with R.dataflow():
            gv = R.matmul(x, R.permute_dims(w))
            R.output(gv)
        return gv

    @R.function
    def decode(y: R.Tensor((2, 6), "float32"), v: R.Tensor((4, 6), "float32")) -> R.Tensor(
        (2, 4), "float32"
    ):
        R.func_attr({"num_input": 1})
        with R.dataflow():
            gv = R.matmul(y, R.permute_dims(v))
            R.output(gv)
        return gv


@I.ir_module
class NoNumInput:
    """Nothing says where parameters begin, so nothing is lifted."""

    @R.function
    def main(x: R.Tensor((2, 4), "float32"), w: R.Tensor((4, 6), "float32")) -> R.Tensor(
        (2, 6), "float32"
    ):
        with R.dataflow():
            gv = R.matmul(x, w)
            R.output(gv)
        return gv


@I.ir_module
class Nested:
    """Outputs in a tuple within a tuple."""

    @R.function
    def main(
        x: R.Tensor((2, 4), "float32"),
    ) -> R.Tuple(
        R.Tensor((2, 4), "float32"),
        R.Tuple(R.Tensor((2, 4), "float32"), R.Tensor((4, 2), "float32")),
    ):
        R.func_attr({"num_input": 1})
        with R.dataflow():
            a = R.nn.relu(x)
            b = R.exp(x)
            c = R.permute_dims(x)
            gv = (a, (b, c))
            R.output(gv)
        return gv


@I.ir_module
class Types:
    """Integer, bool and double tensors, and a tensor of rank 0."""

    @R.function
    def main(
        i: R.Tensor((3,), "int32"),
        m: R.Tensor((3,), "bool"),
        d: R.Tensor((3,), "float64"),
        s: R.Tensor((), "int64"),
    ) -> R.Tuple(
        R.Tensor((3,), "int32"),
        R.Tensor((3,), "bool"),
        R.Tensor((3,), "float64"),
        R.Tensor((), "int64"),
    ):
        R.func_attr({"num_input": 4})
        with R.dataflow():
            a = R.add(i, i)
            b = R.logical_not(m)
            c = R.multiply(d, d)
            e = R.add(s, s)
            gv = (a, b, c, e)
            R.output(gv)
        return gv


@I.ir_module
class NoTasks:
    """Nothing to tune: the input comes back."""

    @R.function
    def main(x: R.Tensor((2, 4), "float32")) -> R.Tensor((2, 4), "float32"):
        R.func_attr({"num_input": 1})
        return x


@I.ir_module
class Scaled:
    """A parameter of rank 0 beside a square weight."""

    @R.function
    def main(
        x: R.Tensor((2, 8), "float32"),
        w: R.Tensor((8, 8), "float32"),
        s: R.Tensor((), "float32"),
    ) -> R.Tensor((2, 8), "float32"):
        R.func_attr({"num_input": 1})
        with R.dataflow():
            wt = R.permute_dims(w)
            p = R.matmul(x, wt)
            gv = R.multiply(p, s)
            R.output(gv)
        return gv


@I.ir_module
class TwoLayers:
    """Both layers are one kernel, and their weights, relaid, have one shape."""

    @R.function
    def main(
        x: R.Tensor((4, 48), "float32"),
        v: R.Tensor((48, 48), "float32"),
        w: R.Tensor((48, 48), "float32"),
    ) -> R.Tensor((4, 48), "float32"):
        R.func_attr({"num_input": 1})
        with R.dataflow():
            y = R.nn.relu(R.matmul(x, v))
            z = R.nn.relu(R.matmul(y, w))
            R.output(z)
        return z


def layer(rows: int, width: int, outputs: int) -> Any:
    """Return a module of two tasks: a transposed weight, and a product with relu."""
    builder = relax.BlockBuilder()
    x = relax.Var("x", compat.tensor_type()((rows, width), "float32"))
    w = relax.Var("w", compat.tensor_type()((outputs, width), "float32"))
    with builder.function("main", [x, w], attrs={"num_input": 1}):
        with builder.dataflow():
            product = relax.op.matmul(x, relax.op.permute_dims(w))
            result = builder.emit_output(relax.op.nn.relu(product))
        builder.emit_func_output(result)
    return builder.finalize()


# So large that schedules are faster than the untuned kernel.
LargeLayer = layer(64, 128, 128)

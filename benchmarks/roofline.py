"""The measured peak of this machine, and the share of it that the kernels of real models reach.

Usage: python benchmarks/roofline.py [TRIALS] [STORE]   models, tuned with so many trials each
       python benchmarks/roofline.py half                a kernel that does its work twice

The models are Magika and PP-OCR's classifier of directions, which `make example-all` installs. They
are compiled for this CPU (target `host`), untuned with 0 trials, the default. STORE keeps what was
tuned. `half` times a product of matrices whose loops run once, and twice: its share of the peak
should be half. It prints five rounds.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "example_suite")]

import numpy as np  # noqa: E402

KERNELS = 5
BUDGET_S = 5.0
SIZE = 256
MODELS = {
    "Magika": ("magika", "model.onnx", {"bytes": (1, 2048)}),
    "PP-OCR cls": (
        "rapidocr-onnxruntime",
        "ch_ppocr_mobile_v2.0_cls_infer.onnx",
        {"x": (1, 3, 48, 192)},
    ),
}


def main(arguments: list[str]) -> None:
    print(f"load average {os.getloadavg()[0]:.2f} at the start")
    half = arguments[:1] == ["half"]
    trials = int(arguments[0]) if arguments and not half else 0
    with tempfile.TemporaryDirectory() as temporary:
        store = Path(arguments[1] if len(arguments) > 1 else temporary)
        if half:
            show_half(store)
        else:
            show_models(store, trials)
    print(f"load average {os.getloadavg()[0]:.2f} at the end")


def show_models(store: Path, trials: int) -> None:
    """Print the slowest kernels of each model."""
    from onnx_models import model_file

    from pytest_tvmtune.report.roofline_words import PEAK_HEADINGS, peak_cells, peak_words
    from pytest_tvmtune.report.text_tables import format_percent, format_seconds, table_lines

    for name, (wheel, file, shapes) in MODELS.items():
        table = kernels_of(store, model_file(wheel, file), trials=trials, shapes=shapes)
        slowest = sorted(table.rows, key=lambda row: -row.now_s)[:KERNELS]
        print(f"\n{name}, {trials} trials: {format_seconds(table.end_to_end_s)} for a call")
        print(peak_words(table.peak))
        rows = [
            (row.name, format_seconds(row.now_s), format_percent(row.share), *peak_cells(row))
            for row in slowest
        ]
        print(*table_lines(("kernel", "time", "share", *PEAK_HEADINGS), rows), sep="\n")
        print(f"all kernels together: {format_percent(table.roof_share)} of the peak")


def show_half(store: Path) -> None:
    """Print the share of a kernel that does its work once, and twice."""
    from pytest_tvmtune.report.text_tables import format_percent, format_seconds

    x, w = (np.ones((SIZE, SIZE), "float32") for _ in range(2))
    for _ in range(5):
        shares = []
        for rounds in (1, 2):
            table = kernels_of(store, product(rounds), params=[w], inputs=[x])
            (row,) = (one for one in table.rows if one.possible_s is not None)
            shares.append(row.roof_share)
            words = f"{format_seconds(row.now_s)}, {format_percent(row.roof_share)} of the peak"
            print(f"{rounds} times: {words}; {row.flop} FLOP, bound by {row.bound}")
        print(f"share of the second / share of the first: {shares[1] / shares[0]:.3f}")


def kernels_of(store: Path, source: Any, *, trials: int = 0, **given: Any) -> Any:
    """Return the table of kernels of a model for this CPU, tuned with so many trials."""
    from pytest_tvmtune.stages.latency.paired_measurement import time_kernels
    from pytest_tvmtune.store.layout import open_store
    from tests.support.cases import build_of, opener

    open_ = opener(open_store(store))
    case = open_(source, target="host", settings={"trials": trials}, **given)
    return time_kernels(case, build_of(case).artifact, budget_s=BUDGET_S)


def product(rounds: int) -> Any:
    """Return `x @ w` as a module, of a kernel that computes it so many times."""
    from tvm import relax
    from tvm.script import tirx as T  # noqa: N812

    from pytest_tvmtune.relax import compat

    @T.prim_func(private=True, s_tir=True)
    def kernel(
        x: T.Buffer((SIZE, SIZE), "float32"),
        w: T.Buffer((SIZE, SIZE), "float32"),
        y: T.Buffer((SIZE, SIZE), "float32"),
    ):
        for _ in range(rounds):
            for i, k, j in T.grid(SIZE, SIZE, SIZE):
                with T.sblock("sum"):
                    vi, vk, vj = T.axis.remap("SRS", [i, k, j])
                    with T.init():
                        y[vi, vj] = T.float32(0)
                    y[vi, vj] = y[vi, vj] + x[vi, vk] * w[vk, vj]

    matrix = compat.tensor_type()((SIZE, SIZE), "float32")
    x, w = relax.Var("x", matrix), relax.Var("w", matrix)
    builder = relax.BlockBuilder()
    with builder.function("main", [x, w], attrs={"num_input": 1}):
        added = builder.add_func(kernel, "product")
        with builder.dataflow():
            out = builder.emit_output(relax.call_tir(added, (x, w), matrix))
        builder.emit_func_output(out)
    return builder.finalize()


if __name__ == "__main__":
    main(sys.argv[1:])

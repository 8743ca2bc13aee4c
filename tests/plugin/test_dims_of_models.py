"""Dimensions by name: set by options, ini and sidecars, by nothing, and by a name too many."""

from __future__ import annotations

import json

import pytest

from tests.plugin.onnx_files import write_linear
from tests.plugin.snippets import WORKER_IDS, WORKERS


@pytest.mark.parametrize("workers", WORKERS, ids=WORKER_IDS)
def test_a_folder_of_models_with_dynamic_dimensions(
    suite: pytest.Pytester, workers: tuple[str, ...]
) -> None:
    suite.makeini("[pytest]\ntvm_dim =\n    n=2\n    k = 4\ntvm_trials = 0\n")
    models = suite.path / "models"
    for name, batch in {"option": "n", "ini": "k", "unset": "m", "own": "n", "other": "n"}.items():
        write_linear(models / f"{name}.onnx", batch=batch)
    (models / "own.tvmtune.toml").write_text("[dims]\nn = 5\n")
    (models / "other.tvmtune.toml").write_text("[dims]\nbatch = 5\n")
    options = ("models", "--tvm-dim=n=3", "--tvm-dim=q=7", "--tvm-json=report.json", *workers)
    result = suite.runpytest_subprocess(*options)
    result.assert_outcomes(passed=4, failed=1, warnings=1)
    result.stdout.fnmatch_lines(
        ["other[[]llvm[]]: */other.onnx: dims has 'batch', but the model's dynamic * are n"]
    )
    result.stdout.fnmatch_lines(
        [
            "*TvmTuneWarning: unset[[]llvm[]]: * each is 1: m. Set them in */unset.tvmtune.toml:",
            "*[[]dims[]]",
            "*m = 1",
        ]
    )
    result.stdout.fnmatch_lines(
        ["--tvm-dim: none of the opened models has a dimension 'q'; they have k, m, n"]
    )
    cases = json.loads((suite.path / "report.json").read_text())["cases"]
    assert {case["name"]: case["dims"] for case in cases if case["name"] != "other"} == {
        "option": {"n": 3},
        "ini": {"k": 4},
        "unset": {"m": 1},
        "own": {"n": 5},
    }


def test_where_one_cannot_be_the_failure_has_what_to_paste(suite: pytest.Pytester) -> None:
    import onnx
    from onnx import TensorProto, helper

    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, None])
    mask = helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["n", "len"])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    node = helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[2])
    graph = helper.make_graph([node], "pool", [x, mask], [y])
    opset = [helper.make_opsetid("", 17)]
    suite.mkdir("models")
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), "models/pool.onnx")
    suite.makepyfile(
        test_pool="""
        from pathlib import Path
        import pytest

        POOL = Path(__file__).with_name("models") / "pool.onnx"

        @pytest.mark.tvm_tune(trials=0)
        def test_pool(tvm_tune):
            tvm_tune(POOL)

        @pytest.mark.tvm_tune(trials=0, dims={"n": 2})
        def test_pool_of_three(tvm_tune):
            run = tvm_tune(POOL, shapes={"x": (2, 1, 3)})
            assert run.outputs.shape == (2, 1, 2)
            run.check("onnxruntime")
        """
    )
    result = suite.runpytest_subprocess("test_pool.py", "models/pool.onnx", "--tvm-trials=0")
    result.assert_outcomes(passed=1, failed=2, warnings=1)
    inputs = "Dynamic inputs of the model: 'x' (n, 1, ?), 'mask' (n, len); *"
    result.stdout.fnmatch_lines(
        [
            "pool[[]llvm[]]: its inputs are too small: an output is empty: *",
            f"{inputs} Set them in the test:",
            "    @pytest.mark.tvm_tune(dims={'n': 1, 'len': 1})",
            "    tvm_tune(model, shapes={'x': (1, 1, 1)})",
        ],
    )
    result.stdout.fnmatch_lines(
        [
            f"{inputs} Set them in models/pool.tvmtune.toml:",
            "    [[]dims[]]",
            "    n = 1",
            "    len = 1",
            "",
            "    [[]shapes[]]",
            "    x = [[]1, 1, 1[]]  # (n, 1, ?)",
        ],
    )


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("n", "ERROR: --tvm-dim: 'n' is not NAME=SIZE, such as batch=1; *"),
        ("n=0", "ERROR: --tvm-dim: n: 0 is out of range; give a whole number from 1 to *"),
    ],
)
def test_a_bad_option_is_a_usage_error(suite: pytest.Pytester, option: str, message: str) -> None:
    suite.makepyfile("def test_it(): pass")
    result = suite.runpytest_inprocess(f"--tvm-dim={option}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([message])

"""ONNX files as tests: a folder of them needs no Python, no ini, no conftest."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from tests.plugin.onnx_files import write_data_set, write_linear

X = [[1, 2, 3, 4], [0.5, -1, 0, 1]]


def write_models(folder: Path) -> None:
    """Write one model of each kind that passes, is skipped, or is expected to fail."""
    write_linear(folder / "plain.onnx")
    write_linear(folder / "packed.onnx", batch="n")
    np.save(folder / "x.npy", np.asarray(X, dtype="float32"))
    (folder / "packed.tvmtune.toml").write_text('prepack = "both"\n[inputs]\n"x/in" = "x.npy"\n')
    write_linear(folder / "cuda.onnx")
    (folder / "cuda.tvmtune.toml").write_text('target = "cuda"\n')
    write_linear(folder / "later.onnx")
    (folder / "later.tvmtune.toml").write_text('skip = "not yet"\n')
    # Two folders of the ONNX convention; the test data gives a dynamic model its shape.
    write_linear(folder / "first" / "model.onnx", batch="n")
    for number in (0, 2, 10):
        write_data_set(folder / "first" / f"test_data_set_{number}", batch=3)
    write_linear(folder / "second" / "model.onnx")
    write_data_set(folder / "second" / "test_data_set_0")
    write_data_set(folder / "second" / "test_data_set_1", off_by=1.0)
    (folder / "second" / "model.tvmtune.toml").write_text('xfail = "one is off"\n')


def test_a_new_folder(suite: pytest.Pytester) -> None:
    (suite.path / "tox.ini").unlink()
    write_models(suite.path / "models")
    options = ("models", "--tvm-target=llvm", "--tvm-trials=0", "-rsx")
    result = suite.runpytest_subprocess(
        *options, "-v", "--tvm-update-new", "--tvm-json=report.json", "--junitxml=junit.xml"
    )
    result.assert_outcomes(passed=4, skipped=2, xfailed=1)
    result.stdout.fnmatch_lines(
        [
            "tvmtune: gate: 6 items, *",
            "models/first/model.onnx::first[[]llvm[]] PASSED *",
            "models/packed.onnx::packed[[]llvm-prepack[]] PASSED *",
            "models/second/model.onnx::second[[]llvm[]] XFAIL *",
            "first[[]llvm[]]: against test_data_set_0: *",
            "first[[]llvm[]]: against test_data_set_2: *",
            "first[[]llvm[]]: against test_data_set_10: *",
            "packed[[]llvm[]]: against onnxruntime: *",
            "packed[[]llvm-prepack[]]: against onnxruntime: *",
            "packed[[]llvm-prepack[]]: against not prepacked: *",
            "plain[[]llvm[]]: against onnxruntime: *",
            "second[[]llvm[]]: against test_data_set_1: * 6 of 6 beyond the tolerance",
            "* accepted 4 baselines",
            "SKIPPED * this test is for cuda, and this run is for llvm",
            "SKIPPED * not yet",
        ]
    )
    cases = json.loads((suite.path / "report.json").read_text())["cases"]
    against = {case["nodeid"]: [one["against"] for one in case["errors"]] for case in cases}
    assert against["models/plain.onnx::plain[llvm]"] == ["onnxruntime"]
    kinds = {case["nodeid"]: (case["failure"] or {}).get("kind") for case in cases}
    assert kinds.pop("models/second/model.onnx::second[llvm]") == "wrong numbers"
    assert set(kinds.values()) == {None}
    assert against["models/second/model.onnx::second[llvm]"] == [
        "test_data_set_0",
        "test_data_set_1",
    ]
    tests = {
        test.get("name"): test.get("classname")
        for test in ElementTree.parse("junit.xml").iter("testcase")
    }
    assert tests["first[llvm]"] == "models.first.model.onnx"
    slugs = [
        path.name.rpartition("-")[0] for path in (suite.path / ".tvmtune/baselines").glob("*.json")
    ]
    assert sorted(slugs) == [
        "model.onnx-first-llvm",
        "packed.onnx-packed-llvm",
        "packed.onnx-packed-llvm-prepack",
        "plain.onnx-plain-llvm",
    ]
    # Each finds its baseline again, in workers, too.
    again = suite.runpytest_subprocess(*options, "-n", "2")
    again.assert_outcomes(passed=4, skipped=2, xfailed=1)
    again.stdout.fnmatch_lines(["first * same code  PASS", "5 cases, * 4 PASS; *"])


def collected(suite: pytest.Pytester, *options: str) -> list[str]:
    """Return the ids of what is collected, in this process: nothing of it is run."""
    result = suite.runpytest_inprocess("--co", "-q", *options)
    assert result.ret in {0, 5}
    return [line for line in result.outlines if "::" in line]


def test_which_files_are_collected(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("models/m", "models/.venv/v", "tests/data/d", "tests/data/e"):
        path = suite.path / f"{name}.onnx"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("nobody reads this")
    (suite.path / "models/.venv/of_no_interest.py").touch()
    (suite.path / "models/data.pb").touch()
    (suite.path / "tests/test_it.py").write_text("def test_it(): pass\n")
    test, model = "tests/test_it.py::test_it", "models/m.onnx::m[llvm]"
    d, e = "tests/data/d.onnx::d[llvm]", "tests/data/e.onnx::e[llvm]"
    # Where there is Python, a plain run finds what it found before.
    assert collected(suite) == [test]
    assert collected(suite, ".") == [test]
    assert collected(suite, "tests", "--tvm-trials=0") == [test]
    # Where pytest would find nothing, it is the models that are meant.
    assert collected(suite, "models") == [model]
    assert collected(suite, "tests", "models") == [test, model]
    assert collected(suite, "tests/data") == [d, e]
    assert collected(suite, "tests/data/d.onnx") == [d]
    assert collected(suite, d) == [d]
    monkeypatch.chdir(suite.path / "models")
    assert collected(suite) == [model]
    monkeypatch.chdir(suite.path)
    # As it is told.
    assert collected(suite, "--tvm-collect=*.onnx") == [model, d, e, test]
    assert collected(suite, "tests", "--tvm-collect=data/d*.onnx") == [d, test]
    assert collected(suite, "models", "--tvm-collect=off") == []
    assert collected(suite, "models/m.onnx", "--tvm-collect=off") == [model]
    suite.makeini("[pytest]\ntvm_collect = models/*.onnx\n  d.onnx\n")
    assert collected(suite) == [model, d, test]
    assert collected(suite, "models", "-k", "llvm and m", "--tvm-prepack=both") == [
        model,
        "models/m.onnx::m[llvm-prepack]",
    ]


def test_a_folder_that_the_ini_names_was_not_named(suite: pytest.Pytester) -> None:
    suite.makeini("[pytest]\ntestpaths = models\n")
    (suite.mkdir("models") / "m.onnx").touch()
    alone = suite.runpytest_subprocess()
    assert alone.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    alone.stdout.fnmatch_lines(
        ["tvmtune: 1 ONNX file not collected, such as models/m.onnx: * --tvm-collect='*"]
    )
    # A worker is told its paths as if they had been typed.
    workers = suite.runpytest_subprocess("-n", "1")
    assert workers.ret == pytest.ExitCode.NO_TESTS_COLLECTED


BAD_SIDECARS = {
    "key": ("trails = 8", "unknown key 'trails'; accepted are target, * did you mean 'trials'?"),
    "toml": ("trials =", "malformed TOML: Invalid value *"),
    "kind": ("threshold = 0.03", "threshold: 0.03 is not a positive percentage *"),
    "file": ("[inputs]\nx = 'gone.npy'", "inputs.x: no such file: */gone.npy"),
    "mark": ("marks = ['slwo']", "marks: 'slwo' not found in `markers` configuration option"),
    "data": ("expected = 'test_data_set'", "expected: no folder test_data_set_0 exists next to *"),
}


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["plain", "xdist"])
def test_a_bad_sidecar_is_a_collection_error(
    suite: pytest.Pytester, workers: tuple[str, ...]
) -> None:
    folder = suite.mkdir("models")
    for name, (text, _) in BAD_SIDECARS.items():
        (folder / f"{name}.onnx").touch()
        (folder / f"{name}.tvmtune.toml").write_text(text)
    (folder / "misnamed.onnx").touch()
    (folder / "misnamed.onnx.tvmtune.toml").touch()
    (folder / "latin.onnx").touch()
    (folder / "latin.tvmtune.toml").write_bytes('skip = "später"'.encode("latin-1"))
    result = suite.runpytest_subprocess("models", "--strict-markers", *workers)
    if not workers:
        assert result.ret == pytest.ExitCode.INTERRUPTED
        result.assert_outcomes(errors=len(BAD_SIDECARS) + 2)
    assert result.ret != pytest.ExitCode.OK
    for name, (_, message) in BAD_SIDECARS.items():
        result.stdout.fnmatch_lines([f"*models/{name}.tvmtune.toml: {message}"])
    result.stdout.fnmatch_lines(
        ["*models/misnamed.tvmtune.toml: misnamed.onnx.tvmtune.toml isn't read; rename it to *"]
    )
    result.stdout.fnmatch_lines(["*models/latin.tvmtune.toml: can't be read: 'utf-8' codec *"])
    assert "INTERNALERROR" not in result.stdout.str()


def test_what_only_the_model_can_tell_is_a_failing_test(suite: pytest.Pytester) -> None:
    folder = suite.path / "models"
    write_linear(folder / "dynamic.onnx", batch="n")
    write_linear(folder / "misfit.onnx", batch="n")
    (folder / "misfit.tvmtune.toml").write_text('[inputs]\n"x/in" = [[1, 2]]\n')
    write_linear(folder / "unknown.onnx")
    (folder / "unknown.tvmtune.toml").write_text("[inputs]\nz = 1\n")
    write_linear(folder / "sin.onnx", op_type="Det")
    (folder / "broken.onnx").write_text("no model")
    write_linear(folder / "data" / "model.onnx")
    write_data_set(folder / "data" / "test_data_set_0")
    write_data_set(folder / "data" / "test_data_set_1", batch=3)
    # Test data among several models may be another one's, unless a sidecar says so.
    write_data_set(folder / "test_data_set_0")
    (folder / "test_data_set_0" / "output_0.pb").write_text("no tensor")
    write_linear(folder / "said.onnx")
    (folder / "said.tvmtune.toml").write_text('expected = "test_data_set"\n')
    result = suite.runpytest_subprocess(
        "models", "--tvm-trials=0", "--tvm-strict", "--tvm-json=report.json"
    )
    result.assert_outcomes(failed=7)
    hint = (
        "  to set the shapes and inputs of a model file, use [[]shapes] and [[]inputs] in "
        "models/{}.tvmtune.toml"
    )
    result.stdout.fnmatch_lines(
        [
            "broken[[]llvm[]]: */broken.onnx: not an ONNX model, or truncated *",
            "data[[]llvm[]]: test_data_set_1: input 'x/in' has shape (3, 4), but the model takes *",
            "dynamic[[]llvm[]]: no setting gives these dynamic dimensions a size, *: n. Set them *",
            "    n = 1",
            "misfit[[]llvm[]]: * input 'x/in' has shape (1, 2), but the model takes (n, 4)",
            "said[[]llvm[]]: test_data_set_0: */output_0.pb: not an ONNX tensor: *",
            "sin[[]llvm[]]: */sin.onnx: unsupported operator Det (node 'last', 1 in all): *",
            "unknown[[]llvm[]]: unknown input 'z'; the model takes x/in: float32[[]2, 4[]]",
            hint.format("unknown"),
        ]
    )
    cases = json.loads((suite.path / "report.json").read_text())["cases"]
    failures = {case["name"]: case["failure"] for case in cases}
    assert {name: failure["kind"] for name, failure in failures.items()} == {
        "broken": "model",
        "data": "given",
        "dynamic": "unknown",
        "misfit": "given",
        "said": "model",
        "sin": "unsupported operator",
        "unknown": "given",
    }
    assert failures["sin"]["operators"] == {"Det": 1}
    failed = collected(suite, "models", "--lf", "--deselect=models/sin.onnx")
    assert len(failed) == 6


def test_without_onnxruntime(suite: pytest.Pytester) -> None:
    suite.makepyfile(without_ort="import sys\nsys.modules['onnxruntime'] = None\n")
    write_linear(suite.path / "models" / "mlp.onnx")
    options = ("models", "-p", "without_ort", "--tvm-trials=0", "--tvm-prepack=both", "-v")
    result = suite.runpytest_subprocess(*options)
    result.assert_outcomes(passed=2, warnings=1)
    result.stdout.fnmatch_lines(
        [
            "*TvmTuneWarning: mlp[[]llvm[]]: its outputs were compared with nothing, because *",
            "mlp[[]llvm-prepack[]]: against the untuned, unpacked build: *",
        ]
    )

"""`tvmtune init`: sidecars for ONNX files whose shapes are dynamic."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from pytest_tvmtune.core.settings.sidecar import parse_sidecar

Run = Callable[..., tuple[int, str, str]]


def write_model(path: Path, **inputs: Any) -> None:
    """Write the sum of inputs of these shapes."""
    values = [
        helper.make_tensor_value_info(name.replace("_", "/"), TensorProto.FLOAT, shape)
        for name, shape in inputs.items()
    ]
    node = helper.make_node("Sum", [value.name for value in values], ["y"])
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(helper.make_graph([node], "sum", values, [result])), path)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    write_model(folder / "a/named.onnx", x_in=["batch", "seq len", 8], mask=["batch", 1, 1])
    write_model(folder / "b/unnamed.onnx", x=["batch", None, 8], y=["batch", 1, 8], z=None)
    write_model(folder / "static.onnx", x=[2, 8])
    write_model(folder / "told.onnx", x=["n"])
    (folder / "told.tvmtune.toml").write_text("[dims]\nn = 4\n")
    write_model(folder / ".venv/hidden.onnx", x=["n"])
    write_model(folder / "env/hidden.onnx", x=["n"])
    (folder / "env/pyvenv.cfg").touch()
    return folder


def test_a_sidecar_for_each_file_that_needs_one(
    models: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It is for those who have no TVM yet, too.
    monkeypatch.setitem(sys.modules, "tvm", None)
    before = sorted(models.rglob("*.toml"))
    code, dry, _ = run("init", models, "--dry-run")
    assert code == 0
    assert sorted(models.rglob("*.toml")) == before
    code, out, err = run("init", models)
    assert (code, err) == (0, "")
    named = "'x/in' (batch, seq len, 8), 'mask' (batch, 1, 1)"
    unnamed = "'x' (batch, ?, 8), 'y' (batch, 1, 8), 'z' (no rank)"
    assert out.splitlines() == [
        f"{models}/static.onnx: unchanged, because its shapes are static",
        f"{models}/told.onnx: unchanged, because told.tvmtune.toml exists",
        f"{models}/a/named.onnx: wrote named.tvmtune.toml, for {named}",
        f"{models}/b/unnamed.onnx: wrote unnamed.tvmtune.toml, for {unnamed}",
    ]
    assert dry == out.replace(": wrote ", ": would write ")
    said = {
        path.name: parse_sidecar(path.read_text(), path.parent)
        for path in models.rglob("*.tvmtune.toml")
    }
    assert said["named.tvmtune.toml"].options == {"dims": {"batch": 1, "seq len": 1}}
    assert said["named.tvmtune.toml"].shapes is None
    assert said["unnamed.tvmtune.toml"].options == {"dims": {"batch": 1}}
    assert said["unnamed.tvmtune.toml"].shapes == {"x": (1, 1, 8), "z": (1,)}
    assert said["told.tvmtune.toml"].options == {"dims": {"n": 4}}
    assert len(said) == 3
    assert "#   'x/in' (batch, seq len, 8)" in (models / "a/named.tvmtune.toml").read_text()
    # Again: nothing is overwritten.
    code, out, _ = run("init", models, models / "a/named.onnx")
    assert code == 0
    assert out.count("unchanged, because") == 4


def test_what_cannot_be_read_is_a_problem_and_the_others_are_written(
    models: Path, run: Run
) -> None:
    (models / "broken.onnx").write_text("no model")
    code, out, _ = run("init", models)
    assert code == 1
    assert f"{models}/broken.onnx: not an ONNX model, or truncated" in out
    assert (models / "a/named.tvmtune.toml").exists()
    code, out, _ = run("init", models, "--json")
    told = json.loads(out)
    assert code == 1
    assert {Path(one["path"]).name: one["state"] for one in told["files"]} == {
        "broken.onnx": "problem",
        "named.onnx": "left",
        "static.onnx": "left",
        "told.onnx": "left",
        "unnamed.onnx": "left",
    }


def test_nothing_to_do(models: Path, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    (models / "empty").mkdir()
    assert run("init", models / "empty") == (1, f"no .onnx file in {models}/empty\n", "")
    for path in (models / "gone", models / "told.tvmtune.toml"):
        with pytest.raises(SystemExit) as caught:
            run("init", path)
        assert caught.value.code == 2
        assert "is neither a folder nor an .onnx file" in capsys.readouterr().err

"""`tvmtune tune`: from a model file to a folder that tvm and numpy alone can run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pytest_tvmtune.store.artifacts import sha256_of
from pytest_tvmtune.store.exported_folders import read_export_manifest
from pytest_tvmtune.store.layout import Store
from pytest_tvmtune.store.tuning.work_dirs import read_work_dir
from tests.plugin.onnx_files import RNG, WEIGHT, write_linear
from tests.relax.test_from_tflite import B, W, linear_model
from tests.support import IMPORTABLE, REAL_PYTHON
from tests.support.exported import is_whole, outputs_of_folder, run_alone
from tests.support.locks import cores_of_the_machine, cores_of_this_worker  # noqa: F401
from tests.support.preloaded_python import preloaded_jobs, preloaded_python  # noqa: F401
from tests.support.sample_store import contents
from tests.support.unmeasured import unmeasured_jobs  # noqa: F401

Run = Callable[..., tuple[int, str, str]]
TUNE = "import sys; from pytest_tvmtune.cli import main; sys.exit(main())"


def test_a_tuned_onnx_file(store: Store, run: Run, tmp_path: Path) -> None:
    model = write_linear(tmp_path / "linear.onnx", batch="n")
    (tmp_path / "linear.tvmtune.toml").write_text(
        'trials = 4\nprepack = "on"\nexpected = "onnxruntime"\n[dims]\nn = 2\n'
    )
    folder = tmp_path / "deploy"
    code, out, err = run("tune", model, "-o", folder, "--target", "llvm")
    assert code == 0
    # Plain lines, since this is no terminal.
    lines = err.splitlines()
    assert all(line.startswith("tuning linear[llvm-prepack]: ") for line in lines)
    assert "/4 trials, " in lines[0]
    assert "entry       main: x/in: float32[2, 4] -> output: float32[2, 3]\n" in out
    assert "prepack on\n" in out
    assert out.endswith(f"in a new process\nexported to {folder}\n")
    assert is_whole(folder)
    manifest = read_export_manifest(folder)
    assert manifest is not None
    assert manifest.trials > 0
    assert manifest.transforms
    assert {**manifest.source, "params_sha256": ""} == {
        "model": str(model), "sha256": sha256_of(model), "params_sha256": "",
    }  # fmt: skip
    workloads, problems = read_work_dir(folder / "work_dir")
    assert problems == []
    best = {one.shash: one.records[0].mean_s for one in workloads}
    assert {one.shash: one.best_s for one in manifest.tasks if one.best_s is not None} == best
    x = RNG.standard_normal((2, 4)).astype("float32")
    (got,) = outputs_of_folder(folder, x, cwd=tmp_path / "elsewhere")
    np.testing.assert_allclose(got, np.maximum(x @ WEIGHT, 0), rtol=1e-5, atol=1e-6)
    assert run_alone(folder / "load.py", cwd=tmp_path) == "output_0: float32[2, 3]\n"
    # Again, with another size: an option takes precedence, and the earlier folder is replaced.
    code, out, err = run(
        "tune", model, "-o", folder, "--target=llvm", "--trials=0", "--dim", "n=3", "--json"
    )
    assert (code, err) == (0, "")
    assert json.loads(out)["inputs"] == [{"name": "x/in", "shape": [3, 4], "dtype": "float32"}]
    assert is_whole(folder)


def test_files_that_are_no_part_of_an_export_are_kept(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, folder = write_linear(tmp_path / "linear.onnx"), tmp_path / "deploy"
    assert run("tune", model, "-o", folder, "--trials=0")[0] == 0
    run_alone(folder / "load.py", cwd=folder)
    assert run("tune", model, "-o", folder, "--trials=0")[0] == 0
    (folder / "output_0.npy").write_bytes(b"the user's")
    code, _, err = run("tune", model, "-o", folder, "--trials=0")
    assert (code, "files that aren't of the earlier export: output_0.npy" in err) == (1, True)
    assert (folder / "output_0.npy").is_file()
    monkeypatch.chdir(folder)
    code, _, err = run("tune", model, "-o", ".", "--trials=0", "--force")
    assert (code, "can't be replaced, because" in err) == (1, True)


def test_tuning_for_a_time(run: Run, tmp_path: Path) -> None:
    model = write_linear(tmp_path / "linear.onnx")
    folder = tmp_path / "deploy"
    code, _, err = run("tune", model, "-o", folder, "--trials=10000", "--time=0.001")
    assert code == 0, err
    manifest = read_export_manifest(folder)
    assert manifest is not None
    assert manifest.trials < 100


def test_a_torch_program(run: Run, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    layer, x = torch.nn.Linear(4, 3), torch.ones(2, 4)
    torch.export.save(torch.export.export(layer.eval(), (x,)), tmp_path / "layer.pt2")
    folder = tmp_path / "deploy"
    code, out, err = run("tune", tmp_path / "layer.pt2", "-o", folder, "--trials=2")
    assert code == 0
    assert "warning" not in err
    # For the CPU of this machine, unless something else is asked for.
    assert '"mcpu": ' in out
    assert ", prepack off\n" in out
    (got,) = outputs_of_folder(folder, x.numpy(), cwd=tmp_path / "elsewhere")
    np.testing.assert_allclose(got, layer(x).detach().numpy(), rtol=1e-5, atol=1e-6)


def test_a_tflite_file(run: Run, tmp_path: Path) -> None:
    (tmp_path / "linear.tflite").write_bytes(linear_model())
    folder = tmp_path / "deploy"
    code, _, err = run("tune", tmp_path / "linear.tflite", "-o", folder, "--trials=0")
    assert (code, err) == (0, "")
    x = RNG.standard_normal((2, 4)).astype("float32")
    (got,) = outputs_of_folder(folder, x, cwd=tmp_path / "elsewhere")
    np.testing.assert_allclose(got, np.maximum(x @ W.T + B, 0), rtol=1e-5, atol=1e-6)


def test_a_size_that_nothing_sets_is_told(run: Run, tmp_path: Path) -> None:
    model = write_linear(tmp_path / "linear.onnx", batch="n")
    code, out, err = run("tune", model, "-o", tmp_path / "out", "--trials=0", "--target=llvm")
    assert code == 0
    assert "float32[1, 4]" in out
    assert "tvmtune: warning: no setting gives these dynamic dimensions a size" in err
    assert f"Set them in {tmp_path}/linear.tvmtune.toml:" in err


def test_a_killed_command_leaves_the_folder_as_it_is(
    store: Store, run: Run, tmp_path: Path
) -> None:
    model = write_linear(tmp_path / "linear.onnx")
    folder, options = tmp_path / "deploy", ("--trials=0", "--target=llvm")
    assert run("tune", model, "-o", folder, *options)[0] == 0
    before = contents(folder)
    command = [REAL_PYTHON, "-c", TUNE, "tune", str(model), "-o", str(folder), *options]
    process = subprocess.Popen(
        [*command, "--dir", str(store.root)],
        env={**os.environ, "PYTHONPATH": IMPORTABLE},
        stdout=subprocess.DEVNULL,
    )
    end_s = time.monotonic() + 120
    while not (half := list(tmp_path.glob(".deploy.tvmtune-*/model.so"))):
        assert process.poll() is None
        assert time.monotonic() < end_s
        time.sleep(0.002)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert half[0].exists()
    assert contents(folder) == before
    assert is_whole(folder)
    assert run("tune", model, "-o", folder, *options)[0] == 0
    assert not half[0].exists()
    assert is_whole(folder)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("gone.onnx", "no such model file: "),
        ("model.so", "is a compiled library, which can't be tuned and has no parameters; give "),
        ("model.txt", "is not a model file; give a file that ends with .onnx, .pt2, .tflite"),
    ],
)
def test_no_model(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, said: str
) -> None:
    (tmp_path / "model.so").touch()
    with pytest.raises(SystemExit) as caught:
        run("tune", tmp_path / name, "-o", tmp_path / "out")
    assert caught.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--trials=few", "'few' is not a whole number"),
        ("--target=", "the target is empty"),
        ("--dim=batch", "'batch' is not NAME=SIZE"),
        ("--dim=batch=0", "batch"),
        ("--max-trials-per-task=0", "max-trials-per-task"),
    ],
)
def test_bad_options(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, said: str
) -> None:
    model = write_linear(tmp_path / "linear.onnx")
    with pytest.raises(SystemExit) as caught:
        run("tune", model, "-o", tmp_path / "out", option)
    assert caught.value.code == 2
    assert said in capsys.readouterr().err


def test_what_can_not_be_is_exit_code_1_and_writes_nothing(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A folder of the user's own is refused before anything takes time.
    model = write_linear(tmp_path / "linear.onnx")
    users = tmp_path / "users"
    users.mkdir()
    (users / "notes.txt").touch()
    monkeypatch.setitem(sys.modules, "tvm", None)
    code, _, err = run("tune", model, "-o", users)
    assert code == 1
    assert err.startswith(f"tvmtune: {users} isn't empty, and isn't an earlier export; ")
    monkeypatch.undo()
    for option, said in (
        ("--target=lvm", "target 'lvm': unknown kind 'lvm'"),
        ("--dim=n=3", "dims has 'n', but no dynamic dimension of the model has a name"),
    ):
        code, _, err = run("tune", model, "-o", tmp_path / "out", option)
        assert code == 1
        assert said in err
    (tmp_path / "linear.tvmtune.toml").write_text("trails = 3\n")
    code, _, err = run("tune", model, "-o", tmp_path / "out")
    assert code == 1
    assert err.startswith(f"tvmtune: {tmp_path}/linear.tvmtune.toml: unknown key 'trails'")
    (tmp_path / "linear.tvmtune.toml").unlink()
    model.write_bytes(b"no model")
    code, _, err = run("tune", model, "-o", tmp_path / "out")
    assert code == 1
    assert "linear.onnx: not an ONNX model" in err
    assert not (tmp_path / "out").exists()

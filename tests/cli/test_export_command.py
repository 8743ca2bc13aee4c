"""`tvmtune export`: what was tested is what is shipped."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tvm
from tvm import relax

from pytest_tvmtune.core.gating.accepted_baseline import Baseline
from pytest_tvmtune.stages.baseline_proposal import propose_baseline
from pytest_tvmtune.store.accepted.baseline_files import write_baseline
from pytest_tvmtune.store.artifacts import sha256_of
from pytest_tvmtune.store.exported_folders import read_export_manifest
from pytest_tvmtune.store.layout import Store
from pytest_tvmtune.store.tuning.work_dirs import read_work_dir
from tests.plugin.onnx_files import RNG, WEIGHT, write_linear
from tests.support.cases import IDENTITY, build_with_records, opener
from tests.support.exported import is_whole, outputs_of_folder, run_alone
from tests.support.locks import cores_of_the_machine, cores_of_this_worker  # noqa: F401
from tests.support.preloaded_python import preloaded_jobs, preloaded_python  # noqa: F401
from tests.support.sample_store import put_case
from tests.support.unmeasured import unmeasured_jobs  # noqa: F401

Run = Callable[..., tuple[int, str, str]]
X = RNG.standard_normal((2, 4)).astype("float32")
# As the deployment of a model whose parameters are elsewhere.
WITH_PARAMS = """
import sys
import numpy as np
sys.path.insert(0, sys.argv[1])
from load import load
np.save("y.npy", load(sys.argv[1], [np.load("w.npy")])(np.load("x.npy")))
"""


@pytest.fixture
def accepted(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Baseline:
    """A tuned, prepacked model file, accepted; it is in the folder that has the store."""
    model = write_linear(tmp_path / "models/linear.onnx")
    case = opener(store)(str(model), prepack=True, name="linear", settings={"trials": 4})
    identity = replace(
        IDENTITY, path="models/linear.onnx", function="", name="linear", prepack=True
    )
    proposal = propose_baseline(case, identity, build_with_records(case), [1e-3])
    write_baseline(store, proposal.baseline, proposal.records)
    assert store.root.parent == tmp_path
    return proposal.baseline


def test_the_same_bytes(accepted: Baseline, store: Store, run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "deploy"
    code, out, err = run("export", "linear[llvm-prepack]", folder)
    assert (code, err) == (0, "")
    assert f"sha256 {accepted.artifact}\n" in out
    assert sha256_of(folder / "model.so") == accepted.artifact
    assert is_whole(folder)
    manifest = read_export_manifest(folder)
    assert manifest is not None
    assert manifest.source["baseline"] == accepted.identity.file_name
    workloads, _ = read_work_dir(folder / "work_dir")
    tuned = {one.shash for one in manifest.tasks if one.best_s is not None}
    assert tuned == {one.shash for one in workloads} != set()
    (got,) = outputs_of_folder(folder, X, cwd=tmp_path / "elsewhere")
    np.testing.assert_allclose(got, np.maximum(X @ WEIGHT, 0), rtol=1e-5, atol=1e-6)
    # The stock pipeline makes the same library of the records.
    case = opener(store)(str(tmp_path / "models/linear.onnx"))
    mod = relax.pipeline.static_shape_tuning_pipeline(
        total_trials=0,
        target=case.target,
        work_dir=str(folder / "work_dir"),
        cpu_weight_prepack=True,
    )(case.model.mod)
    tvm.compile(mod, target=case.target).export_library(str(tmp_path / "model.so"))
    assert sha256_of(tmp_path / "model.so") == accepted.artifact
    # The artifact itself stays.
    code, out, _ = run("export", accepted.identity.file_name, folder, "--json")
    assert code == 0
    assert json.loads(out)["files"]["model.so"] == accepted.artifact


def test_without_the_file_there_are_no_parameters(
    accepted: Baseline, run: Run, tmp_path: Path
) -> None:
    (tmp_path / "models/linear.onnx").rename(tmp_path / "moved.onnx")
    folder = tmp_path / "deploy"
    code, out, err = run("export", "linear", folder)
    assert code == 0
    assert err.startswith("tvmtune: warning: the store doesn't keep parameters")
    assert "parameters  none; give them to load(folder, params)\n" in out
    assert not (folder / "params.npz").exists()
    assert is_whole(folder)
    said = run_alone(folder / "load.py", cwd=tmp_path).splitlines()
    assert said == [
        "this folder has no parameters, so they are zeros; call load(folder, params)",
        "output_0: float32[2, 3]",
    ]
    for name, array in (("w", WEIGHT), ("x", X)):
        np.save(tmp_path / f"{name}.npy", array)
    (tmp_path / "serve.py").write_text(WITH_PARAMS)
    run_alone(tmp_path / "serve.py", folder, cwd=tmp_path)
    got = np.load(tmp_path / "y.npy")
    np.testing.assert_allclose(got, np.maximum(X @ WEIGHT, 0), rtol=1e-5, atol=1e-6)
    # With the file, the parameters are known.
    code, _, err = run("export", "linear", folder, "--model", tmp_path / "moved.onnx")
    assert (code, err) == (0, "")
    assert (folder / "params.npz").exists()


def test_another_model(
    accepted: Baseline, store: Store, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "deploy"
    other = write_linear(tmp_path / "other.onnx", batch=3)
    code, _, err = run("export", "linear", folder, "--model", other)
    assert code == 1
    assert err.startswith(
        f"tvmtune: {other} isn't the model of this baseline: it has x/in: float32[3, 4] instead "
        "of x/in: float32[2, 4]; give its file with --model, "
    )
    monkeypatch.setattr("tests.plugin.onnx_files.WEIGHT", WEIGHT + 1)
    write_linear(tmp_path / "models/linear.onnx")
    code, _, err = run("export", "linear", folder)
    assert code == 1
    assert err.startswith(f"tvmtune: the parameters in {tmp_path}/models/linear.onnx aren't those ")
    assert not folder.exists()
    # An earlier version of this package kept no digest.
    write_baseline(store, replace(accepted, params_sha256=""), [])
    code, _, err = run("export", "linear", folder)
    assert code == 0
    assert err.startswith("tvmtune: warning: the baseline has no digest of its parameters, so ")


def test_the_case_is_one_of_those_that_there_are(store: Store, run: Run, tmp_path: Path) -> None:
    both = [put_case(store, prepack=one).identity.file_name for one in (False, True)]
    code, _, err = run("export", "mlp", tmp_path / "out")
    assert code == 1
    assert err == (
        f"tvmtune: several baselines match 'mlp', choose one by its file: "
        f"{', '.join(sorted(both))}\n"
    )
    code, _, err = run("export", "resnet", tmp_path / "out")
    assert code == 1
    assert "has no baseline named resnet: see `tvmtune baselines list`" in err
    (store.artifacts / put_case(store).artifact / "model.so").unlink()
    code, _, err = run("export", "mlp[llvm]", tmp_path / "out")
    assert code == 1
    assert err.endswith(" is missing\n")
    assert not (tmp_path / "out").exists()

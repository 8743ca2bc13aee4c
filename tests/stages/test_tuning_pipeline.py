"""`pytest_tvmtune.static_shape_tuning_pipeline` in the place of TVM's."""

from __future__ import annotations

import inspect
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import tvm
import tvm_ffi
from tvm import relax

from pytest_tvmtune import static_shape_tuning_pipeline
from pytest_tvmtune.core.errors import OptionError, TvmTuneError
from pytest_tvmtune.relax import compat
from pytest_tvmtune.relax.compiling.prepared_module import extract, prepare
from pytest_tvmtune.relax.deploying.pipeline_pass import tuning_pass
from pytest_tvmtune.store.layout import Store
from pytest_tvmtune.store.tuning.work_dirs import write_work_dir
from pytest_tvmtune.store.tuning.workload_files import (
    check_workload_file,
    refuse_records,
    stored_keys,
)
from tests.support import IMPORTABLE, REAL_PYTHON
from tests.support.modules import LargeLayer, Square, SquareAndLayer
from tests.support.sample_store import contents

TARGET = {"kind": "llvm", "num-cores": 2}
# As in the documentation of TVM's pipeline, and without a guard of `__main__`.
SCRIPT = """
import numpy as np
import tvm
import tvm_ffi
from tvm import relax

from pytest_tvmtune import static_shape_tuning_pipeline
from tests.support.modules import SquareAndLayer

mod = SquareAndLayer
rng = np.random.default_rng(0)
given = [rng.standard_normal(shape).astype("float32") for shape in ((2, 8), (8, 8), (5, 8))]
x, *params = map(tvm.runtime.tensor, given)
target = tvm.target.Target({"kind": "llvm", "num-cores": 2})
mod = static_shape_tuning_pipeline(
    total_trials=4,
    target=target,
    work_dir="tuning_logs",
    cpu_weight_prepack=True,
    max_trials_per_task=4,
)(mod)
open("mod.json", "w").write(tvm.ir.save_json(mod))

ex = tvm.compile(mod, target=target)
vm = relax.VirtualMachine(ex, device=tvm.cpu())
params = vm["main_transform_params"](params)
out = vm["main"](x, *params).numpy()
np.testing.assert_allclose(out, given[0] @ given[1].T @ given[2].T, rtol=1e-4)
"""


def stock(target: Any, work_dir: Path, *, prepack: bool) -> Any:
    return relax.pipeline.static_shape_tuning_pipeline(0, target, str(work_dir), prepack)


@pytest.mark.each_version
def test_the_same_arguments() -> None:
    theirs = inspect.signature(relax.pipeline.static_shape_tuning_pipeline).parameters
    ours = inspect.signature(static_shape_tuning_pipeline).parameters
    positional = [one for one in ours.values() if one.kind is not one.KEYWORD_ONLY]
    assert [(one.name, one.default) for one in positional] == [
        (one.name, one.default) for one in theirs.values()
    ]


@pytest.mark.each_version
@pytest.mark.parametrize("target", [TARGET, tvm.target.Target(TARGET), "llvm"], ids=str)
@pytest.mark.parametrize("prepack", [False, True], ids=["plain", "prepack"])
def test_without_trials_it_is_tvms(tmp_path: Path, target: Any, prepack: bool) -> None:
    made = static_shape_tuning_pipeline(0, target, tmp_path / "ours", prepack)
    assert isinstance(made, tvm.transform.ModulePass)
    expected = stock(target, tmp_path / "theirs", prepack=prepack)(SquareAndLayer)
    assert compat.save_json(made(SquareAndLayer)) == compat.save_json(expected)
    assert contents(tmp_path / "ours") == contents(tmp_path / "theirs")


def test_in_a_script(tmp_path: Path) -> None:
    def run() -> str:
        done = subprocess.run(
            [REAL_PYTHON, "-W", "error", "deploy.py"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": IMPORTABLE},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return (tmp_path / "mod.json").read_text()

    (tmp_path / "deploy.py").write_text(SCRIPT)
    first = run()
    folder = tmp_path / "tuning_logs"
    assert {path.name for path in folder.iterdir()} == {
        ".tvmtune", "database_workload.json", "database_tuning_record.json",
    }  # fmt: skip
    # The stock pipeline applies the same records.
    lowered = stock(TARGET, folder, prepack=True)(SquareAndLayer)
    assert tvm_ffi.structural_equal(lowered, compat.load_json(first))
    # The second time, nothing is tuned: the ledger has no more lines.
    before = contents(folder / ".tvmtune/tuning")
    assert before
    assert run() == first
    assert contents(folder / ".tvmtune/tuning") == before


def test_a_refused_record_in_the_work_dir_is_not_applied(tmp_path: Path) -> None:
    """Nor is it lost: the folder is the user's."""
    work_dir = tmp_path / "work_dir"

    def lowered() -> Any:
        return static_shape_tuning_pipeline(4, TARGET, work_dir, store=tmp_path / "store")(
            LargeLayer
        )

    first = lowered()
    assert tvm_ffi.structural_equal(stock(TARGET, work_dir, prepack=False)(LargeLayer), first)
    store, before = Store(root=tmp_path / "store"), contents(work_dir)
    for key, shash in stored_keys(store):
        workload, _ = check_workload_file(store, key, shash)
        assert workload is not None
        refuse_records(store, key, workload, workload.records, "computes other values")
    with pytest.warns(UserWarning, match="record") as told:
        again = lowered()
    assert any("which are not applied here" in str(one.message) for one in told)
    empty = stock(TARGET, tmp_path / "empty", prepack=False)(LargeLayer)
    assert tvm_ffi.structural_equal(again, empty)
    assert not tvm_ffi.structural_equal(again, first)
    assert contents(work_dir) == before


def test_a_damaged_line_in_the_work_dir_costs_no_tuning(tmp_path: Path) -> None:
    write_work_dir(tmp_path / "work_dir", [])
    (tmp_path / "work_dir/database_workload.json").write_text("[1")
    made = static_shape_tuning_pipeline(4, TARGET, tmp_path / "work_dir", store=tmp_path / "store")
    with pytest.raises(TvmTuneError, match=r"was not changed: database_workload\.json line 1"):
        made(Square)
    assert not (tmp_path / "store/tuning").exists()


@pytest.mark.parametrize("prepack", [False, True], ids=["plain", "prepack"])
def test_registrations_of_a_script_are_told(tmp_path: Path, prepack: bool) -> None:
    """The script lowers an operator in another way than the processes that tune."""
    target = tvm.target.Target(TARGET)

    def tune(mod: Any, applied: Path) -> set[str]:
        write_work_dir(applied, [])
        tasks = extract(prepare(mod, target, prepack=prepack), target)
        return {"0123456789abcdef", *(task.shash for task, _ in tasks[:-1])}

    made = tuning_pass(tune, target=target, prepack=prepack)
    with pytest.warns(UserWarning, match="some tuning records were not applied"):
        made(Square)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"total_trials": "many"}, "total_trials: 'many' is not a whole number"),
        ({"max_trials_per_task": 0}, "max_trials_per_task: 0 is "),
        ({"target": "lvm"}, "target 'lvm': unknown kind 'lvm'; the installed TVM has "),
        ({"target": ""}, "target: the target is empty; give "),
    ],
    ids=lambda one: next(iter(one)) if isinstance(one, dict) else "",
)
def test_bad_arguments(tmp_path: Path, arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionError) as caught:
        static_shape_tuning_pipeline(
            **{"total_trials": 4, "target": TARGET, "work_dir": tmp_path, **arguments}
        )
    assert str(caught.value).startswith(said)
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_can_not_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    made = static_shape_tuning_pipeline(4, TARGET, tmp_path, store=tmp_path / "file")
    with pytest.raises(TvmTuneError, match=r"--tvm-dir: .*file is a file, not a folder"):
        made(Square)

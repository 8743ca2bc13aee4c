"""A built model as a folder: its `load.py` computes the same bits with tvm and numpy alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pytest_tvmtune.core.errors import ExportError
from pytest_tvmtune.core.tensors.nested_outputs import flatten
from pytest_tvmtune.relax.deploying import load_script
from pytest_tvmtune.stages.baseline_proposal import applied_records
from pytest_tvmtune.stages.case import Case
from pytest_tvmtune.stages.deployment.exported_folder import ExportRequest, export_folder
from pytest_tvmtune.stages.job_context import entry_call, job_context
from pytest_tvmtune.stages.tuned_build import load_and_call
from pytest_tvmtune.store.exported_folders import ExportManifest
from tests.stages.test_types import TYPES, AllTypes
from tests.support.cases import build_of
from tests.support.exported import is_whole, outputs_of_folder
from tests.support.modules import Nested, OpenCase, Square, Types


def export(case: Case, folder: Path) -> ExportManifest:
    built = build_of(case)
    request = ExportRequest(
        source={},
        artifact=built.artifact,
        signature=case.model.signature,
        call=entry_call(case),
        prepack=case.options.prepack,
        records=applied_records(case, built),
        seconds={},
        context=job_context(case, "run"),
        folder=folder,
        force=False,
        keep=(),
    )
    return export_folder(request, None)


@pytest.mark.each_version
@pytest.mark.parametrize(
    ("mod", "prepack"),
    [(Square, True), (Nested, False), (Types, False)],
    ids=["prepacked", "nested", "types"],
)
def test_the_same_outputs(open_: OpenCase, tmp_path: Path, mod: Any, prepack: bool) -> None:
    case = open_(mod, prepack=prepack)
    folder = tmp_path / "deploy"
    manifest = export(case, folder)
    assert is_whole(folder)
    assert manifest.transforms == prepack
    assert manifest.inputs == case.model.signature.inputs
    _loaded, outputs = load_and_call(case, build_of(case))
    expected = dict(flatten(outputs))
    assert [(one.name, one.shape, one.dtype) for one in manifest.outputs] == [
        (path, array.shape, array.dtype.name) for path, array in expected.items()
    ]
    got = outputs_of_folder(folder, *case.model.inputs, cwd=tmp_path / "elsewhere")
    for array, want in zip(got, expected.values(), strict=True):
        np.testing.assert_array_equal(array, want)


def test_types_that_npy_lacks(open_: OpenCase, tmp_path: Path) -> None:
    inputs = [np.asarray(np.eye(4), dtype) for dtype in TYPES]
    case = open_(AllTypes().eval(), inputs=inputs, prepack=True)
    manifest = export(case, tmp_path / "deploy")
    assert "bfloat16" in {one.dtype for one in manifest.params}
    _loaded, outputs = load_and_call(case, build_of(case))
    got = outputs_of_folder(tmp_path / "deploy", *inputs, cwd=tmp_path / "elsewhere")
    for array, want in zip(got, outputs, strict=True):
        # numpy reads bfloat16 as bytes.
        np.testing.assert_array_equal(array.view(want.dtype), want)


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("raise SystemExit('lost')", "load.py fails in a new process: lost; nothing"),
        ("import os; os.abort()", "load.py fails in a new process: exit code -6; nothing"),
        (
            "import numpy; numpy.save('output_0.npy', numpy.zeros((2, 8), 'float32'))",
            "output of load.py in a new process isn't what the library returned before; nothing",
        ),
    ],
    ids=["fails", "crashes", "differs"],
)
def test_what_does_not_run_is_not_exported(
    open_: OpenCase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, said: str
) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text(script)
    monkeypatch.setattr(load_script, "__file__", str(broken))
    with pytest.raises(ExportError) as caught:
        export(open_(Square), tmp_path / "deploy")
    assert str(caught.value) == f"{said} was exported"
    assert {path.name for path in tmp_path.iterdir()} == {"broken.py", "store"}

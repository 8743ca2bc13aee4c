"""`tvmtune vet` as a whole, on environments of which one has another compiler or runtime."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from pytest_tvmtune.cli import main
from tests.support.environments import make_environment
from tests.support.schemas import validate_vet_report

# In the new environment, each interpreter begins with it.
IS_NEW = {"is_new.pth": "import os; os.environ['VET_IS_NEW'] = '1'"}
SUITE = """
import os

import numpy as np
import pytest
from tvm import relax
from tvm.relax import TensorType

IS_NEW = "VET_IS_NEW" in os.environ
X = np.linspace(-1, 1, 64, dtype="float32").reshape(1, 64)
W = np.eye(64, dtype="float32")


def model(added=1.0, rounds=1):
    vector, matrix = (TensorType(shape, "float32") for shape in ((1, 64), (64, 64)))
    x, w = relax.Var("x", vector), relax.Var("w", matrix)
    builder = relax.BlockBuilder()
    with builder.function("main", [x, w], attrs={"num_input": 1}):
        with builder.dataflow():
            y = x
            for _ in range(rounds):
                y = builder.emit(relax.op.matmul(y, w))
            y = builder.emit(relax.op.add(y, relax.const(added, "float32")))
            result = builder.emit_output(relax.op.nn.relu(y))
        builder.emit_func_output(result)
    return builder.finalize()


quick = pytest.mark.tvm_tune(max_time="300ms", threshold="80%")
"""
SAME = """
@quick
def test_same(tvm_tune):
    tvm_tune(model(), params=[W], inputs=[X]).check()
"""
OTHERS = """
@quick
def test_other_numbers(tvm_tune):
    tvm_tune(model(added=2.0 if IS_NEW else 1.0), params=[W], inputs=[X])


@quick
def test_slower_code(tvm_tune):
    tvm_tune(model(rounds=60 if IS_NEW else 10), params=[W], inputs=[X])


@quick
def test_other_inputs(tvm_tune):
    tvm_tune(model(), params=[W], inputs=[X * np.random.default_rng().random()])


def test_that_fails_in_the_new_one():
    assert not IS_NEW, "only the old one works"


@pytest.mark.skipif(IS_NEW, reason="not for the new one")
@quick
def test_that_is_skipped(tvm_tune):
    tvm_tune(model(), params=[W], inputs=[X])


def test_that_fails_in_both():
    raise ValueError("in any environment")


@quick
def test_model_that_opens_nowhere(tvm_tune):
    tvm_tune("no-such-file.onnx")
"""


FUNCTIONS = """
import os

import tvm


@tvm.register_global_func("vet.changed", override=True)
def changed(x, out):
    out.copyfrom(x.numpy() + ("VET_IS_NEW" in os.environ))
"""
CALLS_A_FUNCTION = """
@quick
def test_function(tvm_tune):
    vector, matrix = (TensorType(shape, "float32") for shape in ((1, 64), (64, 64)))
    x, w = relax.Var("x", vector), relax.Var("w", matrix)
    builder = relax.BlockBuilder()
    with builder.function("main", [x, w], attrs={"num_input": 1}):
        with builder.dataflow():
            y = builder.emit(relax.op.matmul(x, w))
            y = builder.emit(relax.op.call_dps_packed("vet.changed", (y,), vector))
            result = builder.emit_output(relax.op.nn.relu(y))
        builder.emit_func_output(result)
    tvm_tune(builder.finalize(), params=[W], inputs=[X])
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    # Not the ini file of this project.
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = -p no:cacheprovider\n")
    return tmp_path


def vet(
    capsys: pytest.CaptureFixture[str], old: Path, new: Path, *arguments: str
) -> tuple[int, dict[str, Any]]:
    code = main(["vet", f"--old={old}", f"--new={new}", "--json", *arguments])
    report = json.loads(capsys.readouterr().out)
    validate_vet_report(report)
    return code, report


@pytest.mark.slow
def test_the_same_environment_twice(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "test_it.py").write_text(SUITE + SAME)
    python = Path(sys.executable)
    code, report = vet(capsys, python, python, "--html=vet.html")
    assert (code, report["findings"]) == (0, [])
    (case,) = report["cases"]
    assert case["label"] == "same[llvm]"
    assert [one["sides"] for one in case["comparisons"]] == ["old and new", "runtime"]
    for one in case["comparisons"]:
        assert one["same_code"]
        assert one["numbers"]["max_abs_error"] == 0
        assert one["latency"]["epochs"] > 0
    assert report["old"] == report["new"]
    assert report["old"]["exit_code"] == 0
    assert "both environments have the same TVM: all of its files are equal" in report["notes"]
    assert any("has no tuning records" in note for note in report["notes"])
    assert "same[llvm]" in (folder / "vet.html").read_text()
    # Nothing is left but the stores of both environments.
    parts = {path.name for path in (folder / ".tvmtune" / "vet").iterdir()}
    assert parts == {"old", "new", "package", "vet.lock"}


@pytest.mark.slow
def test_what_differs_is_found(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "test_it.py").write_text(SUITE + SAME + OTHERS)
    new = make_environment(folder / "new", IS_NEW)
    code, report = vet(capsys, Path(sys.executable), new, "test_it.py")
    assert code == 1
    cases = {case["name"]: case for case in report["cases"]}
    assert set(cases) == {
        "same",
        "other_numbers",
        "slower_code",
        "other_inputs",
        "model_that_opens_nowhere",
    }
    assert cases["same"]["findings"] == []
    (wrong,) = cases["other_numbers"]["findings"]
    assert "changed by: the generated code" in wrong
    assert cases["other_numbers"]["divergence"]["kernel"] in wrong
    assert "add" in cases["other_numbers"]["divergence"]["kernel"]
    assert cases["slower_code"]["slower_part"] == "generated code"
    assert "costs more:" in "".join(cases["slower_code"]["findings"])
    assert cases["slower_code"]["kernels"]["rows"]
    assert cases["other_inputs"]["findings"] == []
    assert any("other inputs or parameters in each run" in note for note in report["notes"])
    found = "\n".join(report["findings"])
    assert "test_that_fails_in_the_new_one: passed in the old environment, but failed" in found
    assert "only the old one works" in found
    assert "test_that_is_skipped[llvm]: passed in the old environment, but skipped" in found
    assert "that_is_skipped[llvm]: only the old environment has this case" in found
    notes = "\n".join(report["notes"])
    assert "opens_nowhere[llvm]: can't be opened, compiled, or run in both environments" in notes
    assert "test_that_fails_in_both" not in found
    assert any("test_that_fails_in_both: failed in both" in note for note in report["notes"])


@pytest.mark.slow
def test_what_only_the_runtime_computes_otherwise_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "functions.py").write_text(FUNCTIONS)
    (folder / "pytest.ini").write_text("[pytest]\ntvm_setup = functions.py\n")
    (folder / "test_it.py").write_text(SUITE + CALLS_A_FUNCTION)
    new = make_environment(folder / "new", IS_NEW)
    code, report = vet(capsys, Path(sys.executable), new, "test_it.py")
    assert code == 1
    (case,) = report["cases"]
    assert all(one["same_code"] for one in case["comparisons"])
    (finding,) = case["findings"]
    assert "changed by: the runtime" in finding
    assert "first call with other values: vet.changed, call 2 of 3" in finding


@pytest.mark.slow
def test_an_environment_without_the_plugin_is_given_it(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import tvm
    import tvm_ffi

    (folder / "test_it.py").write_text(SUITE + SAME)
    bare = make_environment(folder / "bare", has_packages=False)
    (own,) = (folder / "bare").glob("lib/python*/site-packages")
    for package in (tvm, tvm_ffi):
        source = Path(package.__file__).parent
        (own / source.name).symlink_to(source, target_is_directory=True)
        for metadata in source.parent.glob(f"apache_{source.name}-*.dist-info"):
            (own / metadata.name).symlink_to(metadata, target_is_directory=True)
    code, report = vet(capsys, Path(sys.executable), bare)
    assert (code, report["findings"]) == (0, [])
    assert any(note.startswith("new environment: numpy, pytest") for note in report["notes"])


@pytest.mark.slow
def test_nothing_runs_on_after_an_interrupt(folder: Path) -> None:
    (folder / "test_it.py").write_text(
        SUITE
        + SAME
        + "\nimport time\ndef test_long():\n    open('begun', 'w')\n    time.sleep(99)\n"
    )
    code = "import sys; from pytest_tvmtune.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "vet"]
    process = subprocess.Popen(
        [*command, f"--old={sys.executable}", f"--new={sys.executable}", "-k", "long"],
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while not (folder / "begun").exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    left = [
        path
        for path in Path("/proc").glob("[0-9]*/cwd")
        if _is_in(path, folder) and path.parent.name != str(os.getpid())
    ]
    assert left == []


def _is_in(link: Path, folder: Path) -> bool:
    try:
        return folder in (target := link.readlink()).parents or target == folder
    except OSError:
        return False

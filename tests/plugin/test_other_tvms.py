"""A TVM that no wheel owns, and versions that this package isn't tested with."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable

import pytest

from pytest_tvmtune.machine.installed_tvm import package_version
from tests.support.edited_tvm import Edits, edited_tvm

MATMUL = """
import numpy as np
import pytest
from tvm.relax.frontend import nn

class Linear(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(8, 8, bias=False)

    def forward(self, x):
        return self.linear(x)

@pytest.mark.tvm_tune(trials=0)
def test_linear(tvm_tune):
    spec = {"forward": {"x": nn.spec.Tensor((2, 8), "float32")}}
    tvm_tune(Linear(), spec=spec).assert_allclose()
"""
NEXT = "0.28.dev7+g1234567"


def next_version(source: bytes) -> bytes:
    edited, count = re.subn(r"(__version__ = version = ).*", rf"\g<1>{NEXT!r}", source.decode())
    assert count == 1
    return edited.encode()


def replaced(old: str, new: str) -> Callable[[bytes], bytes]:
    def edit(source: bytes) -> bytes:
        assert source.count(old.encode()) == 1
        return source.replace(old.encode(), new.encode())

    return edit


@pytest.fixture
def use(
    suite: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[Edits], str]:
    """Return a function that lets the suite import an edited TVM, and returns its folder."""

    def put_first(edits: Edits) -> str:
        suite.makepyfile(MATMUL)
        folder = str(edited_tvm(tmp_path_factory.mktemp("checkout"), edits))
        monkeypatch.setenv("PYTHONPATH", folder, prepend=os.pathsep)
        return folder

    return put_first


def test_a_tested_version_without_a_wheel_is_used(
    suite: pytest.Pytester, use: Callable[[Edits], str]
) -> None:
    folder = use({})
    run = suite.runpytest_subprocess("-v", "--tvm-json=report.json")
    run.assert_outcomes(passed=1)
    run.stdout.fnmatch_lines([f"tvmtune: TVM in {folder}/tvm"])
    run.stdout.no_fnmatch_line("*isn't tested*")
    machine = json.loads((suite.path / "report.json").read_text())["machine"]
    assert machine["tvm"] == package_version("tvm")
    assert machine["tvm_path"] == f"{folder}/tvm"
    assert machine["tvm_revision"] == ""
    assert re.fullmatch("[0-9a-f]{64}", machine["tvm_identity"])


def test_an_unknown_version_is_tried_once_and_used(
    suite: pytest.Pytester, use: Callable[[Edits], str]
) -> None:
    folder = use({"_version.py": next_version})
    log = suite.path / ".tvmtune" / "logs" / "probe.log"
    for first in (True, False):
        run = suite.runpytest_subprocess()
        run.assert_outcomes(passed=1)
        run.stdout.fnmatch_lines([f"tvmtune: apache-tvm {NEXT},*"])
        run.stdout.fnmatch_lines(
            [f"*apache-tvm {NEXT} in {folder}/tvm with apache-tvm-ffi * is used, but*isn't tested*"]
        )
        run.stdout.fnmatch_lines(["*a short check passed*"])
        assert log.exists() == first
        log.unlink(missing_ok=True)


def test_a_part_that_not_all_tests_need_is_named(
    suite: pytest.Pytester, use: Callable[[Edits], str]
) -> None:
    raising = "if cpu_weight_prepack:\n            raise NotImplementedError('prepack is gone')"
    pipeline = replaced("if cpu_weight_prepack:", raising)
    use({"_version.py": next_version, "relax/pipeline.py": pipeline})
    run = suite.runpytest_subprocess()
    run.assert_outcomes(passed=1)
    run.stdout.fnmatch_lines(["*these parts fail: cpu_weight_prepack: *prepack is gone*"])


def test_a_missing_name_ends_the_run(suite: pytest.Pytester, use: Callable[[Edits], str]) -> None:
    folder = use(
        {
            "_version.py": next_version,
            "target/codegen.py": replaced("def llvm_get_cpu_features(", "def cpu_features_of("),
        }
    )
    run = suite.runpytest_subprocess()
    assert run.ret == pytest.ExitCode.USAGE_ERROR
    tvm = f"apache-tvm {NEXT} in {folder}/tvm"
    why = "it has no tvm.target.codegen.llvm_get_cpu_features or *: upgrade pytest-tvmtune, or *"
    run.stderr.fnmatch_lines([f"ERROR: {tvm} doesn't work with pytest-tvmtune (names *: {why}"])
    assert not list((suite.path / ".tvmtune").glob("artifacts/*"))

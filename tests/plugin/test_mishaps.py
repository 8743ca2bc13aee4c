"""What a reviewer broke once: each stays one clear message, and nothing is lost or pretended."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.plugin.snippets import PLAIN, TINY

ONE = (
    TINY
    + """
@pytest.mark.tvm_tune(trials=0)
def test_tiny(tvm_tune):
    tvm_tune(Tiny(), **GIVEN).check(EXPECTED)
"""
)


def test_new_inputs_that_crash_a_stored_library_are_one_failed_test(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first run vouches for the data it was made with, and for no other."""
    suite.makepyfile(
        """
        import os
        import numpy as np
        import pytest
        from tvm.script import ir as I, relax as R

        @I.ir_module
        class Take:
            @R.function
            def main(
                x: R.Tensor((4, 8), "float32"), i: R.Tensor((1,), "int64")
            ) -> R.Tensor((1, 8), "float32"):
                R.func_attr({"num_input": 2})
                with R.dataflow():
                    gv = R.take(x, i, axis=0, mode="fast")
                    R.output(gv)
                return gv

        @pytest.mark.tvm_tune(trials=0)
        def test_take(tvm_tune):
            x = np.arange(32, dtype="float32").reshape(4, 8)
            index = np.array([int(os.environ["INDEX"])])
            tvm_tune(Take, inputs=[x, index]).check(x[index])

        def test_another():
            pass
        """
    )
    monkeypatch.setenv("INDEX", "1")
    suite.runpytest_subprocess().assert_outcomes(passed=2)
    monkeypatch.setenv("INDEX", str(1 << 40))
    result = suite.runpytest_subprocess()
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "take[[]llvm[]]: first run with these inputs: crashed with SIGSEGV in kernel take (*",
            "log: *",
        ]
    )


def test_a_swallowed_finding_is_not_accepted(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        TINY
        + """
@pytest.mark.tvm_tune(trials=0)
def test_tiny(tvm_tune):
    run = tvm_tune(Tiny(), **GIVEN)
    with pytest.raises(pytest.fail.Exception):
        run.assert_allclose(EXPECTED + 1)
    run.assert_no_regression()
"""
    )
    result = suite.runpytest_subprocess("--tvm-update")
    result.assert_outcomes(passed=1)
    assert list((suite.path / ".tvmtune").glob("baselines/*")) == []
    result.stdout.fnmatch_lines(["*accepted 0 baselines"])


def test_a_library_is_not_compared_with_itself(suite: pytest.Pytester) -> None:
    """Untuned and unpacked, it is its own reference: no error is shown, nothing was checked."""
    suite.makepyfile(
        TINY
        + """
@pytest.mark.tvm_tune(trials=0)
def test_tiny(tvm_tune):
    tvm_tune(Tiny(), **GIVEN).assert_allclose()
"""
    )
    result = suite.runpytest_subprocess("--tvm-json=report.json")
    result.assert_outcomes(passed=1, warnings=1)
    result.stdout.fnmatch_lines(["*nothing was checked*"])
    assert json.loads((suite.path / "report.json").read_text())["cases"][0]["errors"] == []


@pytest.mark.parametrize(
    "path", ["", "test_it.py/report.json", "/proc/report.json", "also-html.json"]
)
def test_a_report_that_can_not_be_written_is_told_at_once(
    suite: pytest.Pytester, path: str
) -> None:
    suite.makepyfile(test_it=PLAIN)
    options = [f"--tvm-json={suite.path / path}", "--junitxml=junit.xml"]
    if path.startswith("also"):
        options.append(f"--tvm-html={path}")
    result = suite.runpytest_subprocess(*options)
    if path.startswith("/proc"):
        # Nobody can tell beforehand: all tests run, and all other reports are written.
        result.assert_outcomes(passed=1)
        assert (suite.path / "junit.xml").is_file()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    text = "\n".join([*result.outlines, *result.errlines])
    assert f"ERROR: --tvm-{'html' if path.startswith('also') else 'json'}: " in text
    assert "Traceback" not in text


DAMAGES: dict[str, tuple[dict[str, Any] | None, str]] = {
    "samples": ({"samples_s": ["abc"]}, "*.json: damaged baseline: *samples_s*"),
    "fingerprint": ({"fingerprint": {}}, "*.json: damaged baseline: the fingerprint lacks *"),
    "untuned": ({"untuned": "../../etc"}, "*.json: damaged baseline: *untuned*"),
    "schema": ({"schema": 1}, "*.json: not a baseline of schema 2"),
    "target": (
        {"target": '{"kind": "llvm", "mcpu": "znver5"}'},
        "the baseline was built for another target: *znver5*",
    ),
    "stolen": ({"identity": None}, "*.json belongs to another case: *"),
    "folder": (None, "*.json: *Is a directory*"),
}


def test_a_baseline_beyond_use_is_incomparable(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        test_it=TINY
        + f"""
@pytest.mark.tvm_tune(trials=0)
@pytest.mark.parametrize("damage", {list(DAMAGES)})
def test_tiny(tvm_tune, damage):
    tvm_tune(Tiny(), **GIVEN).check(EXPECTED)
"""
    )
    every = len(DAMAGES)
    suite.runpytest_subprocess("--tvm-update-new").assert_outcomes(passed=every)
    folder = suite.path / ".tvmtune" / "baselines"
    identities = {
        damage: json.loads(next(folder.glob(f"*tiny-{damage}-*.json")).read_text())["identity"]
        for damage in DAMAGES
    }
    for damage, (change, _) in DAMAGES.items():
        (path,) = folder.glob(f"*tiny-{damage}-*.json")
        if change is None:
            path.unlink()
            path.mkdir()
            continue
        if "identity" in change:
            change = {"identity": identities["samples"]}  # noqa: PLW2901
        path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    result = suite.runpytest_subprocess()
    result.assert_outcomes(passed=every, warnings=every)
    repair = (
        "; import the baseline with `tvmtune baselines import FILE`, or accept this run with "
        "*update"
    )
    for _, message in DAMAGES.values():
        result.stdout.fnmatch_lines([f"*: INCOMPARABLE: {message}{repair}"])
    suite.runpytest_subprocess("--tvm-update").assert_outcomes(passed=every, errors=1)


def test_a_helper_that_takes_only_tensors_in_a_tuple_blocks_nobody(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        TINY
        + """
from tvm.script import ir as I, relax as R

@I.ir_module
class Two:
    @R.function
    def main(x: R.Tensor((2,), "float32")) -> R.Tensor((2,), "float32"):
        return R.nn.relu(x)
    @R.function
    def other(
        t: R.Tuple(R.Tensor((2,), "float32"), R.Tensor((2,), "float32"))
    ) -> R.Tensor((2,), "float32"):
        return t[0]

pytestmark = pytest.mark.tvm_tune(trials=0)

def test_two(tvm_tune):
    tvm_tune(Two, inputs=[np.array([-1, 1], "float32")]).check(np.array([0, 1], "float32"))

def test_plain_neighbour():
    pass

def test_dynamic(request):
    request.getfixturevalue("tvm_tune")
"""
    )
    result = suite.runpytest_subprocess()
    result.assert_outcomes(passed=2, errors=0, failed=1)
    result.stdout.fnmatch_lines(["getfixturevalue can't return tvm_tune, *: make them *"])


def test_targets_that_differ_in_cores_only_are_refused(suite: pytest.Pytester) -> None:
    suite.makepyfile(test_it=PLAIN)
    result = suite.runpytest_subprocess(
        "--tvm-target=llvm -num-cores 1", "--tvm-target=llvm -num-cores 2"
    )
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --tvm-target: * differ only in num-cores*"])


def test_the_valid_lines_of_a_damaged_file_survive_strict_warnings(
    suite: pytest.Pytester,
) -> None:
    suite.makeini("[pytest]\nfilterwarnings = error\n")
    suite.makepyfile(ONE.replace("trials=0", "trials=2"))
    suite.runpytest_subprocess("--tvm-update-new").assert_outcomes(passed=1)
    path, *_ = (suite.path / ".tvmtune").glob("tuning/*/*.jsonl")
    valid = path.read_text()
    path.write_text(valid + "garbage\n")
    suite.runpytest_subprocess().assert_outcomes(failed=1)
    assert path.read_text() == valid
    suite.runpytest_subprocess("--tvm-strict").assert_outcomes(passed=1)


@pytest.mark.parametrize("workers", [(), ("-n2",)])
def test_a_test_that_fails_before_it_has_a_case_is_in_the_reports(
    suite: pytest.Pytester, workers: tuple[str, ...]
) -> None:
    """Otherwise, the reports would be of a run in which everything passed."""
    suite.makepyfile(
        test_good=ONE,
        test_bad="""
        import pytest

        @pytest.mark.tvm_tune(trials=0)
        def test_raises(tvm_tune):
            raise RuntimeError("no model")

        @pytest.fixture
        def broken():
            raise RuntimeError("no fixture")

        def test_setup(broken):
            pass
        """,
        test_unimportable="import no_such_module",
    )
    files = {"json": "r.json", "badge": "b.json", "markdown": "r.md", "html": "r.html"}
    options = [f"--tvm-{name}={file}" for name, file in files.items()]
    suite.runpytest_subprocess(*options, "--continue-on-collection-errors", *workers)
    report = json.loads((suite.path / "r.json").read_text())
    assert [case["outcome"] for case in report["cases"]] == ["passed"]
    failed = ["test_bad.py::test_raises[llvm]", "test_bad.py::test_setup", "test_unimportable.py"]
    assert report["failed_tests"] == failed
    words = "3 tests failed without a case"
    assert json.loads((suite.path / "b.json").read_text())["message"] == words
    markdown, html = ((suite.path / name).read_text() for name in ("r.md", "r.html"))
    assert markdown.startswith(f"### tvmtune: 0 failed of 1 case, {words}\n")
    assert f"0 failed of 1 case, {words}" in html
    for nodeid in failed:
        assert f"`{nodeid}`" in markdown
        assert f"Failed without a case: {nodeid}" in html

"""Cases and ordinary benchmarks, in the table, files, and options of pytest-benchmark."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pytest_tvmtune.plugin.benchmark_bridge import SampleClock
from tests.plugin.onnx_files import write_linear
from tests.plugin.snippets import TINY

# The samples of each Run go to a file, to be compared with those of pytest-benchmark.
SUITE = (
    TINY
    + """
import json
from pathlib import Path

def noted(run, name):
    Path(f"{name}.samples").write_text(json.dumps(run.samples))

@pytest.mark.tvm_tune(trials=0, prepack="both")
def test_tiny(tvm_tune):
    run = tvm_tune(Tiny(), **GIVEN)
    run.check(EXPECTED)
    noted(run, "prepacked" if run.result.prepack else "plain")

@pytest.mark.benchmark(group="pair")
@pytest.mark.parametrize("rows", [2])
@pytest.mark.tvm_tune(trials=0)
def test_two(tvm_tune, rows):
    noted(first := tvm_tune(Tiny(), **GIVEN), "unused")
    first.assert_no_regression()
    second = tvm_tune(Tiny(), name="second", **GIVEN)
    second.assert_no_regression()
    noted(first, "first")
    noted(second, "second")
    tvm_tune(Tiny(), name="untimed", **GIVEN).assert_allclose(EXPECTED)
    pytest.fail("after both were timed")

@pytest.mark.tvm_tune(trials=0)
def test_own(tvm_tune, benchmark):
    run = tvm_tune(Tiny(), **GIVEN)
    (outputs,) = [benchmark(run)]
    np.testing.assert_allclose(outputs.numpy(), EXPECTED, rtol=1e-4)
    run.check(EXPECTED)

@pytest.mark.tvm_tune(trials=0)
def test_not_timed(tvm_tune):
    tvm_tune(Tiny(), **GIVEN).assert_allclose(EXPECTED)

def test_ordinary(benchmark):
    benchmark.pedantic(sum, args=([1, 2],), rounds=3)

def test_other():
    pass
"""
)
NOT_USED = "Benchmark fixture was not used"


def by_name(report: dict[str, Any]) -> dict[str, Any]:
    return {one["name"]: one for one in report["benchmarks"]}


def test_a_session_of_both_kinds_is_saved_compared_and_drawn(suite: pytest.Pytester) -> None:
    suite.makepyfile(test_it=SUITE)
    write_linear(suite.path / "linear.onnx")
    (suite.path / "linear.tvmtune.toml").write_text("trials = 0\n")
    options: tuple[str, ...] = (
        "--benchmark-autosave",
        "--benchmark-json=report.json",
        "--tvm-update-new",
    )
    done = suite.runpytest_subprocess("test_it.py", "linear.onnx", *options)
    done.assert_outcomes(passed=7, failed=1)
    assert NOT_USED not in done.stdout.str() + done.stderr.str()
    found = by_name(json.loads((suite.path / "report.json").read_text()))
    assert set(found) == {
        "test_tiny[llvm]", "test_tiny[llvm-prepack]", "test_two[2-llvm]",
        "test_two[2-llvm]::second", "test_own[llvm]", "test_ordinary", "linear[llvm]",
    }  # fmt: skip
    # Our samples, to the last bit and in their order.
    noted = {"test_tiny[llvm]": "plain", "test_tiny[llvm-prepack]": "prepacked",
             "test_two[2-llvm]": "first", "test_two[2-llvm]::second": "second"}  # fmt: skip
    for name, file in noted.items():
        samples = json.loads((suite.path / f"{file}.samples").read_text())
        assert samples
        assert found[name]["stats"]["data"] == samples
        assert found[name]["stats"]["rounds"] == len(samples)
    packed = found["test_tiny[llvm-prepack]"]
    assert packed["params"] == {"target": "llvm", "prepack": True}
    info = packed["extra_info"]
    assert json.loads(info["target"])["kind"] == "llvm"
    assert (info["prepack"], info["verdict"]) == (True, "NEW")
    assert (info["tuned_tasks"], info["tasks"]) == (0, 2)
    assert info["library_bytes"] > 0
    assert info["trial_s"] is None
    assert (suite.path / ".tvmtune" / "artifacts" / info["artifact"]).is_dir()
    second = found["test_two[2-llvm]::second"]
    assert (second["group"], second["fullname"]) == ("pair", "test_it.py::test_two[2-llvm]::second")
    assert second["params"] == {"rows": 2, "target": "llvm", "prepack": False}
    own = found["test_own[llvm]"]
    assert own["options"]["timer"] == "perf_counter"
    assert own["params"] == {"target": "llvm", "prepack": False}
    assert own["extra_info"]["verdict"] == "NEW"
    assert found["linear[llvm]"]["fullname"] == "linear.onnx::linear[llvm]"
    assert found["linear[llvm]"]["extra_info"]["verdict"] == "NEW"

    options = ("--benchmark-compare", "--benchmark-histogram=drawn",
               "--benchmark-group-by=param:target", "--benchmark-only", "-rs")  # fmt: skip
    named = ("test_it.py", "linear.onnx", "-k", "tiny or other or linear")
    done = suite.runpytest_subprocess(*named, *options)
    done.assert_outcomes(passed=3, skipped=1, deselected=4)
    shown = done.stdout.str()
    assert "benchmark 'target=llvm': 6 tests" in shown
    for name in ("test_tiny[llvm]", "test_tiny[llvm-prepack]", "linear[llvm]"):
        assert f"{name} (NOW)" in shown
        assert f"{name} (0001_" in shown
    (drawn,) = suite.path.glob("drawn*.svg")
    assert "test_tiny[llvm-prepack]" in drawn.read_text(encoding="utf-8")


def test_whatever_pytest_benchmark_is_told_nothing_breaks(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        test_it=TINY
        + """
@pytest.mark.tvm_tune(trials=0)
def test_tiny(tvm_tune):
    tvm_tune(Tiny(), **GIVEN).check(EXPECTED)

def test_other():
    pass
"""
    )
    for options, outcomes in (
        ((), {"passed": 2}),
        (("-n", "1"), {"passed": 2}),
        (("-n", "1", "--benchmark-skip"), {"skipped": 1, "passed": 1}),
        (("--benchmark-disable",), {"passed": 2}),
        (("-p", "no:benchmark"), {"passed": 2}),
    ):
        done = suite.runpytest_subprocess(*options)
        done.assert_outcomes(**outcomes)
        # Its header and its options' names aside, nothing is said of benchmarks, nothing warned.
        shown = done.stdout.str().partition("\n\n")[2] + done.stderr.str()
        assert "enchmark" not in shown
        assert "warning" not in shown.splitlines()[-1]


def test_its_table_is_shown_if_it_has_another_benchmark_or_was_asked_for(
    suite: pytest.Pytester,
) -> None:
    suite.makepyfile(
        test_tiny=TINY
        + """
@pytest.mark.tvm_tune(trials=0)
def test_tiny(tvm_tune):
    tvm_tune(Tiny(), **GIVEN).assert_no_regression()
""",
        test_ordinary="def test_ordinary(benchmark): benchmark.pedantic(sum, args=([1],))",
    )
    table = "*- benchmark: {} tests -*"
    for options, count in (
        (("test_tiny.py",), 0),
        (("test_tiny.py", "test_ordinary.py"), 2),
        (("test_tiny.py", "--benchmark-columns=median"), 1),
        (("test_tiny.py", "-o", "addopts=--benchmark-sort=name"), 1),
    ):
        shown = suite.runpytest_subprocess(*options).stdout
        if count:
            shown.fnmatch_lines([table.format(count), "test_tiny[[]llvm[]] *"])
        else:
            shown.no_fnmatch_line(table.format("*"))
            shown.no_fnmatch_line("Name (time in *")
    # Options in a file aren't among the arguments: the table may be missing, a check may not.
    suite.path.joinpath("options").write_text("--benchmark-compare-fail=median:1%\n")
    result = suite.runpytest_subprocess("test_tiny.py", "@options")
    assert result.ret != pytest.ExitCode.OK
    result.stderr.fnmatch_lines(["*--benchmark-compare-fail requires valid --benchmark-compare*"])


def test_the_clock_gives_back_each_sample_as_it_is() -> None:
    samples = [0.1, 1e-9, 12345.678901234567, 0.3]
    clock = SampleClock(samples)
    taken = []
    for _ in range(len(samples) + 1):
        start = clock.read()
        clock.advance()
        taken.append(clock.read() - start)
    assert taken == [*samples, 0.0]

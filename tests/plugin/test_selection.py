"""Which items there are and what each is told: precedence, targets, ids. No model is compiled."""

from __future__ import annotations

import json

import pytest

# A test of this suite writes down what it was told, as the fixture hands it on.
SUITE = """
import json
import pytest
from pathlib import Path

def note(options):
    told = {
        "id": options.target.name + ("-prepack" if options.prepack else ""),
        "trials": options.trials, "seed": options.seed, "threshold": options.threshold.text,
        "max_time_s": options.max_time_s, "num_threads": options.num_threads,
        "cap": options.max_trials_per_task, "target": options.target.config,
    }
    with open("told.jsonl", "a") as file:
        file.write(json.dumps(told) + "\\n")
"""
TEST = """
@pytest.mark.tvm_tune({marker})
def test_it(_tvmtune_case):
    note(_tvmtune_case)
"""

DEFAULTS = {
    "id": "llvm",
    "trials": 64,
    "seed": 0,
    "threshold": "3%",
    "max_time_s": 10.0,
    "num_threads": None,
    "cap": None,
    "target": {"kind": "llvm"},
}


def told(
    suite: pytest.Pytester, *options: str, marker: str = "", ini: str = ""
) -> list[dict[str, object]]:
    suite.makeini(f"[pytest]\n{ini}\n")
    suite.makepyfile(test_it=SUITE + TEST.format(marker=marker))
    (suite.path / "told.jsonl").unlink(missing_ok=True)
    result = suite.runpytest_subprocess(*options)
    assert result.ret == 0, result.stdout.str()
    return [json.loads(line) for line in (suite.path / "told.jsonl").read_text().splitlines()]


INI = "tvm_trials = 1\ntvm_seed = 1\ntvm_threshold = 1%\ntvm_max_time = 1\ntvm_num_threads = 1"
OPTIONS = (
    "--tvm-trials=2", "--tvm-seed=2", "--tvm-threshold=2%", "--tvm-max-time=2s",
    "--tvm-num-threads=2",
)  # fmt: skip
MARKER = "trials=3, seed=3, threshold='3ms', max_time=3, num_threads=3"


@pytest.mark.parametrize(
    ("options", "marker", "ini", "expected"),
    [
        ((), "", "", DEFAULTS),
        ((), "", INI, (1, 1, "1%", 1.0, 1)),
        (OPTIONS, "", INI, (2, 2, "2%", 2.0, 2)),
        (OPTIONS, MARKER, INI, (3, 3, "3ms", 3.0, 3)),
        ((), MARKER, INI, (3, 3, "3ms", 3.0, 3)),
        (("--tvm-trials=0",), "", INI, (0, 1, "1%", 1.0, 1)),
        (OPTIONS, "trials=0, seed=None", INI, (0, 2, "2%", 2.0, 2)),
    ],
    ids=["default", "ini", "option", "marker", "marker-ini", "falsy-option", "falsy-marker"],
)
def test_marker_beats_option_beats_ini_beats_default(
    suite: pytest.Pytester, options: tuple[str, ...], marker: str, ini: str, expected: object
) -> None:
    if isinstance(expected, tuple):
        names = ("trials", "seed", "threshold", "max_time_s", "num_threads")
        expected = {**DEFAULTS, **dict(zip(names, expected, strict=True))}
    assert told(suite, *options, marker=marker, ini=ini) == [expected]


@pytest.mark.parametrize(
    ("options", "marker", "ini", "ids"),
    [
        ((), "prepack='both'", "", ["llvm", "llvm-prepack"]),
        (("--tvm-prepack=both",), "prepack=True", "", ["llvm-prepack"]),
        ((), "", "tvm_prepack = on", ["llvm-prepack"]),
        ((), "target='host'", "", ["host"]),
        (("--tvm-target=llvm",), "target='host'", "", ["host"]),
        (("--tvm-target=host", "--tvm-target=llvm"), "", "", ["host", "llvm"]),
        (("--tvm-target=host",), "", "tvm_target = llvm", ["host"]),
        ((), "", "tvm_target =\n  host\n  llvm", ["host", "llvm"]),
        (("--tvm-target=llvm",), "target=['host', 'cuda']", "", ["host"]),
        ((), "target={'kind': 'llvm', 'num-cores': 1}", "", ["llvm"]),
        ((), "target='llvm -mcpu=x86-64-v3'", "", ["llvm-5b9c65ff"]),
        ((), """target='{"mcpu": "x86-64-v3", "kind": "llvm", "num-cores": 2}'""", "",
         ["llvm-5b9c65ff"]),
    ],
)  # fmt: skip
def test_items(
    suite: pytest.Pytester, options: tuple[str, ...], marker: str, ini: str, ids: list[str]
) -> None:
    assert [one["id"] for one in told(suite, *options, marker=marker, ini=ini)] == ids


def test_environment_names_targets_below_the_ini(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TVM_TEST_TARGETS", "host; llvm -num-cores=1")
    assert [one["target"] for one in told(suite)] == [{}, {"kind": "llvm", "num-cores": 1}]
    assert [one["id"] for one in told(suite, ini="tvm_target = llvm")] == ["llvm"]


def test_a_test_for_other_targets_is_skipped_with_the_reason(suite: pytest.Pytester) -> None:
    suite.makepyfile(SUITE + TEST.format(marker="target=['cuda', 'rocm']"))
    result = suite.runpytest_subprocess("--tvm-target=llvm", "-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*this test is for cuda, rocm, and this run is for llvm"])


def test_ours_comes_last_in_an_id_and_the_closest_mark_wins(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        test_it=SUITE
        + """
pytestmark = pytest.mark.tvm_tune(prepack="both", trials=5, seed=5)

@pytest.mark.tvm_tune(trials=6)
class TestMany:
    @pytest.mark.tvm_tune(seed=7)
    @pytest.mark.parametrize("size", [1, 2])
    def test_it(self, size, _tvmtune_case):
        note(_tvmtune_case)
"""
    )
    result = suite.runpytest_subprocess("-v")
    for name in ("1-llvm", "1-llvm-prepack", "2-llvm", "2-llvm-prepack"):
        result.stdout.fnmatch_lines([f"test_it.py::TestMany::test_it[[]{name}[]] PASSED*"])
    rows = [json.loads(line) for line in (suite.path / "told.jsonl").read_text().splitlines()]
    assert {(row["trials"], row["seed"]) for row in rows} == {(6, 7)}


def test_target_and_device_fixtures(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        """
        import pytest, tvm
        @pytest.mark.tvm_tune(target="llvm -num-cores 3")
        def test_them(tvm_target, tvm_device):
            assert isinstance(tvm_target, tvm.target.Target)
            assert int(tvm_target.attrs["num-cores"]) == 3
            assert tvm_device == tvm.cpu()
        def test_without_a_mark(tvm_target):
            assert tvm_target.kind.name == "llvm"
        """
    )
    result = suite.runpytest_subprocess("-v")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(['tvmtune: target llvm = {*"num-cores": 3*'])


def test_a_target_object_is_the_target_that_it_means(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        test_it=SUITE
        + """
from tvm.target import Target

@pytest.mark.tvm_tune(target=[Target("llvm"), Target({"kind": "llvm", "mcpu": "x86-64-v3"})])
def test_it(_tvmtune_case): note(_tvmtune_case)

@pytest.mark.tvm_tune(target=Target({"kind": "llvm", "num-cores": 1}))
def test_cores(_tvmtune_case): note(_tvmtune_case)
"""
    )
    result = suite.runpytest_subprocess("-v")
    for name in ("test_it[[]llvm]", "test_it[[]llvm-5b9c65ff]", "test_cores[[]llvm]"):
        result.stdout.fnmatch_lines([f"test_it.py::{name} PASSED*"])
    # One name, one line.
    result.stdout.fnmatch_lines(["tvmtune: target llvm = {*}, other tests with num-cores 1"])


def test_paths_are_relative_to_where_they_were_written(suite: pytest.Pytester) -> None:
    suite.makeini("[pytest]\ntvm_dir = from_ini\n")
    suite.makepyfile(test_it=SUITE + TEST.format(marker="trials=0"))
    inner = suite.mkdir("inner")
    suite.chdir()
    command = ["-c", str(suite.path / "tox.ini"), f"--rootdir={suite.path}", str(suite.path)]
    import os

    os.chdir(inner)
    suite.runpytest_subprocess(*command).assert_outcomes(passed=1)
    assert (suite.path / "from_ini" / "CACHEDIR.TAG").is_file()
    suite.runpytest_subprocess(*command, "--tvm-dir=typed").assert_outcomes(passed=1)
    assert (inner / "typed" / "CACHEDIR.TAG").is_file()

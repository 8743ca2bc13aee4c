"""Options and ini keys that are wrong: one UsageError with culprit and remedy, exit code 4."""

from __future__ import annotations

import pytest

from tests.plugin.snippets import MARKED, PLAIN

MALFORMED = [
    ("--tvm-target={bad", "'{bad' is malformed JSON"),
    ("--tvm-target=llvm -num-cores 0", "num-cores is 0 * give a whole number of at least 1"),
    ("--tvm-target=", "the target is empty"),
    ("--tvm-trials=-1", "--tvm-trials: -1 is out of range; give a whole number from 0 to 1000000"),
    ("--tvm-trials=99999999999", "--tvm-trials: 99999999999 is out of range"),
    ("--tvm-trials=2.5", "--tvm-trials: '2.5' is not a whole number"),
    ("--tvm-max-trials-per-task=0", "--tvm-max-trials-per-task: 0 is out of range"),
    ("--tvm-threshold=abc", "--tvm-threshold: 'abc' is not a positive percentage such as 3%"),
    ("--tvm-threshold=-1%", "--tvm-threshold: '-1%' is not a positive percentage"),
    ("--tvm-threshold=0", "--tvm-threshold: '0' is not a positive percentage"),
    ("--tvm-prepack=maybe", "--tvm-prepack: 'maybe' is not one of off, on, both"),
    ("--tvm-tuning=always", "--tvm-tuning: 'always' is not one of missing, never, refresh"),
    ("--tvm-max-time=never", "--tvm-max-time: 'never' is not a positive duration"),
    ("--tvm-max-time=0", "--tvm-max-time: '0' is not a positive duration"),
    ("--tvm-num-threads=0", "--tvm-num-threads: 0 is out of range"),
    ("--tvm-seed=x", "--tvm-seed: 'x' is not a whole number"),
    ("--tvm-collect=*.pt2", "--tvm-collect: '*.pt2' is not a pattern of ONNX files"),
    ("--tvm-rpc=localhost", "--tvm-rpc: 'localhost' isn't an address; give HOST:PORT/KEY"),
    ("--tvm-rpc=localhost:9190/", "--tvm-rpc: 'localhost:9190/' isn't an address"),
    ("--tvm-rpc=localhost:65536/pi", "--tvm-rpc: 'localhost:65536/pi' isn't an address"),
    ("--tvm-cross-compiler= ", "--tvm-cross-compiler: ' ' is not a command"),
]

# What only TVM or the machine can tell is found once marked tests were collected.
FOUND_LATER = [
    ("--tvm-target=nokind", "unknown kind 'nokind'; the installed TVM has *llvm*"),
    ("--tvm-target=llvm -colour=red", "Unknown config option 'colour'"),
    (
        "--tvm-target=llvm -mcpu=abacus",
        "LLVM doesn't know the CPU 'abacus'; for this machine, give *",
    ),
    ("--tvm-target=cuda", "target 'cuda': this machine has no such device"),
    (
        "--tvm-dir=test_it.py",
        "test_it.py is a file, not a folder; give another folder with --tvm-dir",
    ),
    ("--tvm-dir=/proc/store", "--tvm-dir: can't create /proc/store: * give another folder"),
]


def assert_usage_error(result: pytest.RunResult, message: str) -> None:
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    text = "\n".join([*result.outlines, *result.errlines])
    assert "INTERNALERROR" not in text
    assert "Traceback" not in text
    lines = pytest.LineMatcher(text.splitlines())
    lines.fnmatch_lines([f"ERROR: *{message.replace('[', '[[]')}*"])


@pytest.mark.parametrize(("option", "message"), MALFORMED, ids=[one[0] for one in MALFORMED])
def test_malformed(suite: pytest.Pytester, option: str, message: str) -> None:
    """Found before anything is collected, also where no test is ours."""
    suite.makepyfile(test_it=PLAIN)
    assert_usage_error(suite.runpytest_inprocess(option), message)


@pytest.mark.parametrize(("option", "message"), FOUND_LATER, ids=[one[0] for one in FOUND_LATER])
def test_found_once_marked_tests_are_collected(
    suite: pytest.Pytester, option: str, message: str
) -> None:
    suite.makepyfile(test_it=MARKED + PLAIN)
    result = suite.runpytest_subprocess(option)
    assert_usage_error(result, message)
    result.assert_outcomes()
    unmarked = suite.runpytest_subprocess(option, "--deselect=test_it.py::test_marked")
    unmarked.assert_outcomes(passed=1, deselected=1)


@pytest.mark.parametrize(
    ("option", "message"), [MALFORMED[0], FOUND_LATER[0], FOUND_LATER[-1]],
    ids=["malformed", "target", "store"],
)  # fmt: skip
def test_under_xdist_it_is_the_same(suite: pytest.Pytester, option: str, message: str) -> None:
    """What is found later the workers find, and tell the controller."""
    suite.makepyfile(test_it=MARKED + PLAIN)
    result = suite.runpytest_subprocess(option, "-n", "2")
    assert_usage_error(result, message)
    result.stdout.no_fnmatch_line("* passed*")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("tvm_trials", "many", "ini tvm_trials: 'many' is not a whole number"),
        ("tvm_threshold", "3", "ini tvm_threshold: '3' is not a positive percentage"),
        ("tvm_strict", "perhaps", "ini tvm_strict: 'perhaps' is not true or false"),
        ("tvm_cold_cache", "lukewarm", "ini tvm_cold_cache: 'lukewarm' is not true or false"),
        ("tvm_target", "{", "ini tvm_target: '{' is malformed JSON"),
    ],
)
def test_bad_ini(suite: pytest.Pytester, key: str, value: str, message: str) -> None:
    suite.makeini(f"[pytest]\n{key} = {value}\n")
    suite.makepyfile(test_it=PLAIN)
    assert_usage_error(suite.runpytest_inprocess(), message)


def test_bad_environment_variable(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TVM_TEST_TARGETS", "llvm;{")
    suite.makepyfile(test_it=PLAIN)
    assert_usage_error(
        suite.runpytest_inprocess(),
        "environment variable TVM_TEST_TARGETS: '{' is malformed JSON",
    )


def test_a_bad_tracker_in_the_environment(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variables name a tracker only together."""
    monkeypatch.setenv("TVM_TRACKER_HOST", "tracker")
    monkeypatch.setenv("TVM_TRACKER_PORT", "many")
    suite.makepyfile(test_it=PLAIN)
    assert suite.runpytest_inprocess().ret == pytest.ExitCode.OK
    monkeypatch.setenv("TVM_TRACKER_KEY", "rasp4b")
    assert_usage_error(
        suite.runpytest_inprocess(),
        "TVM_TRACKER_HOST, TVM_TRACKER_PORT, TVM_TRACKER_KEY: 'tracker:many/rasp4b' isn't an",
    )

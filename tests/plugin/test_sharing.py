"""One store for many: xdist workers, fallbacks, a session's refresh."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from pytest_tvmtune.store.layout import Store
from pytest_tvmtune.store.tuning.workload_files import read_workload, stored_keys
from tests.plugin.snippets import TINY

SUITE = (
    TINY
    + """
@pytest.mark.tvm_tune(trials=4)
@pytest.mark.parametrize("which", [1, 2, 3, 4])
def test_tiny(tvm_tune, which):
    run = tvm_tune(Tiny(), **GIVEN)
    run.check(EXPECTED)
    assert [task.is_settled for task in run.tasks] == [True, True]
"""
)


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_workers_tune_a_workload_once_and_refresh_it_once(suite: pytest.Pytester) -> None:
    """Whichever worker does: two that begin at once may share a model's tasks out."""
    suite.makepyfile(test_it=SUITE)
    for options, runs in ((), 1), (("--tvm-tuning=refresh",), 2), ((), 2):
        suite.runpytest_subprocess("-n", "2", *options).assert_outcomes(passed=4)
        store = Store(root=suite.path / ".tvmtune")
        known = [read_workload(store, key, shash) for key, shash in stored_keys(store)]
        assert [len(one.served) for one in known if one] == [runs, runs]


def test_a_fallback_saves_tuning_and_is_only_read(suite: pytest.Pytester) -> None:
    suite.makepyfile(test_it=SUITE)
    suite.runpytest_subprocess("--tvm-dir=shared", "-k", "1").assert_outcomes(
        passed=1, deselected=3
    )
    shared = suite.path / "shared"
    before = contents(shared)
    result = suite.runpytest_subprocess("--tvm-store-fallback=shared", "-k", "1", "--tvm-strict",
                                        "--tvm-update-new")  # fmt: skip
    result.assert_outcomes(passed=1, deselected=3)
    result.stdout.fnmatch_lines(["*; tuned 0 cases, *"])
    assert contents(shared) == before
    # In the ini too; and asking for more tops up, into the local store.
    suite.makeini("[pytest]\ntvm_store_fallback = nowhere\n")
    result = suite.runpytest_subprocess()
    assert result.ret == 4
    result.stderr.fnmatch_lines(["*--tvm-store-fallback: */nowhere is not a folder*"])
    suite.makeini("[pytest]\ntvm_store_fallback =\n    shared\n")
    suite.makepyfile(test_it=SUITE.replace("trials=4", "trials=8"))
    result = suite.runpytest_subprocess("-k", "1")
    result.stdout.fnmatch_lines(["*; tuned 1 case (* trials, *"])
    assert contents(shared) == before


def test_a_baseline_gives_its_records_back_and_travels_in_one_file(
    suite: pytest.Pytester,
) -> None:
    """What a clone of the repository has, and what a machine has that was sent the file."""
    suite.makepyfile(test_it=SUITE)
    only_one = ("-k", "1", "--tvm-strict", "--tvm-json=report.json")
    suite.runpytest_subprocess("--tvm-update-new", *only_one).assert_outcomes(
        passed=1, deselected=3
    )
    store = suite.path / ".tvmtune"
    tvmtune = str(Path(sys.executable).with_name("tvmtune"))
    assert suite.run(tvmtune, "baselines", "export", "baselines.zip").ret == 0

    def passes_without_tuning() -> None:
        result = suite.runpytest_subprocess(*only_one)
        result.assert_outcomes(passed=1, deselected=3)
        (case,) = json.loads((suite.path / "report.json").read_text())["cases"]
        assert (case["tuned_now"], case["trials_spent"]) == (False, 0)
        assert sorted(case["tasks_restored"]) == ["fused_matmul_add", "transpose"]
        assert (case["latency"]["verdict"], case["latency"]["same_code"]) == ("PASS", True)

    for path in store.iterdir():
        if path.is_dir() and path.name != "baselines":
            shutil.rmtree(path)
    passes_without_tuning()

    shutil.rmtree(store)
    assert suite.run(tvmtune, "baselines", "import", "baselines.zip").ret == 0
    passes_without_tuning()

    shutil.rmtree(store / "tuning")
    (records,) = (store / "baselines").glob("*.records.jsonl.gz")
    records.write_bytes(records.read_bytes()[:-10])
    result = suite.runpytest_subprocess("-k", "1", "--tvm-tuning=never")
    result.assert_outcomes(failed=1, deselected=3)
    result.stdout.fnmatch_lines(["*.records.jsonl.gz: *; the baseline's records are not used"])


def test_records_that_call_for_outside_code_are_refused(suite: pytest.Pytester) -> None:
    suite.makepyfile(test_it=SUITE)
    suite.runpytest_subprocess("-k", "1").assert_outcomes(passed=1, deselected=3)
    for path in (suite.path / ".tvmtune" / "tuning").rglob("*.jsonl"):
        path.write_text(path.read_text().replace('"pragma_unroll_explicit"', '"pragma_import_c"'))
    for path in (suite.path / ".tvmtune" / "builds").iterdir():
        path.unlink()
    result = suite.runpytest_subprocess("-k", "1")
    result.stdout.fnmatch_lines(["*refused: its trace contains code*"])

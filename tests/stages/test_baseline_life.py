"""What an accepted baseline keeps, and what it gives back to a store that has lost it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from pytest_tvmtune.cli import main
from pytest_tvmtune.core.errors import BaselineError
from pytest_tvmtune.core.gating.accepted_baseline import Baseline
from pytest_tvmtune.core.results.latency_result import LatencyResult
from pytest_tvmtune.stages import pipeline
from pytest_tvmtune.stages.case_run import CaseRun
from pytest_tvmtune.stages.compiling import BuiltModel, load
from pytest_tvmtune.stages.latency.latency_gate import judge_latency
from pytest_tvmtune.stages.tuning_tasks import extract_tasks, restore_accepted_records
from pytest_tvmtune.store import artifacts
from pytest_tvmtune.store.accepted.baseline_files import read_baseline, read_records, write_baseline
from pytest_tvmtune.store.layout import Store, open_store
from pytest_tvmtune.store.signing.signatures import KEY_VARIABLE
from pytest_tvmtune.store.tuning.records import Workload
from pytest_tvmtune.store.tuning.workload_files import read_workload, stored_keys, workload_path
from tests.support.cases import IDENTITY, build_of, built_run, forget_untuned, opener, propose
from tests.support.modules import Square

TRIALS = 6


@dataclass(frozen=True, kw_only=True, eq=False)
class Accepted:
    """A tuned case whose baseline was accepted, on a store that no test changes."""

    store: Store
    baseline: Baseline
    records: list[tuple[str, Workload]]
    built: BuiltModel


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)


@pytest.fixture(scope="module")
def accepted(tmp_path_factory: pytest.TempPathFactory) -> Accepted:
    store = open_store(tmp_path_factory.mktemp("life") / "store")
    build_of(opener(store)(Square, settings={"trials": TRIALS}))
    forget_untuned(store)
    case = opener(store)(Square, settings={"trials": TRIALS})
    run = built_run(case)
    assert [task.state for task in run.result.tasks] == ["tuned", "tuned"]
    accepted = propose(case, run.built)
    write_baseline(store, accepted.baseline, accepted.records)
    return Accepted(
        store=store, baseline=accepted.baseline, records=list(accepted.records), built=run.built
    )


def prepared(store: Store, **settings: Any) -> CaseRun:
    """Tune and build the same case as a later run does, with what its baseline keeps."""
    return built_run(opener(store)(Square, settings={"trials": TRIALS, **settings}))


def judged(store: Store, run: CaseRun) -> LatencyResult:
    baseline: Baseline | BaselineError | None
    try:
        baseline = read_baseline(store, IDENTITY)
    except BaselineError as error:
        baseline = error
    return judge_latency(run.case, run.built, load(run.case, run.built), baseline).latency


def never(*_: Any) -> list[tuple[str, Workload]]:
    raise AssertionError("nothing is lost")


def copied(accepted: Accepted, root: Path, *parts: str) -> Store:
    """Return a store with only these folders of the accepted one."""
    store = open_store(root)
    for part in parts:
        shutil.copytree(accepted.store.root / part, root / part)
    return store


def test_a_baseline_keeps_what_was_applied_and_the_untuned_twin(accepted: Accepted) -> None:
    baseline, records = accepted.baseline, accepted.records
    assert read_baseline(accepted.store, IDENTITY) == baseline
    assert read_records(accepted.store, IDENTITY) == records
    assert baseline.artifact == accepted.built.artifact.sha256
    applied = set(accepted.built.build.applied)
    assert {workload.shash for _, workload in records} == applied
    for key, workload in records:
        known = read_workload(accepted.store, key, workload.shash)
        assert known
        assert workload.records == (known.best(known.records[0].cpu),)
        assert workload.served == known.served != ()
    assert artifacts.find(accepted.store, baseline.untuned).library.is_file()
    assert baseline.untuned != baseline.artifact
    assert 1 <= len(baseline.samples_s) <= 60


def test_a_store_that_kept_only_its_baselines_tunes_nothing(
    accepted: Accepted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = copied(accepted, tmp_path / "store", "baselines")
    run = prepared(store)
    assert not run.result.tuned_now
    assert run.result.trials_spent == 0
    assert sorted(run.result.tasks_restored) == ["matmul", "transpose"]
    assert [task.state for task in run.result.tasks] == ["tuned", "tuned"]
    assert run.built.artifact.sha256 == accepted.baseline.artifact
    assert judged(store, run).same_code
    # With their ledger: no later run finds anything missing, or takes them in again.
    for key, workload in accepted.records:
        assert read_workload(store, key, workload.shash) == workload
    monkeypatch.setattr(pipeline, "read_records", never)
    again = built_run(opener(store)(Square, settings={"trials": TRIALS}))
    assert again.built.artifact.sha256 == accepted.baseline.artifact
    assert not again.result.tuned_now
    assert again.result.tasks_restored == []


def test_only_what_is_lost_is_restored(accepted: Accepted, tmp_path: Path) -> None:
    store = copied(accepted, tmp_path / "store", "baselines", "tuning")
    names = {workload.name: (key, workload.shash) for key, workload in accepted.records}
    workload_path(store, *names["matmul"]).unlink()
    kept = workload_path(store, *names["transpose"]).read_bytes()
    run = prepared(store, tuning="never")
    assert run.result.tasks_restored == ["matmul"]
    assert workload_path(store, *names["transpose"]).read_bytes() == kept
    assert run.built.artifact.sha256 == accepted.baseline.artifact


def test_nothing_else_is_taken_in(accepted: Accepted, tmp_path: Path) -> None:
    """Neither for another target, nor of another model, nor where all is to be tuned anew."""
    store = open_store(tmp_path / "store")
    case = opener(store)(Square, settings={"trials": TRIALS})
    plan = extract_tasks(case)
    key = plan.target_key
    elsewhere = [(f"{key}0", workload) for _, workload in accepted.records]
    stranger = [(key, replace(workload, shash="0" * 16)) for _, workload in accepted.records]
    assert restore_accepted_records(case, plan, lambda: [*elsewhere, *stranger]) == []
    assert list(stored_keys(store)) == []
    anew = opener(store)(Square, settings={"trials": TRIALS, "tuning": "refresh"})
    assert restore_accepted_records(anew, plan, never) == []
    assert len(restore_accepted_records(case, plan, lambda: accepted.records)) == 2
    assert len(list(stored_keys(store))) == 2


def test_a_baseline_that_arrives_later_is_taken_in_too(accepted: Accepted, tmp_path: Path) -> None:
    """Once more with nothing stored: that it came to an untuned library then is out of date."""
    store = open_store(tmp_path / "store")
    untuned = prepared(store, tuning="never").built
    assert untuned.artifact.sha256 == accepted.baseline.untuned
    shutil.copytree(accepted.store.baselines, store.baselines)
    run = prepared(store, tuning="never")
    assert sorted(run.result.tasks_restored) == ["matmul", "transpose"]
    assert run.built.artifact.sha256 == accepted.baseline.artifact


def test_carried_to_another_store_in_one_file(
    accepted: Accepted, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "baselines.zip"
    assert main(["baselines", "export", str(file), "--dir", str(accepted.store.root)]) == 0
    store = Store(root=tmp_path / "elsewhere")
    assert main(["baselines", "import", str(file), "--dir", str(store.root)]) == 0
    assert "imported 1 baseline" in capsys.readouterr().out
    run = prepared(store)
    assert not run.result.tuned_now
    latency = judged(store, run)
    assert (latency.verdict, latency.same_code) == ("PASS", True)
    # Without its artifact, as a clone of the repository finds it, that is made anew.
    shutil.rmtree(store.artifacts)
    shutil.rmtree(store.builds)
    run = prepared(store)
    assert judged(store, run).same_code


@pytest.fixture
def use_key(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    return lambda key: monkeypatch.setenv(KEY_VARIABLE, key)


def test_with_a_key_nothing_unsigned_is_run(
    accepted: Accepted, tmp_path: Path, use_key: Callable[[str], None]
) -> None:
    """Unsigned, a baseline is none; what can be built anew is, and signed."""
    store = copied(accepted, tmp_path / "store", "baselines", "artifacts", "builds", "plans")
    use_key("a key")
    with pytest.raises(BaselineError, match=rf"not signed, although {KEY_VARIABLE} is set"):
        read_baseline(store, IDENTITY)
    case = opener(store)(Square)
    with pytest.warns(UserWarning, match="not signed"):
        run = built_run(case)
    assert run.result.compiled_now
    assert run.built.artifact.sha256 == accepted.baseline.untuned
    assert judged(store, run).verdict == "INCOMPARABLE"
    # Signed it is one, but its library still isn't.
    write_baseline(store, accepted.baseline, [])
    latency = judged(store, run)
    assert latency.verdict == "INCOMPARABLE"
    assert "manifest is damaged (not signed" in latency.message
    # The one that was built with the key is signed by it.
    write_baseline(store, replace(accepted.baseline, artifact=run.built.artifact.sha256), [])
    assert judged(store, run).same_code
    use_key("another key")
    latency = judged(store, run)
    assert latency.verdict == "INCOMPARABLE"
    assert f"signed with another key than {KEY_VARIABLE}" in latency.message


def test_with_a_key_unsigned_records_of_a_baseline_are_not_taken_in(
    accepted: Accepted, tmp_path: Path, use_key: Callable[[str], None]
) -> None:
    store = copied(accepted, tmp_path / "store", "baselines")
    use_key("a key")
    with pytest.raises(BaselineError, match="not signed"):
        read_records(store, IDENTITY)
    write_baseline(store, accepted.baseline, accepted.records)
    assert read_records(store, IDENTITY) == accepted.records

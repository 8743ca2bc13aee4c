"""`tvmtune vet` from its interpreters to its report: the stages in order."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pytest_tvmtune.core.clock import monotonic_s, now_s, utc_text
from pytest_tvmtune.core.errors import (
    EnvironmentProblemError,
    StoreError,
    TvmTuneError,
    counted,
)
from pytest_tvmtune.core.gating.confidence_sequence import item_alpha
from pytest_tvmtune.core.versions import minor
from pytest_tvmtune.core.vetting.vet_report import (
    Schedules,
    TestOutcome,
    TestState,
    VetReport,
    VettedCase,
    VettedEnvironment,
)
from pytest_tvmtune.machine.fingerprint import fingerprint, installed_version
from pytest_tvmtune.processes.other_environment import OtherEnvironment, examine_environment
from pytest_tvmtune.stages.vetting.environment_tests import TestedEnvironment, run_tests
from pytest_tvmtune.stages.vetting.paired_case import PairedCase
from pytest_tvmtune.stages.vetting.vet_case import vet_case, vetted_case
from pytest_tvmtune.store.layout import Store, open_store
from pytest_tvmtune.store.locks import try_lock
from pytest_tvmtune.store.tuning.records import version_in_key
from pytest_tvmtune.store.tuning.workload_files import add_to_workload, read_workload, stored_keys

# Below the folder of the store.
FOLDER = "vet"
_CASE = "case-"
_FAILED = frozenset({"failed", "error", "xpassed"})
# A test with a lower rank in the new environment has a worse outcome there.
_RANKS: dict[TestState, int] = {
    "missing": 0,
    "error": 1,
    "failed": 1,
    "xpassed": 1,
    "skipped": 2,
    "xfailed": 3,
    "passed": 4,
}
_MISSING = TestOutcome(nodeid="", state="missing", message="the test isn't collected there")


@dataclass(frozen=True, kw_only=True)
class VetRequest:
    """What is vetted.

    old, new: interpreters. arguments: pytest's. store: the folder of the store whose records are
    replayed; the files of vetting are below it.
    """

    old: Path
    new: Path
    arguments: tuple[str, ...]
    store: Path


def vet(request: VetRequest, on_progress: Callable[[str], None]) -> VetReport:
    """Run a suite in two environments, and compare all of its cases.

    Args:
        request: The environments and the suite.
        on_progress: Is called with each step, in words.

    Raises:
        EnvironmentProblemError: An environment can't run the suite, or the suite has no case.
        StoreError: There is no room for the files, or another process uses the folder.
    """
    root = open_store(request.store.resolve()).root / FOLDER
    lock = try_lock(root / "vet.lock")
    if lock is None:
        raise StoreError(
            f"another `tvmtune vet` uses {root}: wait for it, or give another folder with --dir"
        )
    try:
        for leftover in root.glob(f"{_CASE}*"):
            shutil.rmtree(leftover, ignore_errors=True)
        return _vet(request, root, on_progress)
    finally:
        lock.release()


def _vet(request: VetRequest, root: Path, on_progress: Callable[[str], None]) -> VetReport:
    environments = tuple(
        examine_environment(name, python, root / "package")
        for name, python in (("old", request.old), ("new", request.new))
    )
    findings: list[str] = []
    notes = [
        f"{one.name} environment: {', '.join(one.borrowed)} of this Python's environment"
        for one in environments
        if one.borrowed
    ]
    tested = _run_both(environments, request, None, on_progress)
    if tested[0].tvm["tvm_identity"] == tested[1].tvm["tvm_identity"]:
        notes.append("both environments have the same TVM: all of its files are equal")
    test_findings, test_notes = _compare_tests(*tested)
    findings += test_findings
    notes += test_notes
    pairs, missing = pairs_of(*tested, "untuned")
    findings += missing
    if not pairs and not missing:
        raise EnvironmentProblemError(
            "no test with the fixture tvm_tune was run in any environment; give pytest's arguments "
            "that select some, as in `tvmtune vet --old=... --new=... tests/models`"
        )
    replayed, remark = _replayed(environments, request, on_progress)
    notes += remark
    cases = _vet_pairs([*pairs, *replayed], root, on_progress)
    return VetReport(
        schema="pytest-tvmtune-vet",
        version=1,
        created_at=utc_text(now_s()),
        plugin=installed_version("pytest-tvmtune"),
        arguments=request.arguments,
        cpu=fingerprint().cpu,
        old=_described(tested[0]),
        new=_described(tested[1]),
        cases=cases,
        findings=(*findings, *(text for case in cases for text in case.findings)),
        notes=(*notes, *(text for case in cases for text in case.notes)),
    )


def _run_both(
    environments: Sequence[OtherEnvironment],
    request: VetRequest,
    records: Path | None,
    on_progress: Callable[[str], None],
) -> tuple[TestedEnvironment, TestedEnvironment]:
    how = "untuned" if records is None else "with stored records"
    done = []
    for one in environments:
        on_progress(f"{one.name} environment: running the tests {how}, with {one.described}")
        # Not the same store: nothing tuned may get into the one that is untuned.
        store = one.name if records is None else f"{one.name}-replayed"
        folder = request.store.resolve() / FOLDER / store
        # What was replayed earlier came from other records.
        shutil.rmtree(Store(root=folder).tuning, ignore_errors=True)
        began_s = monotonic_s()
        done.append(run_tests(one, request.arguments, folder, records=records))
        count = counted(len(done[-1].cases), "case")
        on_progress(f"  {count} in {monotonic_s() - began_s:.0f} s")
    return done[0], done[1]


def _replayed(
    environments: Sequence[OtherEnvironment],
    request: VetRequest,
    on_progress: Callable[[str], None],
) -> tuple[list[PairedCase], list[str]]:
    """Return the cases with the same schedules in both environments, and notes on the others.

    The records are those of the store for the old TVM. The new environment replays them.
    """
    old_version = environments[0].tvm_version
    records = _records_of(request.store.resolve(), old_version)
    if records is None:
        remark = (
            f"nothing was compared with tuned schedules: {request.store} has no tuning records of "
            f"TVM {minor(old_version)}; to compare tuned models, too, tune them in the old "
            "environment first"
        )
        return [], [remark]
    tested = _run_both(environments, request, records, on_progress)
    pairs, _ = pairs_of(*tested, "replayed")
    kept, notes = [], []
    for pair in pairs:
        old, new = pair.old.tuned_kernels, pair.new.tuned_kernels
        if old and new == old:
            kept.append(pair)
        elif old or new:
            notes.append(
                f"{pair.label}: not compared with tuned schedules: the records apply to "
                f"{counted(old, 'kernel')} in the old environment and to {new} in the new one"
            )
    return kept, notes


def _records_of(store: Path, version: str) -> Path | None:
    """Return a folder with the records of a store that a version of TVM applies, None without any.

    There is a single record for each task: if the new TVM can't apply it, it finds no other record.
    """
    stored, kept = Store(root=store), Store(root=store / FOLDER / "records")
    cpu = fingerprint().cpu
    shutil.rmtree(kept.root, ignore_errors=True)
    for key, shash in stored_keys(stored):
        if version_in_key(key) != minor(version):
            continue
        workload = read_workload(stored, key, shash)
        if workload is not None and (best := workload.best(cpu)) is not None:
            applied = replace(workload, records=(best,), served=(), refused=(), untuned=())
            add_to_workload(kept, key, applied)
    return kept.root if any(stored_keys(kept)) else None


def pairs_of(
    old: TestedEnvironment, new: TestedEnvironment, schedules: Schedules
) -> tuple[list[PairedCase], list[str]]:
    """Return the cases of both environments, and a finding for each that only one has."""
    pairs, findings = [], []
    for key in sorted({*old.cases, *new.cases}):
        if key in old.cases and key in new.cases:
            pairs.append(
                PairedCase(
                    old=old.cases[key],
                    new=new.cases[key],
                    old_tested=old,
                    new_tested=new,
                    schedules=schedules,
                )
            )
            continue
        there, where = (old, "old") if key in old.cases else (new, "new")
        label = there.cases[key].label
        findings.append(f"{label}: only the {where} environment has this case ({key[0]})")
    return pairs, findings


def _compare_tests(old: TestedEnvironment, new: TestedEnvironment) -> tuple[list[str], list[str]]:
    """Return findings and notes on tests whose outcomes differ, or that fail in both."""
    findings, notes, skipped = [], [], []
    for nodeid in sorted({*old.tests, *new.tests}):
        before, now = old.tests.get(nodeid, _MISSING), new.tests.get(nodeid, _MISSING)
        if before.state == now.state == "skipped":
            skipped.append(f"{nodeid}: {now.message}")
        elif before.state == now.state:
            if now.state in _FAILED:
                notes.append(f"{nodeid}: {now.state} in both environments: {now.message}")
        elif _RANKS[now.state] >= _RANKS[before.state]:
            notes.append(f"{nodeid}: {before.state} in the old environment, {now.state} in the new")
        else:
            reason = now.message or before.message
            findings.append(
                f"{nodeid}: {before.state} in the old environment, but {now.state} in the new"
                + (f": {reason}" if reason else "")
            )
    if skipped:
        count = counted(len(skipped), "test")
        notes.append(f"{count} skipped in both environments, such as {skipped[0]}")
    return findings, notes


def _vet_pairs(
    pairs: Sequence[PairedCase], root: Path, on_progress: Callable[[str], None]
) -> tuple[VettedCase, ...]:
    alpha = item_alpha(max(1, sum(pair.decisions for pair in pairs)))
    cases = []
    for number, pair in enumerate(pairs, 1):
        on_progress(f"[{number}/{len(pairs)}] {pair.label}, {pair.schedules}")
        try:
            with _folder_in(root) as folder:
                cases.append(vet_case(pair, alpha=alpha, folder=folder))
        except (TvmTuneError, OSError) as error:
            # The other cases are still vetted.
            problem = f"{pair.label}: can't be compared: {error}"
            cases.append(replace(vetted_case(pair), findings=(problem,)))
        on_progress(f"  {_result_words(cases[-1])}")
    return tuple(cases)


def _result_words(case: VettedCase) -> str:
    """Return what came of a case, in a line."""
    whole = case.comparison("old and new")
    if whole is None or whole.latency is None:
        return "not measured"
    words = f"{whole.latency.verdict}, new/old {whole.latency.slowdown_ratio or 1.0:.3f}"
    return f"{words}, {counted(len(case.findings), 'finding')}" if case.findings else words


@contextlib.contextmanager
def _folder_in(root: Path) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix=_CASE, dir=root))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _described(tested: TestedEnvironment) -> VettedEnvironment:
    one = tested.environment
    return VettedEnvironment(
        python=str(one.python),
        tvm=str(one.tvm),
        tvm_version=one.tvm_version,
        tvm_revision=tested.tvm["tvm_revision"],
        tvm_identity=tested.tvm["tvm_identity"],
        ffi_version=one.ffi_version,
        exit_code=tested.exit_code,
    )

"""Whether a baseline was accepted with this very TVM: by content, else by version."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from pytest_tvmtune.core.gating.accepted_baseline import Baseline
from pytest_tvmtune.core.gating.case_identity import Identity
from pytest_tvmtune.machine.fingerprint import fingerprint
from pytest_tvmtune.stages.explaining.accepted_versions import (
    content_here,
    versions_of_both,
    without_content,
)
from pytest_tvmtune.store.layout import Store, open_store


def compared(store: Store, **kept: str) -> tuple[tuple[str, str], tuple[str, str]]:
    identity = Identity(
        path="test_it.py", cls="", function="test_it", params="", name="it", entry="main",
        target_name="llvm", prepack=False,
    )  # fmt: skip
    baseline = Baseline(
        identity=identity, artifact="0" * 64, untuned="0" * 64, signature={}, target="{}",
        samples_s=(1e-3,), num_threads=1, accepted_at="",
        fingerprint={**asdict(fingerprint()), **kept},
    )  # fmt: skip
    return versions_of_both(store, baseline)


def test_equal_only_where_all_that_is_known_is(tmp_path: Path) -> None:
    store, here = open_store(tmp_path / "store"), fingerprint()
    same = (here.tvm, here.tvm_ffi)
    assert compared(store) == (same, same)  # of an earlier version of this plugin
    assert compared(store, **content_here(store)) == (same, same)
    assert compared(store, tvm="0.27.9", tvm_files="f" * 64) == (("0.27.9", same[1]), same)
    before, now = compared(store, **{**content_here(store), "tvm_files": "f" * 64})
    assert before[0] == f"{here.tvm} (tvm_files ffffffff)"
    assert now[0] == f"{here.tvm} (tvm_files {content_here(store)['tvm_files'][:8]})"
    before, now = compared(store, **{**content_here(store), "tvm_setup": "f" * 64})
    assert (before[0], now[0]) == (
        f"{here.tvm} (tvm_setup ffffffff)",
        f"{here.tvm} (tvm_setup none)",
    )


def test_reports_have_the_versions_alone(tmp_path: Path) -> None:
    kept = {**asdict(fingerprint()), **content_here(open_store(tmp_path / "store"))}
    assert without_content(kept) == asdict(fingerprint())

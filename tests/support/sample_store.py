"""What fills a store: artifacts, builds, plans, baselines, each as old as wanted."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from pytest_tvmtune.core.gating.accepted_baseline import Baseline
from pytest_tvmtune.core.gating.case_identity import Identity
from pytest_tvmtune.core.results.task_result import Task
from pytest_tvmtune.store.accepted.baseline_files import write_baseline
from pytest_tvmtune.store.artifacts import Manifest, publish
from pytest_tvmtune.store.builds import Build, Plan, write_build, write_plan
from pytest_tvmtune.store.layout import Store
from tests.support.sample_records import KEY, SHASH, record, served, workload

DAY_S = 86400.0
MANIFEST = Manifest(target='{"kind": "llvm"}', tvm="0.27.0", tvm_ffi="0.1.14", entries={})
IDENTITY = Identity(
    path="test_mlp.py", cls="", function="test_mlp", params="", name="mlp", entry="main",
    target_name="llvm", prepack=False,
)  # fmt: skip
RECORDS = workload(record(1e-3), served=(served(64),))


def days_ago(days: float) -> float:
    return time.time() - days * DAY_S


def age(path: Path, days: float) -> Path:
    """Make it look as if last used that many days ago."""
    os.utime(path, (days_ago(days), days_ago(days)))
    return path


def put_artifact(store: Store, code: bytes, *, days: float = 0) -> Path:
    """Publish a library; return its folder in the store."""
    library = store.root.parent / "scratch" / "lib.so"
    library.parent.mkdir(exist_ok=True)
    library.write_bytes(code)
    return age(publish(store, library, MANIFEST).library.parent, days)


def put_build(store: Store, key: str, library: str, *, days: float = 0) -> Path:
    write_build(store, key, Build(library=library, applied=(), compile_s=1.0))
    return age(store.builds / f"{key}.json", days)


def put_plan(
    store: Store, model: str, *shashes: str, target_key: str = KEY, prepack: bool = False,
    days: float = 0,
) -> Path:  # fmt: skip
    tasks = tuple(Task(name=f"task {s[:2]}", shash=s, weight=2) for s in shashes or (SHASH,))
    name = f"{model}-{target_key}-{prepack}"
    plan = Plan(model=model, target_key=target_key, prepack=prepack, tasks=tasks)
    write_plan(store, name, plan)
    return age(store.plans / f"{name}.json", days)


def baseline(artifact: str, untuned: str = "", *, identity: Identity = IDENTITY) -> Baseline:
    """Return a baseline. untuned: as the artifact where it isn't given."""
    return Baseline(
        identity=identity,
        artifact=artifact,
        untuned=untuned or artifact,
        signature={"entry": "main"},
        target='{"kind": "llvm"}',
        samples_s=(1e-3, 4e-3, 2e-3),
        num_threads=4,
        fingerprint={"cpu": "a CPU", "tvm": "0.27.0", "tvm_ffi": "0.1.14"},
        accepted_at="2024-01-01T00:00:00Z",
    )


def put_baseline(store: Store, artifact: str, name: str = "mlp", *, untuned: str = "") -> Path:
    identity = replace(IDENTITY, name=name)
    write_baseline(store, baseline(artifact, untuned, identity=identity), [(KEY, RECORDS)])
    return store.baselines / identity.file_name


def put_case(store: Store, *, code: bytes = b"tuned", **identity: Any) -> Baseline:
    """Accept a case with all it needs: two artifacts and its records."""
    digests = [put_artifact(store, one).name for one in (code, b"untuned")]
    accepted = baseline(*digests, identity=replace(IDENTITY, **identity))
    write_baseline(store, accepted, [(KEY, RECORDS)])
    return accepted


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file in a folder, locks left out."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".lock"
    }

"""What fills a store: artifacts, builds, plans, baselines, each as old as wanted."""

from __future__ import annotations

import os
import time
from pathlib import Path

from sample_records import KEY, SHASH

from pytest_tvmtune.core.baseline import Baseline, Identity
from pytest_tvmtune.core.results import Task
from pytest_tvmtune.store.artifacts import Manifest, publish
from pytest_tvmtune.store.baselines import write_baseline
from pytest_tvmtune.store.builds import Build, Plan, write_build, write_plan
from pytest_tvmtune.store.layout import Store

DAY_S = 86400.0
MANIFEST = Manifest(target='{"kind": "llvm"}', tvm="0.27.0", tvm_ffi="0.1.14", entries={})


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


def put_baseline(store: Store, artifact: str, name: str = "") -> Path:
    identity = Identity(
        path="test_mlp.py", cls="", function="test_mlp", params="", name=name, entry="main",
        target_name="llvm", prepack=False,
    )  # fmt: skip
    baseline = Baseline(
        identity=identity,
        artifact=artifact,
        signature={"entry": "main"},
        target='{"kind": "llvm"}',
        median_s=1e-3,
        num_threads=4,
        fingerprint={"cpu": "a CPU", "tvm": "0.27.0", "tvm_ffi": "0.1.14"},
        accepted_at="2024-01-01T00:00:00Z",
    )
    write_baseline(store, baseline)
    return store.baselines / identity.file_name


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file in a folder, locks left out."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".lock"
    }

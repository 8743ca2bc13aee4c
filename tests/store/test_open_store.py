"""Opening a store: a folder like any other, or one clear message."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from pytest_tvmtune.core.errors import StoreError
from pytest_tvmtune.store.layout import open_store, slug, sweep_scratch

REMEDY = r"give another folder with --tvm-dir \(ini: tvm_dir\)"


def test_a_new_store_is_marked_as_a_cache_and_tells_git_what_to_leave_out(tmp_path: Path) -> None:
    store = open_store(tmp_path / "a" / "store")
    tag = (store.root / "CACHEDIR.TAG").read_text()
    # https://bford.info/cachedir/
    assert tag.startswith("Signature: 8a477f597d28d172789f06886806bc55\n")
    subprocess.run(["git", "init", "-q", str(store.root)], check=True)
    made_anew = ["artifacts/ab/model.so", "builds/k.json", "plans/k.json", "warm/k.json",
                 "logs/x.log", "reproducers/mlp/repro.py", "tmp/x", "probes.json", "runs.sqlite",
                 "locks/k-0123.lock", "tuning/k/folder.lock", "tuning/k/x.jsonl.damaged",
                 "tuning/k/x.jsonl.2.damaged", "device-helpers/x.so"]  # fmt: skip
    committed = ["baselines/x.json", "baselines/x.records.jsonl.gz", "tuning/k/0123.jsonl"]
    done = subprocess.run(
        ["git", "check-ignore", *made_anew, *committed],
        cwd=store.root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == made_anew


def test_every_part_stands_in_the_store(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    parts = [store.tuning, store.plans, store.cached_outcomes, store.builds, store.artifacts,
             store.baselines,
             store.logs, store.reproducers, store.scratch, store.probes, store.device_helpers,
             store.lock("x").parent]  # fmt: skip
    assert len(set(parts)) == len(parts)
    assert {part.parent for part in parts} == {store.root}


def test_the_locks_of_different_work_are_different_files(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    assert store.lock("key-00ab") == tmp_path / "locks" / "key-00ab.lock"
    assert store.lock("key-00ab") != store.lock("key-00ac")


def test_fallbacks_are_kept_in_order(tmp_path: Path) -> None:
    roots = tuple(open_store(tmp_path / name).root for name in ("b", "a"))
    assert open_store(tmp_path / "own", roots).fallbacks == roots
    assert open_store(tmp_path / "own").fallbacks == ()


def test_opening_again_leaves_everything_as_it_is(tmp_path: Path) -> None:
    root = open_store(tmp_path).root
    (root / ".gitignore").write_text("mine\n")
    before = (root / "CACHEDIR.TAG").stat().st_mtime_ns
    assert open_store(tmp_path).root == root
    assert (root / ".gitignore").read_text() == "mine\n"
    assert (root / "CACHEDIR.TAG").stat().st_mtime_ns == before


def test_a_file_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("precious")
    with pytest.raises(StoreError, match=rf"^--tvm-dir: .*/x is a file, not a folder; {REMEDY}"):
        open_store(tmp_path / "x")
    with pytest.raises(StoreError, match=rf"^--tvm-dir: can't create .*/x/store: .*; {REMEDY}"):
        open_store(tmp_path / "x" / "store")
    assert (tmp_path / "x").read_text() == "precious"


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc")
@pytest.mark.parametrize("root", ["/proc/tvmtune", "/proc"])
def test_a_folder_that_can_not_be_written(root: str) -> None:
    with pytest.raises(StoreError, match=rf"^--tvm-dir: can't .*{root}.*; {REMEDY}"):
        open_store(Path(root))


def test_a_name_the_system_refuses(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=rf"^--tvm-dir: .*File name too long.*; {REMEDY}"):
        open_store(tmp_path / ("x" * 300))


def test_a_read_only_store(
    public_path: Path, unprivileged: Callable[[], AbstractContextManager[None]]
) -> None:
    open_store(public_path)
    public_path.chmod(0o555)
    with unprivileged(), pytest.raises(StoreError, match=rf"is read-only; {REMEDY}"):
        open_store(public_path)


def test_a_folder_of_somebody_else(
    public_path: Path, unprivileged: Callable[[], AbstractContextManager[None]]
) -> None:
    closed = public_path / "closed"
    closed.mkdir()
    closed.chmod(0)
    message = rf"^--tvm-dir: .*Permission denied.*; {REMEDY}"
    with unprivileged(), pytest.raises(StoreError, match=message):
        open_store(closed / "store")


def test_slugs_are_file_names() -> None:
    assert slug("fused matmul/add:1") == "fused-matmul-add-1"
    assert slug("../../etc/passwd") == "etc-passwd"
    assert slug("x" * 100) == "x" * 60
    assert slug("x" * 100, 5) == "xxxxx"
    assert slug("日本") == slug("") == slug("...") == "model"


def test_only_old_leftovers_are_swept(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    sweep_scratch(store)  # nothing there yet
    for name, age_s in (("job-old", 2 * 24 * 3600), ("job-running", 60)):
        folder = store.scratch / name
        folder.mkdir(parents=True)
        (folder / "file").write_text("x")
        then = time.time() - age_s
        os.utime(folder, (then, then))
    sweep_scratch(store)
    assert [path.name for path in store.scratch.iterdir()] == ["job-running"]

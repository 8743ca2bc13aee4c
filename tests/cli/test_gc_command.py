"""`tvmtune gc`: old artifacts and builds go, what a baseline needs stays."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_tvmtune.cli import main
from pytest_tvmtune.cli.arguments import size
from pytest_tvmtune.store.layout import Store
from tests.support.sample_records import put
from tests.support.sample_store import contents, put_artifact, put_baseline, put_build, put_plan

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def libraries(store: Store) -> dict[str, Path]:
    """A needed and an old one, 20 kB each, and two new ones of 40 kB."""
    found = {
        name: put_artifact(store, name.encode() * 5000 * (2 if days < 30 else 1), days=days)
        for name, days in (("need", 400), ("old ", 40), ("used", 20), ("new ", 1))
    }
    put_baseline(store, found["need"].name)
    put_build(store, "old", found["old "].name, days=40)
    return found


def left(store: Store, libraries: dict[str, Path]) -> list[str]:
    return [name.strip() for name, folder in libraries.items() if folder.exists()]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], (["need", "used", "new"], 2)),
        (["--older-than", "50"], (["need", "old", "used", "new"], 0)),
        (["--older-than", "10"], (["need", "new"], 3)),
        (["--older-than=0"], (["need"], 4)),
        (["--max-size", "1M"], (["need", "used", "new"], 2)),
        (["--older-than", "50", "--max-size", "110k"], (["need", "used", "new"], 2)),
        (["--max-size", "70k"], (["need", "new"], 3)),
        (["--max-size", "0"], (["need"], 4)),
    ],
)
def test_what_goes_and_what_a_dry_run_says(
    store: Store,
    libraries: dict[str, Path],
    run: Run,
    arguments: list[str],
    expected: tuple[list[str], int],
) -> None:
    stays, removed = expected
    before = contents(store.root)
    code, told, err = run("gc", *arguments, "--dry-run")
    assert (code, err) == (0, "")
    assert contents(store.root) == before
    code, out, _ = run("gc", *arguments)
    assert code == 0
    assert out == told.replace("would remove", "removed")
    assert left(store, libraries) == stays
    assert re.fullmatch(rf"removed {removed} paths?, [\d.]+ k?B", out.splitlines()[-1])
    # Each that went is named, with why and what it freed.
    gone = [folder for name, folder in libraries.items() if name.strip() not in stays]
    for folder in gone:
        assert re.search(rf"^{folder}  \(.*last used 2\d{{3}}-.*, [\d.]+ kB\)$", out, re.MULTILINE)
    assert len(out.splitlines()) == removed + 1


def test_old_plans_go_too(store: Store, run: Run) -> None:
    plan = put_plan(store, "mlp", days=31)
    code, out, _ = run("gc")
    assert code == 0
    assert out.startswith(f"{plan}  (old plan, ")
    assert not plan.exists()


def test_a_baseline_that_can_not_be_read_stops_it_before_anything_goes(
    store: Store, libraries: dict[str, Path], run: Run
) -> None:
    path = put(store.baselines / "x.json", b"<<<<<<< HEAD\n")
    before = contents(store.root)
    code, out, err = run("gc", "--max-size", "0")
    assert (code, out) == (1, "")
    assert err.startswith(f"tvmtune: {path} is damaged (")
    assert contents(store.root) == before


def test_nothing_is_made_where_there_is_no_store(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["gc", "--dir", str(tmp_path / "absent")]) == 1
    assert "is not a store: give its folder with --dir" in capsys.readouterr().err
    assert not (tmp_path / "absent").exists()


def test_an_empty_store(run: Run) -> None:
    assert run("gc") == (0, "removed 0 paths, 0 B\n", "")


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [("0", 0), ("12", 12), ("12b", 12), ("1.5k", 1500), ("500M", 500_000_000), ("2GB", 2 * 10**9),
     (" 2 gb ", 2 * 10**9), ("1T", 10**12)],
)  # fmt: skip
def test_sizes(text: str, size_bytes: int) -> None:
    assert size(text) == size_bytes


@pytest.mark.parametrize("text", ["", "x", "-1", "1e3", "1 X", "1.", "M", "1KiB", "nan"])
def test_a_size_that_is_none_is_wrong_usage(
    run: Run, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        run("gc", f"--max-size={text}")
    assert caught.value.code == 2
    assert f"{text!r} is not a size such as 500M or 2G" in capsys.readouterr().err

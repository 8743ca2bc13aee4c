"""What shells and scripts expect of `tvmtune`: JSON, pipes, terminals of few letters, Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_tvmtune.machine.installed_tvm import package_version
from pytest_tvmtune.store.layout import Store
from pytest_tvmtune.store.tuning.workload_files import add_to_workload
from tests.support.sample_records import KEY, SHASH, record, workload
from tests.support.sample_runs import case, keep
from tests.support.sample_store import put_artifact, put_baseline, put_plan

Run = Callable[..., tuple[int, str, str]]
COMMAND = str(Path(sys.executable).with_name("tvmtune"))


@pytest.fixture
def filled(store: Store) -> Store:
    add_to_workload(store, KEY, workload(record(1e-3)))
    put_plan(store, "mlp")
    put_baseline(store, put_artifact(store, b"library").name)
    keep(store, case("modèle"), revision="abc")
    (store.builds / "x.json").parent.mkdir(exist_ok=True)
    (store.builds / "x.json").write_text("{")
    return store


def of_env(told: Any) -> bool:
    return bool(told["tvm"] == package_version("tvm"))


@pytest.mark.parametrize(
    ("command", "code", "is_told"),
    [
        (["env"], 0, of_env),
        (["db", "stats"], 0, lambda told: told[0]["workloads"] == 1),
        (["db", "show", "fused_matmul"], 0, lambda told: told["workloads"][0]["hash"] == SHASH),
        (["db", "show", "mlp"], 0, lambda told: "best_s" in told["models"][0]["tasks"][0]),
        (["db", "verify"], 1, lambda told: told[0]["path"].endswith("x.json")),
        (["db", "prune", "--unreferenced", "--keep", "1", "--dry-run"], 0,
         lambda told: (told["dry_run"], told["dropped_records"]) == (True, 0)),
        (["gc", "--older-than", "0"], 0, lambda told: told["freed_bytes"] > 0),
        (["baselines", "list"], 0, lambda told: told[0]["median_s"] > 0),
        (["baselines", "show", "mlp"], 0, lambda told: len(told[0]["artifact"]) == 64),
        (["history"], 0, lambda told: told[0]["revision"] == "abc"),
        (["compare", "1", "last"], 0, lambda told: told[0]["same_code"] is True),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, list) else "",
)  # fmt: skip
def test_each_command_that_tells_something_tells_it_as_json(
    filled: Store, run: Run, command: list[str], code: int, is_told: Callable[[Any], bool]
) -> None:
    done, out, err = run(*command, "--json")
    assert (done, err) == (code, "")
    assert out.isascii()
    assert is_told(json.loads(out))


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, **more}


def test_a_terminal_without_the_letter_shows_its_number(filled: Store) -> None:
    for encoding, shown in (("ascii", "mod\\xe8le[llvm]"), ("latin-1", "modèle[llvm]")):
        done = subprocess.run(
            [COMMAND, "compare", "1", "1", "--dir", str(filled.root)],
            env=environment(PYTHONIOENCODING=encoding),
            capture_output=True,
            check=True,
        )
        assert shown in done.stdout.decode(encoding)
        assert done.stderr == b""


def test_a_reader_that_goes_away_is_no_error(filled: Store) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as nobody:
        done = subprocess.run(
            [COMMAND, "history", "--dir", str(filled.root)],
            stdout=nobody,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, b"")


def test_an_interrupt_leaves_no_traceback(
    filled: Store, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_store: Store) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pytest_tvmtune.cli.history_command.list_runs", interrupted)
    assert run("history") == (128 + signal.SIGINT, "", "")

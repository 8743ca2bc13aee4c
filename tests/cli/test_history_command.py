"""`tvmtune history`, `compare` and `report`, on a history that was really written."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from pytest_tvmtune.store.layout import Store
from pytest_tvmtune.store.run_history import read_report
from tests.support.sample_runs import case, keep

StoredRun = Callable[..., tuple[int, str, str]]
SLOWER_FROM = 9


@pytest.fixture
def runs(store: Store) -> Store:
    """Sixteen runs of a case that becomes 1.5 times slower, of another, and two elsewhere."""
    for number in range(1, 17):
        wobble = 1 + 0.01 * (number * 7 % 5)
        slower = 1.5 if number >= SLOWER_FROM else 1.0
        keep(
            store,
            case("mlp", 1e-3 * wobble * slower, artifact=f"{int(slower * 2):064x}"),
            case("<b>&", 5e-5 * wobble, verdict="NEW", outcome="failed"),
            revision=f"r{number}",
        )
    keep(store, case("mlp", 9e-3), cpu="CPU B")
    keep(store, case("mlp", 9e-3, num_threads=1))
    keep(store, case("mlp", None), case("new"), revision="r19")
    keep(store, case("mlp", 1.5e-3))
    return store


def test_all_runs_are_listed(runs: Store, run: StoredRun) -> None:
    code, out, err = run("history")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].split() == ["run", "at", "revision", "TVM", "cases", "failed", "CPU"]
    assert len(lines) == 21
    first = lines[1].split()
    assert [first[0], *first[2:]] == ["1", "r1", "0.27.0", "2", "1", "CPU", "A"]
    assert lines[17].endswith("CPU B")
    code, out, _ = run("history", "--json")
    assert [one["run"] for one in json.loads(out)] == list(range(1, 21))
    code, _, err = run("history", "--csv")
    assert code == 1
    assert "--plot and --csv need a case: use tvmtune history CASE --csv" in err


def test_a_case_is_told_with_its_change_on_one_machine(runs: Store, run: StoredRun) -> None:
    code, out, err = run("history", "mlp")
    assert (code, err) == (0, "")
    title, _, _, *rows, left_out = out.splitlines()
    assert title == "mlp[llvm] (test_it.py::test_mlp[llvm])"
    assert left_out == (
        "2 runs on other CPUs or with another number of threads: to include them, use "
        "--all-machines"
    )
    assert [int(row.split()[0]) for row in rows] == [*range(1, 17), 19, 20]
    changed = [row for row in rows if "slower:" in row or "faster:" in row]
    assert [int(row.split()[0]) for row in changed] == [SLOWER_FROM]
    assert changed[0].endswith("PASS     1.50x slower: 1.02 ms -> 1.53 ms")
    assert "    -      -  passed" in rows[16]
    _, out, _ = run("history", "mlp", "--all-machines")
    assert len(out.splitlines()) == len(rows) + 3 + 2
    _, out, _ = run("history", "mlp[llvm]", "--json")
    told = json.loads(out)
    assert len(told["points"]) == len(rows)
    (change,) = told["changes"]
    assert change["run"] == SLOWER_FROM
    assert change["ratio"] == pytest.approx(1.5)


def test_the_csv_has_a_number_in_each_metric_of_each_line(runs: Store, run: StoredRun) -> None:
    code, out, err = run("history", "mlp", "--csv")
    assert (code, err) == (0, "")
    rows = list(csv.DictReader(out.splitlines()))
    assert [int(row["run"]) for row in rows] == [*range(1, 17), 20]
    assert float(rows[0]["median_s"]) == 1e-3 * (1 + 0.01 * 2)
    assert {row["library_bytes"] for row in rows} == {"4096"}
    assert all(row["time"].endswith("Z") for row in rows)


def test_the_plot_is_one_file_with_the_name_as_text(
    runs: Store, run: StoredRun, tmp_path: Path
) -> None:
    for name in ("mlp", "<b>&"):
        code, _, err = run("history", name, "--plot", tmp_path / "plot.svg")
        assert (code, err) == (0, "")
        root = ElementTree.parse(tmp_path / "plot.svg").getroot()
        texts = [element.text for element in root.iter() if element.text]
        assert any(text.startswith(f"{name}[llvm] (") for text in texts)
        linked = [value for element in root.iter() for value in element.attrib.values()]
        assert not [value for value in linked if "//" in value]
    code, _, err = run("history", "new", "--plot", tmp_path / "absent" / "new.svg")
    assert code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["history", "nobody"], "the history has no case named nobody: see `tvmtune report last`"),
        (["history", "test_it"], "several cases match test_it, choose one:\n  <b>&[llvm]  test_it"),
        (["compare", "1", "99"], "has no run 99; to list the runs, use `tvmtune history`"),
        (["compare", "last~20", "1"], "last~20: the history has 20 runs"),
        (["report", "absent.json"], "absent.json is neither a run nor a file: give the number"),
    ],
)
def test_what_is_not_there_is_said(
    runs: Store, run: StoredRun, arguments: list[str], message: str
) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (1, "")
    assert err.startswith("tvmtune: ")
    assert message in err


def test_without_a_store_or_a_run_it_says_so(
    store: Store, run: StoredRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "does not exist; a run of pytest" in run("history")[2]
    keep(store, case("mlp", None))
    assert (
        "has no latency in any run, so it can't be plotted"
        in run("history", "mlp", "--plot=x.svg")[2]
    )
    for _ in range(9):
        keep(store, case("mlp"))
    monkeypatch.setitem(sys.modules, "ruptures", None)
    code, out, err = run("history", "mlp")
    assert (code, len(out.splitlines())) == (0, 13)
    assert err == "tvmtune: change points need ruptures: pip install 'pytest-tvmtune[history]'\n"


def test_two_runs_are_compared_what_became_slowest_first(
    runs: Store, run: StoredRun, tmp_path: Path
) -> None:
    code, out, err = run("compare", "1", "16")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].split() == ["case", "A", "B", "B/A", "B", "is", "code", "verdict", "in", "A",
                                "verdict", "in", "B"]  # fmt: skip
    assert lines[1].split() == ["mlp[llvm]", "1.02", "ms", "1.53", "ms", "1.500", "slower", "other",
                                "PASS", "PASS"]  # fmt: skip
    assert lines[2].split()[0] == "<b>&[llvm]"
    assert lines[2].split()[-5:] == ["same", "NEW,", "failed", "NEW,", "failed"]
    # By a file, and counted from the last.
    (tmp_path / "old.json").write_text(json.dumps(read_report(runs, 1)))
    _, out, _ = run("compare", tmp_path / "old.json", "last~1", "--json")
    told = {one["label"]: one for one in json.loads(out)}
    assert told["mlp[llvm]"] == {
        "label": "mlp[llvm]", "nodeid": "test_it.py::test_mlp[llvm]", "a_s": 1e-3 * 1.02,
        "b_s": None, "ratio": None, "same_code": False, "state": "lost",
        "reason": "not timed in B",
    }  # fmt: skip
    assert (told["new[llvm]"]["a_s"], told["new[llvm]"]["same_code"]) == (None, None)
    _, out, _ = run("compare", "1", "last~1")
    assert "not in this run" in out


def test_a_slowdown_beyond_the_bound_is_exit_code_1(runs: Store, run: StoredRun) -> None:
    code, out, err = run("compare", "1", "16", "--fail-on", "5%", "--only-changed")
    assert (code, err) == (1, "")
    rows = out.split("\n\n")[0].splitlines()[1:]
    assert [row.split()[0] for row in rows] == ["mlp[llvm]"]
    assert "2 cases, 1 slower by more than 5%, 1 the same" in out
    assert "To decide, use the latency gate" in out
    assert run("compare", "1", "16", "--fail-on=60%")[0] == 0
    assert run("compare", "1", "16", "--fail-on=0.4ms")[0] == 1
    code, out, _ = run("compare", "1", "2", "--only-changed", "--json")
    assert (code, json.loads(out)) == (0, [])
    code, out, _ = run("compare", "1", "2", "--only-changed")
    assert out.startswith("2 cases, 2 the same")


def test_a_failure_in_the_second_run_alone_is_exit_code_1(store: Store, run: StoredRun) -> None:
    keep(store, case("mlp"), case("new", None))
    keep(store, case("mlp", outcome="failed"))
    code, out, _ = run("compare", "1", "2", "--fail-on=50%")
    assert code == 1
    assert "2 cases, 1 failed in B, 1 unknown" in out
    assert run("compare", "1", "2")[0] == 0


def test_nothing_to_compare_is_no_success(runs: Store, run: StoredRun) -> None:
    keep(runs, case("mlp"), case("<b>&"), cpu="CPU B")
    code, out, err = run("compare", "1", "last", "--fail-on=5%")
    assert code == 1
    assert "unknown: other CPU" in out
    assert "The times can't be compared: A ran on CPU A, and B on CPU B." in out
    assert err == "tvmtune: --fail-on: the two runs have no case whose times can be compared\n"


@pytest.mark.parametrize("bad", ["5", "0%", "-5%", "five"])
def test_a_bound_that_is_none_is_wrong_usage(
    runs: Store, run: StoredRun, capsys: pytest.CaptureFixture[str], bad: str
) -> None:
    with pytest.raises(SystemExit) as exit_:
        run("compare", "1", "2", f"--fail-on={bad}")
    assert exit_.value.code == 2
    assert "is not a positive percentage such as 3%" in capsys.readouterr().err


def test_an_earlier_runs_reports_are_made_again(
    runs: Store, run: StoredRun, tmp_path: Path
) -> None:
    code, out, err = run("report", "last")
    assert (code, err) == (0, "")
    assert "TVM 0.27.0" in out.splitlines()[0]
    assert "1 case, 0 failed: 1 PASS; tuned 0 cases" in out
    paths = {name: tmp_path / f"run.{name}" for name in ("html", "json", "markdown")}
    given = [text for name, path in paths.items() for text in (f"--{name}", path)]
    assert run("report", "3", *given) == (0, "", "")
    assert json.loads(paths["json"].read_text()) == read_report(runs, 3)
    page = paths["html"].read_text(encoding="utf-8")
    assert "mlp[llvm]" in page
    assert "<b>&[llvm]" not in page
    assert "mlp" in paths["markdown"].read_text(encoding="utf-8")
    paths["json"].write_text('{"schema": "pytest-tvmtune", "version": 99}')
    code, _, err = run("report", paths["json"])
    assert code == 1
    assert "the report has version 99" in err
    code, _, err = run("report", "last", "--json", tmp_path)
    assert code == 1
    assert err.startswith("tvmtune: ")

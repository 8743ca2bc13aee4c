"""`tvmtune doctor`: what it looks at, and when its exit code says that gating makes no sense."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pytest_tvmtune.cli import machine_report, main
from pytest_tvmtune.cli.machine_report import Gating, judge_noise
from pytest_tvmtune.core.gating.confidence_sequence import Epoch
from pytest_tvmtune.core.settings.quantities import Threshold
from pytest_tvmtune.machine.installed_tvm import package_version
from pytest_tvmtune.machine.mounts import Mount
from pytest_tvmtune.store.layout import Store

GATING = Gating(threshold=Threshold(text="3%", ratio=0.03), max_time_s=10.0, items=10)


def test_everything_is_looked_at_and_the_noise_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "none"
    code = main(["doctor", "--json", "--max-time", "200ms", "--items", "1", "--dir", str(store)])
    told = json.loads(capsys.readouterr().out)
    found = {one["name"]: one for one in told["findings"]}
    assert list(found) == [
        "versions", "compiler", "tuning", "cores", "in the way", "store", "locks", "CPU features",
        "threads", "noise",
    ]  # fmt: skip
    assert package_version("tvm") in found["versions"]["text"]
    assert Path(found["compiler"]["text"]).is_file()
    assert found["threads"]["state"] == "ok"
    assert "of a library of" in found["noise"]["text"]
    problems = [name for name, one in found.items() if one["state"] == "problem"]
    # Whether this machine is quiet enough just now, nobody knows.
    assert problems in ([], ["noise"])
    assert told["sensible"] == (not problems)
    assert code == bool(problems)
    assert not store.exists()


def test_what_can_not_compile_is_not_measured(
    store: Store,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    (store.root / "builds").mkdir()
    (store.root / "builds" / "x.json").write_text("{")
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("CXX", "CC"):
        monkeypatch.delenv(name, raising=False)
    assert main(["doctor", "--dir", str(store.root)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:3]] == ["ok", "PROBLEM", "ok"]
    assert "no C++ compiler found" in lines[1]
    assert any(line.startswith("note     store") and "db verify" in line for line in lines)
    assert lines[-2].startswith("PROBLEM  noise")
    assert lines[-2].endswith("not measured because of the problems above")
    assert lines[-1] == ("the gate can't decide on this machine now: fix the problems above")


@pytest.mark.parametrize(
    ("mount", "state", "said"),
    [
        (("nfs4", "local_lock=none"), "ok", "store is on nfs4: its locks hold"),
        (
            ("nfs", "nolock"),
            "note",
            "store is on nfs mounted with nolock: its locks may hold on this machine only, so use",
        ),
        (None, "ok", "the file system of the store isn't known"),
    ],
)
def test_the_locks_of_the_file_system(
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    mount: tuple[str, str] | None,
    state: str,
    said: str,
) -> None:
    there = mount and Mount(point=Path("/"), kind=mount[0], options=frozenset(mount[1:]))
    monkeypatch.setattr(machine_report, "mount_of", lambda folder: there)
    finding = machine_report.judge_locks(store.root)
    assert (finding.name, finding.state) == ("locks", state)
    assert said in finding.text


@pytest.mark.parametrize(
    ("epochs", "off", "state", "said"),
    [
        (
            60,
            0.01,
            "ok",
            "1.1 % in 9.9 s, for an item in a run of 10 items (60 epochs",
        ),
        (60, 0.2, "problem", "; the threshold of 3% is smaller: raise --tvm-max-time"),
        (4, 0.01, "problem", "too few epochs in 9.9 s"),
    ],
)
def test_the_noise_is_held_against_the_threshold(
    epochs: int, off: float, state: str, said: str
) -> None:
    ratios = [1 + off, 1 / (1 + off)] * (epochs // 2)
    taken = [Epoch(baseline_s=(2e-4,), now_s=(2e-4 * ratio,)) for ratio in ratios]
    finding = judge_noise(taken, 0.001, 9.9, GATING)
    assert (finding.name, finding.state) == ("noise", state)
    assert said in finding.text


@pytest.mark.parametrize(
    ("option", "value"), [("--threshold", "3"), ("--max-time", "soon"), ("--items", "0")]
)
def test_bad_values_are_wrong_usage(
    option: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["doctor", option, value])
    assert caught.value.code == 2
    assert f"argument {option}: value: " in capsys.readouterr().err

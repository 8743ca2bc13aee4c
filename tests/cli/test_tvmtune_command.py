"""The `tvmtune` command, as a shell runs it."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from pytest_tvmtune.cli import main
from pytest_tvmtune.machine.installed_tvm import package_version
from pytest_tvmtune.store.layout import open_store


def test_the_installed_command_says_its_version() -> None:
    command = Path(sys.executable).with_name("tvmtune")
    done = subprocess.run(
        [str(command), "--version"], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == f"tvmtune {version('pytest-tvmtune')}\n"


def test_env_shows_versions_and_says_that_the_set_up_works(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["env", "--dir", str(tmp_path / "store")]) == 0
    out = capsys.readouterr().out
    shown = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert shown["tvm"] == package_version("tvm")
    assert shown["tvm_ffi"] == package_version("tvm_ffi")
    assert shown["installation"].startswith("works: ")
    assert (tmp_path / "store" / "CACHEDIR.TAG").is_file()


def test_env_without_a_store_given_takes_the_one_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["env"]) == 0
    assert [p.name for p in tmp_path.iterdir()] == [".tvmtune"]


def test_a_store_that_is_a_file_is_exit_code_1_and_a_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("x")
    assert main(["env", "--dir", str(tmp_path / "file")]) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("tvmtune: ")
    assert f"{tmp_path / 'file'} is a file, not a folder" in captured.err
    assert "works" not in captured.out


def test_a_missing_compiler_is_exit_code_1_and_says_what_to_install(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.delenv("CC", raising=False)
    assert main(["env", "--dir", str(tmp_path / "store")]) == 1
    assert "no C++ compiler found" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [[], ["no-such-command"], ["env", "--no-such-option"], ["db"], ["db", "show"],
     ["db", "import", "x"], ["db", "prune", "--keep", "x"], ["db", "sign", "x"], ["baselines"],
     ["baselines", "show"], ["baselines", "export"], ["baselines", "import"],
     ["baselines", "import", "x", "y"], ["baselines", "no-such-command"],
     ["history", "x", "y"], ["compare", "1"], ["report"], ["tune", "x.onnx"], ["export", "x"]],
)  # fmt: skip
def test_wrong_usage_is_exit_code_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: tvmtune" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "named"),
    [
        (
            [],
            [
                "env",
                "doctor",
                "history",
                "compare",
                "report",
                "db",
                "baselines",
                "gc",
                "examples:",
                "exit codes: 0 success",
            ],
        ),
        (["doctor"], ["--threshold", "3%", "--max-time", "--items", "--json", "default: 10"]),
        (["history"], ["CASE", "--plot", "--csv", "--all-machines", "--json"]),
        (["compare"], ["RUN_A", "RUN_B", "last~1", "--json"]),
        (["report"], ["RUN", "--html", "--markdown", "--json"]),
        (["env"], ["--dir"]),
        (["gc"], ["--dir", "--older-than", "--max-size", "--dry-run", "default: 30"]),
        (["db"], ["stats", "show", "verify", "sign", "export", "import", "prune"]),
        (["db", "show"], ["MODEL|WORKLOAD"]),
        (["db", "verify"], ["--repair"]),
        (["db", "export"], ["WORK_DIR", "--target", "--model"]),
        (["db", "import"], ["WORK_DIR", "--target", "--measured-here"]),
        (["db", "sign"], ["--dir"]),
        (["baselines"], ["list", "show", "export", "import"]),
        (["baselines", "list"], ["NAME", "default: all"]),
        (["baselines", "show"], ["NAME"]),
        (["baselines", "export"], ["FILE", "NAME"]),
        (["baselines", "import"], ["FILE"]),
        (["db", "prune"], ["--older-than", "--unreferenced", "--other-tvm", "--keep"]),
    ],
)
def test_help_names_commands_and_options(
    command: list[str], named: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main([*command, "--help"])
    assert caught.value.code == 0
    out = capsys.readouterr().out
    assert out.startswith(f"usage: {' '.join(['tvmtune', *command])} ")
    assert [name for name in named if name not in out] == []


def test_looking_into_a_store_loads_no_tvm(tmp_path: Path) -> None:
    code = (
        "import sys; from pytest_tvmtune.cli import main; main(sys.argv[1:]);"
        "print(sorted({'tvm', 'tvm_ffi', 'pytest'} & set(sys.modules)))"
    )
    open_store(tmp_path)
    commands = [["db", "stats"], ["db", "verify"], ["db", "prune", "--other-tvm"], ["db", "sign"],
                ["gc"], ["baselines", "list"], ["baselines", "import", "absent"],
                ["history"], ["report", "1"]]  # fmt: skip
    for command in commands:
        done = subprocess.run(
            [sys.executable, "-c", code, *command, "--dir", str(tmp_path)],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert done.stdout.splitlines()[-1] == "[]"

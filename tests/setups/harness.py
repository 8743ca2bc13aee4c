"""One set-up: a suite, plugins and an environment, run by real pytest processes."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support import ROOT, WITHOUT_TORCH

PLUGINS = ROOT / ".setups"
# What never belongs in what a user sees.
NEVER = ("INTERNALERROR", "KeyError", "StashKey")
TRACEBACK = r"Traceback \(most recent"
_TIMEOUT_S = 400
_INHERITED = ("PYTEST_", "COV", "TVM", "GITHUB_", "PYTHONWARNINGS", "PYTHONHASHSEED", "PYTHONPATH")


@dataclass(frozen=True, kw_only=True)
class Step:
    """One pytest process in the set-up's folder, and what it should come to.

    arguments: as typed. environment: added; None takes a variable away; `{folder}` is the set-up's.
    wrapper: a command that the interpreter's is added to. command: in place of `python -m pytest`.
    exit_codes: those accepted; more than one where the interface leaves it open. says, silent:
    regular expressions that occur in the output, and that don't; tracebacks: whether there may be
    some, such as a plugin's own of what it tried again. report_silent: what the JSON report
    doesn't hold. cases, failed: how many the JSON
    report has, and how many of them failed. baselines: in the store afterwards.
    """

    arguments: str = ""
    environment: Mapping[str, str | None] = field(default_factory=dict)
    wrapper: str = ""
    command: str = "-m pytest"
    exit_codes: tuple[int, ...] = (0,)
    says: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()
    tracebacks: bool = False
    report_silent: tuple[str, ...] = ()
    cases: int | None = None
    failed: int | None = None
    baselines: int | None = None


@dataclass(frozen=True, kw_only=True)
class Setup:
    """A suite and its surroundings.

    plugins: distributions below .setups/, whose own needs are added. cold: begins with an empty
    store, not with one that holds the tiny model. prepare: makes what is not text in its folder.
    """

    name: str
    files: Mapping[str, str]
    steps: tuple[Step, ...] = (Step(),)
    plugins: tuple[str, ...] = ()
    cold: bool = False
    prepare: Callable[[Path], None] | None = None


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What one step came to. wrong: how it differs from what it should."""

    exit_code: int
    output: str
    wrong: tuple[str, ...]


def plugin_folders(names: tuple[str, ...]) -> list[str]:
    """Return the folders of these distributions and of what they need, where that has one, too."""
    folders: list[str] = []
    left = [canonicalize_name(name) for name in names]
    for name in names:
        if not (PLUGINS / name).is_dir():
            raise FileNotFoundError(f"{PLUGINS / name}: `make test-all` installs it")
    by_name = {canonicalize_name(path.name): path for path in PLUGINS.iterdir()}
    while left:
        path = by_name.get(left.pop())
        if path is None or str(path) in folders:
            continue
        folders.append(str(path))
        for found in importlib.metadata.distributions(path=[str(path)]):
            requirements = [Requirement(text) for text in found.requires or ()]
            left += [
                canonicalize_name(one.name)
                for one in requirements
                if one.marker is None or one.marker.evaluate({"extra": ""})
            ]
    return folders


def make_folder(setup: Setup, folder: Path, warm: Path) -> None:
    """Write the suite. warm: a store that holds the tiny model's library."""
    folder.mkdir(parents=True)
    for name, text in {"pytest.ini": "[pytest]\n", **setup.files}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    if setup.prepare:
        setup.prepare(folder)
    if not setup.cold:
        shutil.copytree(warm, folder / ".tvmtune", symlinks=True)


def run_step(setup: Setup, step: Step, folder: Path) -> Seen:
    """Run one step and compare."""
    report = folder / "seen.json"
    report.unlink(missing_ok=True)
    words = [
        *shlex.split(step.wrapper.format(folder=shlex.quote(str(folder)))),
        sys.executable,
        *shlex.split(step.command),
        f"--tvm-json={report}",
        *shlex.split(step.arguments.format(folder=shlex.quote(str(folder)))),
    ]
    try:
        ended = subprocess.run(
            words,
            cwd=folder,
            env=_environment(setup, step, folder),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_TIMEOUT_S,
            check=False,
        )
        code, output = ended.returncode, ended.stdout.decode(errors="replace")
    except subprocess.TimeoutExpired as error:
        code, output = -1, f"hangs: {(error.stdout or b'').decode(errors='replace')}"
    with (folder.parent / "output.txt").open("a") as file:
        file.write(f"$ {shlex.join(words)}\n{output}\n")
    text = report.read_text("utf-8") if report.exists() else ""
    cases = json.loads(text)["cases"] if text else []
    wrong = _differences(step, code, output, cases, folder)
    wrong += [f"reports {held!r}" for held in step.report_silent if _has(held, text)]
    return Seen(exit_code=code, output=output, wrong=tuple(wrong))


def _environment(setup: Setup, step: Step, folder: Path) -> dict[str, str]:
    kept = {name: text for name, text in os.environ.items() if not name.startswith(_INHERITED)}
    for name in ("CI", "CXX", "CC"):
        kept.pop(name, None)
    added = {
        name: None if text is None else text.format(folder=folder, path=kept["PATH"])
        for name, text in step.environment.items()
    }
    first = [added.pop("PYTHONPATH", None), str(WITHOUT_TORCH), *plugin_folders(setup.plugins)]
    kept["PYTHONPATH"] = os.pathsep.join(filter(None, first))
    kept["PYTHONDONTWRITEBYTECODE"] = "1"
    for name, text in added.items():
        if text is None:
            kept.pop(name, None)
        else:
            kept[name] = text
    return kept


def _differences(
    step: Step, code: int, output: str, cases: list[dict[str, Any]], folder: Path
) -> list[str]:
    wrong = []
    if code not in step.exit_codes:
        wrong.append(f"exit code {code}, not {step.exit_codes}")
    wrong += [f"doesn't say {text!r}" for text in step.says if not _has(text, output)]
    never = (*NEVER, *step.silent, *(() if step.tracebacks else (TRACEBACK,)))
    wrong += [f"says {text!r}" for text in never if _has(text, output)]
    failed = sum(case["outcome"] == "failed" for case in cases)
    if step.cases is not None and len(cases) != step.cases:
        wrong.append(f"{len(cases)} cases, not {step.cases}")
    if step.failed is not None and failed != step.failed:
        wrong.append(f"{failed} failed cases, not {step.failed}")
    if step.baselines is not None:
        found = len(list((folder / ".tvmtune" / "baselines").glob("*.json")))
        if found != step.baselines:
            wrong.append(f"{found} baselines, not {step.baselines}")
    return wrong


def _has(pattern: str, output: str) -> bool:
    return re.search(pattern, output, re.MULTILINE) is not None


def run_setup(setup: Setup, folder: Path, warm: Path) -> list[Seen]:
    """Run the steps in turn, whatever the ones before came to."""
    make_folder(setup, folder, warm)
    return [run_step(setup, step, folder) for step in setup.steps]


def table_row(setup: Setup, seen: list[Seen]) -> str:
    """Return a row of the table: set-up, expected and seen exit codes, what differs."""
    expected = ", ".join("/".join(map(str, step.exit_codes)) for step in setup.steps)
    codes = ", ".join(str(one.exit_code) for one in seen)
    wrong = "; ".join(text for one in seen for text in one.wrong)
    said = _first_line(seen[-1].output)
    cells = (setup.name, expected, codes, wrong or "as expected", said)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


TABLE_HEAD = (
    "| set-up | expected | seen | differs | its last run says |\n| --- | --- | --- | --- | --- |"
)


def _first_line(output: str) -> str:
    """Return the line of an output that says most: an error's, a failure's, else its last."""
    lines = [line.strip(" =") for line in output.splitlines() if line.strip(" =")]
    for start in ("ERROR", "FAILED", "E  ", "INTERNALERROR"):
        for line in lines:
            if line.startswith(start):
                return line[:120]
    return lines[-1][:120] if lines else ""

"""The documents' code blocks, run as a reader would: from top to bottom, in one folder.

| block | what is done with it |
|---|---|
| any, with a title | written to the file of that name, then checked as below |
| `python` | compiled; without a title run, in the document's own namespace |
| `sh` | run by bash; a comment `<!-- exits with N -->` before it says what else than 0 it may say |
| `sh` after `<!-- needs a device -->`, or service | parsed by bash; options of ours must exist |
| `text title="output"` | its lines stand, with other numbers, in what the last `sh` printed |
| `toml`, `ini`, `yaml`, `json` | parsed; settings of ours and sidecars by our own parsers |

A comment `<!-- raises NAME -->` before `python` is the error it shall raise.

Test files that no `sh` block has run are run when the document ends. Installing, `make`, and
benchmarks take minutes or a network: what they name is checked, and they are not run.
"""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType
from typing import Any

import yaml
from packaging.requirements import Requirement
from sybil import Document, Example, Region
from sybil.parsers.markdown.lexers import RawFencedCodeBlockLexer

from pytest_tvmtune.core.settings.parsing import parse_setting
from pytest_tvmtune.core.settings.rpc_address import TRACKER_VARIABLES
from pytest_tvmtune.core.settings.sidecar import parse_sidecar
from pytest_tvmtune.core.settings.table import SETTINGS
from tests.support import ROOT, WITHOUT_TORCH

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

OUR_VARIABLES = (
    *("TVM_TEST_TARGETS", "PYTEST_ADDOPTS", "TVM_NUM_THREADS", "TVMTUNE_KEY", "CI"),
    *TRACKER_VARIABLES,
)
_INFO = re.compile(r'(?P<language>\w*)(?: title="(?P<title>[^"]+)")?[ \t]*\n')
_EXIT = re.compile(r"<!-- exits with (\d+) -->\s*\Z")
_ELSEWHERE = re.compile(r"<!-- needs a (?:device|service) -->\s*\Z")
_OPTION = re.compile(r"--tvm-[\w-]+")
_RAISES = re.compile(r"<!-- raises (\w+) -->\s*\Z")
_FENCES = RawFencedCodeBlockLexer(_INFO)
SHELL_TIMEOUT_S = 900


@dataclass(eq=False)
class Reader:
    """Who reads documents and does what they say, in `folder`. programs: first in PATH."""

    folder: Path
    programs: Path = Path(sys.executable).parent
    printed: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    untested: set[str] = field(default_factory=set)

    def read(self, path: Path) -> None:
        """Run the blocks of one document. Raises AssertionError with file and line."""
        document = parse(path, self._run_block)
        for example in document.examples():
            example.evaluate()
        if self.untested:
            self.shell(f"pytest {shlex.join(sorted(self.untested))}", 0)

    def shell(self, script: str, exits_with: int, **environment: str) -> None:
        """Run a script in the folder and keep what it prints."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self.folder,
            env=clean_environment(self.programs) | self.environment | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SHELL_TIMEOUT_S,
            check=False,
        )
        self.printed = done.stdout
        assert done.returncode == exits_with, f"exits with {done.returncode}:\n{done.stdout}"
        if re.search(r"^pytest\b", script, re.MULTILINE):
            self.untested.clear()

    def _run_block(self, example: Example) -> str | None:
        """Return what is wrong with a block, or None: Sybil adds file and line."""
        lexemes: Mapping[str, Any] = example.region.lexemes
        language, title, source = lexemes["language"], lexemes["title"], lexemes["source"]
        try:
            if language == "text":
                if title == "output":
                    check_output(source, self.printed)
                return None
            if title:
                self._write(title, source)
            if language == "python":
                code = compile(source, f"{example.path}, line {example.line}", "exec")
                if not title:
                    _run_python(code, example)
            elif language == "sh":
                before = example.document.text[: example.region.start]
                given = _EXIT.search(before)
                script = runnable(source)
                if _ELSEWHERE.search(before):
                    _check_commands(script)
                elif script:
                    self.shell(script, int(given[1]) if given else 0)
            elif language in _PARSERS:
                _check_settings(_PARSERS[language](source))
                if title and title.endswith(".tvmtune.toml"):
                    parse_sidecar(source, (self.folder / title).parent)
            else:
                return f"{language or 'no language'}: none of those that tests/docs knows"
        except Exception as error:  # noqa: BLE001  whatever a block says is told with its place
            return f"{type(error).__name__}: {error}"
        return None

    def _write(self, title: str, source: str) -> None:
        path = self.folder / title
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
        if path.name.startswith("test_") and path.suffix == ".py":
            self.untested.add(title)


def _run_python(code: CodeType, example: Example) -> None:
    wanted = _RAISES.search(example.document.text[: example.region.start])
    raised = ""
    try:
        exec(code, example.namespace)
    except Exception as error:
        if wanted is None:
            raise
        raised = type(error).__name__
    assert wanted is None or raised == wanted[1], f"raises {raised or 'nothing'}"


def parse(path: Path, evaluator: Any = None) -> Document:
    """Return a document with its fenced blocks."""

    def regions(document: Document) -> list[Region]:
        found = list(_FENCES(document))
        for region in found:
            region.evaluator = evaluator
        return found

    return Document.parse(str(path), regions)


def clean_environment(programs: Path) -> dict[str, str]:
    """Return the environment of a reader who has set nothing of ours and has no torch."""
    kept = {name: value for name, value in os.environ.items() if name not in OUR_VARIABLES}
    path = [str(programs), str(Path(sys.executable).parent), kept.get("PATH", "")]
    return kept | {
        "PATH": os.pathsep.join(path),
        "PYTHONPATH": str(WITHOUT_TORCH),
        "COLUMNS": "120",
    }


def runnable(source: str) -> str:
    """Return the commands that are run here; of the others, check what they name."""
    kept = []
    for line in source.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words[:2] == ["pip", "install"]:
            for word in words[2:]:
                if not word.startswith("-"):
                    _check_requirement(word)
        elif words[:1] == ["make"]:
            subprocess.run(
                ["make", "-n", *words[1:]], cwd=ROOT, check=True, stdout=subprocess.DEVNULL
            )
        elif words[:1] == ["python"] and words[1].startswith("benchmarks/"):
            script = (ROOT / words[1]).read_text()
            for word in words[2:]:
                assert not word.startswith("--") or f'"{word}"' in script, f"no such option: {word}"
        elif "otava" in words:
            continue  # its release pins numpy to another version than ours
        else:
            kept.append(line)
    return "\n".join(kept).strip()


def _check_commands(script: str) -> None:
    """Check what can be known of commands that aren't run: their syntax, and our options."""
    subprocess.run(["bash", "-n", "-c", script], check=True, capture_output=True)
    ours = {setting.flag for setting in SETTINGS if setting.on_command_line}
    unknown = set(_OPTION.findall(script)) - ours - {"--tvm-update", "--tvm-update-new"}
    assert not unknown, f"no such option: {sorted(unknown)}"


def _check_requirement(text: str) -> None:
    requirement = Requirement(text)
    if requirement.name == "pytest-tvmtune":
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        unknown = requirement.extras - project["optional-dependencies"].keys()
        assert not unknown, f"no such extras: {sorted(unknown)}"


def _shape(line: str) -> str:
    """Return a line of output without what differs from run to run: numbers, units, gaps."""
    line = re.sub(r"\d+(?:\.\d+)?(?:e[-+]\d+)?", "0", line)
    line = re.sub(r"\b0 (?:ns|us|ms|s)\b", "0 s", line)
    return " ".join(line.split())


def check_output(shown: str, printed: str) -> None:
    """Fail unless the lines shown stand in what was printed, in this order; `...` is any lines."""
    left = iter([_shape(line) for line in printed.splitlines()])
    for line in shown.splitlines():
        if line.strip() not in {"", "..."}:
            # A line may be shown in part.
            assert any(_shape(line) in one for one in left), (
                f"not printed, or not here: {line!r}\n{printed}"
            )


def _parse_ini(text: str) -> dict[str, Any]:
    parser = configparser.ConfigParser()
    parser.read_string(text)
    return {name: dict(parser[name]) for name in parser.sections()}


_PARSERS: Mapping[str, Any] = {
    "toml": tomllib.loads,
    "ini": _parse_ini,
    "yaml": yaml.safe_load,
    "json": json.loads,
}
_INI_KEYS = {setting.ini: setting for setting in SETTINGS if setting.on_command_line}


def _check_settings(values: Any) -> None:
    """Check the ini keys of ours, wherever in a file they stand."""
    if isinstance(values, dict):
        for key, value in values.items():
            if key.startswith("tvm_"):
                parse_setting(_INI_KEYS[key].name, value, key)
            _check_settings(value)

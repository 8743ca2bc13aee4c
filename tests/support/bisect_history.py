"""Git repositories of twelve commits with faults, for `tvmtune bisect` to find."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

COMMITS = 12
LAYERS, SLOWER_LAYERS = 20, 23
_MODEL = """\
import numpy as np
from tvm import relax
from tvm.relax import TensorType

SIZE, LAYERS, SCALE, BIAS = 128, {layers}, {scale}, {bias}
RNG = np.random.default_rng(0)
X = RNG.standard_normal((1, SIZE)).astype("float32")
W = (RNG.standard_normal((SIZE, SIZE)) / SIZE**0.5).astype("float32")


def chain():
    vector, matrix = (TensorType(one.shape, "float32") for one in (X, W))
    x, w = relax.Var("x", vector), relax.Var("w", matrix)
    builder = relax.BlockBuilder()
    with builder.function("main", [x, w], attrs={{"num_input": 1}}):
        with builder.dataflow():
            y = x
            for _ in range(LAYERS):
                y = builder.emit(relax.op.matmul(y, w))
            y = builder.emit(relax.op.multiply(y, relax.const(SCALE, "float32")))
            y = builder.emit_output(relax.op.add(y, relax.const(BIAS, "float32")))
        builder.emit_func_output(y)
    return builder.finalize()


def expected():
    y = X.astype("float64")
    for _ in range(LAYERS):
        y = y @ W
    return (y * SCALE + 0.25).astype("float32")
"""
_TEST = """\
import pytest

import model


@pytest.mark.tvm_tune(trials={trials}, accept="30%", until="2099-01-01", reason="for one commit")
def test_model(tvm_tune):
    run = tvm_tune(model.chain(), params=[model.W], inputs=[model.X])
    run.check(model.expected(), atol=1e-2)
    run.assert_matches_golden()
"""
_FILES = {
    "Makefile": """all:\n\tpython -c "compile(open('model.py').read(), 'model.py', 'exec')"\n""",
    "pytest.ini": "[pytest]\naddopts = -p no:cacheprovider\n",
    ".gitignore": ".tvmtune/\n__pycache__/\n",
}


@dataclass(frozen=True, kw_only=True)
class History:
    """What is wrong with which commits, which are numbered from 1.

    slow_from: the first commit with more layers. wrong: those with another bias. broken: those
    that are no Python. trials: of tuning.
    """

    slow_from: int = COMMITS + 1
    wrong: tuple[int, ...] = ()
    broken: tuple[int, ...] = ()
    trials: int = 0
    tags: dict[str, int] = field(default_factory=dict)


def make_history(folder: Path, history: History) -> list[str]:
    """Make a repository whose branch is `main`, and return the hashes of its commits."""
    folder.mkdir(parents=True, exist_ok=True)
    git(folder, "init", "-q", "-b", "main")
    hashes = []
    for number in range(1, COMMITS + 1):
        files = {**_FILES, "test_model.py": _TEST.format(trials=history.trials)}
        files["model.py"] = _model(history, number)
        files["NEWS"] = f"commit {number}\n"
        for name, text in files.items():
            (folder / name).write_text(text)
        git(folder, "add", "-A")
        git(folder, "commit", "-q", "-m", _subject(history, number))
        hashes.append(git(folder, "rev-parse", "HEAD"))
    for tag, number in history.tags.items():
        git(folder, "tag", tag, hashes[number - 1])
    return hashes


def _subject(history: History, number: int) -> str:
    if number == history.slow_from:
        return "Add three layers"
    if number in history.broken:
        return "Begin to rewrite the model"
    return "Change the bias" if number in history.wrong[:1] else f"Change {number}"


def _model(history: History, number: int) -> str:
    text = _MODEL.format(
        layers=SLOWER_LAYERS if number >= history.slow_from else LAYERS,
        # Half of the commits change the library, but not its speed.
        scale=1 + number // 2 / 100,
        bias=0.5 if number in history.wrong else 0.25,
    )
    return f"{text}\n\ndef unfinished(:\n" if number in history.broken else text


def git(folder: Path, *arguments: str) -> str:
    """Return the output of a git command, regardless of the user's own configuration."""
    person = {
        f"GIT_{who}_{what}": "a@b.c"
        for who in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    }
    done = subprocess.run(
        ["git", *arguments],
        cwd=folder,
        env={**os.environ, **person, "GIT_CONFIG_GLOBAL": os.devnull},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()

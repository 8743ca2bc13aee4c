"""How often `tvmtune bisect` finds the right commit, with the machine idle and with busy cores.

Usage: python benchmarks/bisecting.py [RUNS] [--find slower,wrong] [--machine idle,busy]

Each run makes a repository of twelve commits (tests/support/bisect_history.py) and looks for two
commits in it:

- a slowdown of 15 %: three layers are added to twenty. A commit before it can't be built, and in
  one after it the numbers are wrong.
- wrong numbers, past a slowdown and a commit that can't be built.

The commits with these faults differ from run to run. All runs are made with the machine as it is
(idle, if nothing else runs), and then with a process on each core that computes (busy). Prints, for
both, how often the right commit was found, the commits that were tested, and the seconds.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.support.bisect_history import COMMITS, History, make_history

TVMTUNE = "import sys; from pytest_tvmtune.cli import main; sys.exit(main())"
BUSY = "while True: pass"


@dataclass(frozen=True, kw_only=True)
class Search:
    """A bisection. right: whether it named the commit. steps: tested commits, with both ends."""

    right: bool
    steps: int
    undecided: int
    seconds: float
    said: str


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("runs", nargs="?", type=int, default=20)
    parser.add_argument("--find", default="slower,wrong")
    parser.add_argument("--machine", default="idle,busy")
    options = parser.parse_args()
    runs = options.runs
    print(f"load average {os.getloadavg()[0]:.1f} at the start, {runs} runs", flush=True)
    cores = len(os.sched_getaffinity(0))
    for machine in options.machine.split(","):
        with busy(cores if machine == "busy" else 0):
            for sought in options.find.split(","):
                found = [_search(sought, seed) for seed in range(runs)]
                _print(f"machine {machine}, {sought}", found)


@contextlib.contextmanager
def busy(count: int) -> Iterator[None]:
    """Run so many processes that compute."""
    processes = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _search(sought: str, seed: int) -> Search:
    """Bisect a history whose first bad commit, and the others with faults, are drawn."""
    rng = random.Random(f"{sought} {seed}")
    first_bad = rng.randrange(4, COMMITS - 2)
    # Neither is next to the commit: what can't be decided there would be a candidate, too.
    broken = rng.choice([n for n in range(2, COMMITS) if n not in {first_bad - 1, first_bad}])
    if sought == "slower":
        after = [n for n in range(first_bad + 1, COMMITS) if n != broken]
        history = History(slow_from=first_bad, broken=(broken,), wrong=(rng.choice(after),))
    else:
        wrong = tuple(range(first_bad, COMMITS + 1))
        history = History(slow_from=rng.randrange(2, COMMITS), broken=(broken,), wrong=wrong)
    with tempfile.TemporaryDirectory() as folder:
        hashes = make_history(Path(folder), history)
        started_s = time.monotonic()
        done = subprocess.run(
            [
                *(sys.executable, "-c", TVMTUNE, "bisect", "--json", "--install=make"),
                *(f"--find={sought}", f"--good={hashes[0]}", f"--bad={hashes[-1]}"),
                "test_model.py",
            ],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        seconds = time.monotonic() - started_s
    if not done.stdout:
        return Search(right=False, steps=0, undecided=0, seconds=seconds, said=done.stderr)
    found = json.loads(done.stdout)
    named = found["first_bad"]
    return Search(
        right=named is not None and named["sha"] == hashes[first_bad - 1],
        steps=len(found["steps"]),
        undecided=sum(step["verdict"] == "undecided" for step in found["steps"]),
        seconds=seconds,
        said=done.stderr,
    )


def _print(what: str, searches: list[Search]) -> None:
    right = sum(search.right for search in searches)
    print(
        f"{what}: {right} of {len(searches)} found the commit; tested commits: "
        f"{_spread([search.steps for search in searches])}, undecided: "
        f"{_spread([search.undecided for search in searches])}; seconds: "
        f"{_spread([round(search.seconds) for search in searches])}",
        flush=True,
    )
    for search in searches:
        if not search.right:
            print(f"--- not found:\n{search.said}", flush=True)


def _spread(values: list[int]) -> str:
    return f"{median(values):g} ({min(values)} to {max(values)})"


if __name__ == "__main__":
    main()

"""How often `tvmtune history` marks a change where there is none, and finds one that is there.

    python benchmarks/change_points.py [--series N]

Made-up series of run times: noise of several shapes on one level, and normal noise (sd 3 %) with
one step in the middle. A step counts as found at the right run, give or take one.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np

from pytest_tvmtune.report.change_points import find_changes

Noise = Callable[[np.random.Generator, int], np.ndarray]
NOISE: dict[str, Noise] = {
    "normal": lambda rng, n: 0.03 * rng.standard_normal(n),
    "Student's t, 2 degrees": lambda rng, n: 0.03 * rng.standard_t(2, n),
    "exponential": lambda rng, n: 0.05 * rng.exponential(size=n),
    "two modes": lambda rng, n: 0.1 * rng.integers(0, 2, n) + 0.01 * rng.standard_normal(n),
}
RUNS = (10, 20, 50, 100, 200)
STEPS = (0.06, 0.09, 0.15)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, default=300, help="for each number")
    series = parser.parse_args().series
    rng = np.random.default_rng(1)
    print(f"{'':34}{''.join(f'{n:5} runs' for n in RUNS)}")
    for name, noise in NOISE.items():
        shares = [
            np.mean([bool(find_changes(list(np.exp(noise(rng, n))))) for _ in range(series)])
            for n in RUNS
        ]
        print(f"none, {name:28}{''.join(f'{share:10.1%}' for share in shares)}")
    for step in STEPS:
        shares = [np.mean([found(rng, n, step) for _ in range(series)]) for n in RUNS]
        print(f"a step of {np.expm1(step):<24.1%}{''.join(f'{share:10.1%}' for share in shares)}")


def found(rng: np.random.Generator, n: int, step: float) -> bool:
    logs = NOISE["normal"](rng, n)
    logs[n // 2 :] += step
    return any(abs(change.index - n // 2) <= 1 for change in find_changes(list(np.exp(logs))))


if __name__ == "__main__":
    main()

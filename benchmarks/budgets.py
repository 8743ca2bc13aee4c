"""Latency budgets: how often the interval of a quantile covers it, on recorded calls of models.

Usage: python benchmarks/budgets.py [RECORDINGS]

Each model is timed again and again, as for a budget. The quantiles of all calls together are taken
as the truth. Two coverages are printed: of the interval of each recording, which also shows how the
machine drifts between recordings, and of intervals of calls drawn at random from all recordings.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from variants import built_case, onnx_models

from pytest_tvmtune.core.gating.confidence_sequence import item_alpha
from pytest_tvmtune.core.gating.quantile_interval import QuantileInterval, quantile_interval
from pytest_tvmtune.stages.latency.paired_measurement import time_calls

QUANTILES = {"median": 0.5, "p99": 0.99}
DRAWS = 500
DRAWN_CALLS = 1000


def main() -> None:
    recordings = int(sys.argv[1]) if sys.argv[1:] else 20
    rng, alpha = random.Random(0), item_alpha(1)
    print(
        f"load average {os.getloadavg()[0]:.1f}, each end is wrong with a probability of at most "
        f"{alpha:.4f}",
        flush=True,
    )
    with tempfile.TemporaryDirectory() as folder:
        for name, model in onnx_models().items():
            case, built = built_case(Path(folder), model)
            case = replace(case, options=replace(case.options, max_time_s=4.0))
            taken = [
                time_calls(case, built.artifact, expected_s=1.0, most_calls=5000)
                for _ in range(recordings)
            ]
            calls = sorted(s for one in taken for s in one)
            for statistic, quantile in QUANTILES.items():
                true_s = calls[int(quantile * len(calls))]
                recorded = [quantile_interval(one, quantile, alpha) for one in taken]
                drawn = [
                    quantile_interval(rng.choices(calls, k=DRAWN_CALLS), quantile, alpha)
                    for _ in range(DRAWS)
                ]
                print(
                    f"{name:12} {statistic:6} {1e3 * true_s:.4f} ms, {len(calls)} calls: recorded "
                    f"{_coverage(recorded, true_s)}; drawn {_coverage(drawn, true_s)}",
                    flush=True,
                )


def _coverage(found: Sequence[QuantileInterval], true_s: float) -> str:
    above = sum(one.low > true_s for one in found)
    below = sum(one.high < true_s for one in found)
    return f"{len(found) - above - below} of {len(found)} ({above} above, {below} below)"


if __name__ == "__main__":
    main()

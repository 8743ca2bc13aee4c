"""How the best latency fell: which trials count, and what a call of the model then takes."""

from __future__ import annotations

import math

from pytest_tvmtune.core.tuning.tuning_curve import TuningPoint, extend_curve, improvements


def test_only_better_trials_count_and_failed_ones_take_their_number() -> None:
    assert improvements(math.inf, 4, [None, 3.0, 5.0, 2.0]) == [(6, 3.0), (8, 2.0)]
    # What earlier runs found is where it begins.
    assert improvements(2.5, 4, [None, 3.0, 5.0, 2.0]) == [(4, 2.5), (8, 2.0)]
    assert improvements(math.inf, 0, [None, None]) == []


def test_the_model_is_known_once_each_task_is() -> None:
    weights = {"matmul": 2, "relu": 1}
    curve: list[TuningPoint] = []
    extend_curve(curve, "matmul", [(1, 3.0), (2, 2.0)], weights)
    extend_curve(curve, "relu", [(5, 1.0)], weights)
    # A second round of the first task begins where the first one ended.
    extend_curve(curve, "matmul", [(8, 2.0), (9, 1.5)], weights)
    assert [(p.trial, p.task, p.best_s, p.together_s) for p in curve] == [
        (1, "matmul", 3.0, None),
        (2, "matmul", 2.0, None),
        (5, "relu", 1.0, 5.0),
        (9, "matmul", 1.5, 4.0),
    ]

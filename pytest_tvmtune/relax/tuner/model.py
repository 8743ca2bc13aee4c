"""The cost model of the search: XGBoost's, told when to keep quiet."""

from __future__ import annotations

from typing import Any

import numpy as np
from tvm.ir.utils import derived_object
from tvm.s_tir.meta_schedule.cost_model import PyCostModel, XGBModel
from tvm.s_tir.meta_schedule.utils import shash2hex

# MetaSchedule predicts at random until it has 100 samples, more than most runs here ever take.
WARMUP_SAMPLES = 16
# And of one task: trusted earlier, it makes rounds of candidates that are all alike.
TASK_WARMUP_SAMPLES = 8


@derived_object
class CostModel(PyCostModel):  # type: ignore[misc]
    """MetaSchedule's XGBModel, which learns from all tasks of a run together.

    Of a task that it has hardly a sample of it knows nothing, though it would say so with
    confidence: there it predicts at random.
    """

    def __init__(self, *, num_threads: int) -> None:
        super().__init__()
        self._model = XGBModel(num_warmup_samples=WARMUP_SAMPLES, num_tuning_cores=num_threads)

    def load(self, path: str) -> None:
        """Load model and samples."""
        self._model.load(path)

    def save(self, path: str) -> None:
        """Save model and samples."""
        self._model.save(path)

    def update(self, context: Any, candidates: Any, results: Any) -> None:
        """Learn from measured candidates."""
        self._model.update(context, candidates, results)

    def predict(self, context: Any, candidates: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Return a score for each candidate; the highest is thought the fastest."""
        group = self._model.data.get(shash2hex(context.mod))
        if group is None or len(group.costs) < TASK_WARMUP_SAMPLES:
            return np.random.uniform(size=len(candidates))
        return np.asarray(self._model.predict(context, candidates))

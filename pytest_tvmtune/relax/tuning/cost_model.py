"""The cost model of the search: XGBoost's, trained when it is asked and not before."""

from __future__ import annotations

from typing import Any

import numpy as np
from tvm.s_tir.meta_schedule.cost_model import PyCostModel, XGBModel

from pytest_tvmtune.relax import compat

# MetaSchedule predicts at random until it has 100 samples, more than most runs here ever take.
WARMUP_SAMPLES = 16
# Larger than any number of samples: XGBModel trains once they grew by a fifth of it.
_NEVER = 1 << 60


@compat.derived_object
class CostModel(PyCostModel):  # type: ignore[misc]
    """MetaSchedule's XGBModel, which learns from all tasks of a run together.

    It would be trained after every batch; here only before it is asked again.
    """

    def __init__(self) -> None:
        super().__init__()
        # One thread: there is too little to learn from for more to pay.
        self._model = XGBModel(num_warmup_samples=WARMUP_SAMPLES, num_tuning_cores=1)
        self._untrained: list[tuple[Any, Any, Any]] = []

    def load(self, path: str) -> None:
        """Load model and samples."""
        self._model.load(path)

    def save(self, path: str) -> None:
        """Save model and samples."""
        self._train()
        self._model.save(path)

    def update(self, context: Any, candidates: Any, results: Any) -> None:
        """Take measured candidates in."""
        self._untrained.append((context, candidates, results))

    def predict(self, context: Any, candidates: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Return a score for each candidate; the highest is thought the fastest."""
        self._train()
        return np.asarray(self._model.predict(context, candidates))

    def _train(self) -> None:
        trained = self._model.last_train_size
        while self._untrained:
            arguments = self._untrained.pop(0)
            self._model.last_train_size = _NEVER if self._untrained else trained
            self._model.update(*arguments)

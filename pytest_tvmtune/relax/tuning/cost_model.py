"""The cost model of the search: XGBoost's, trained when it is asked and not before."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from tvm.s_tir.meta_schedule.cost_model import PyCostModel, XGBModel
from tvm.s_tir.meta_schedule.cost_model.xgb_model import FeatureGroup

from pytest_tvmtune.relax import compat
from pytest_tvmtune.store.tuning.samples import Samples

if TYPE_CHECKING:
    from tvm.s_tir.meta_schedule import TuneContext
    from tvm.s_tir.meta_schedule.search_strategy import MeasureCandidate

# MetaSchedule predicts at random until it has 100 samples, more than most runs here ever take.
WARMUP_SAMPLES = 16
# Larger than any number of samples: XGBModel trains once they grew by a fifth of it.
_NEVER = 1 << 60


@compat.derived_object
class CostModel(PyCostModel):  # type: ignore[misc]
    """MetaSchedule's XGBModel, which learns from all tasks of a run, and of earlier runs, together.

    It would be trained after every batch; here only before it is asked again.
    """

    def __init__(self, earlier: Iterable[Samples] = ()) -> None:
        super().__init__()
        # One thread: there is too little to learn from for more to pay.
        self._model = XGBModel(num_warmup_samples=WARMUP_SAMPLES, num_tuning_cores=1)
        self._untrained: list[tuple[Any, Any, Any]] = []
        for one in earlier:
            # A group of its own: another run's times were taken at another speed of the machine.
            name = f"earlier {one.shash}"
            costs = np.array(one.run_s, "float32")
            self._model.data[name] = FeatureGroup(name, list(one.features), costs)
            self._model.data_size += len(costs)

    @property
    def knows_enough(self) -> bool:
        """Whether what it predicts is more than a guess."""
        return bool(self._model.data_size >= WARMUP_SAMPLES)

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
        if not self._untrained and self._model.booster is None and self.knows_enough:
            groups = self._model.data.values()
            features = [one for group in groups for one in group.features]
            self._model._train(  # noqa: SLF001  it has no other way to train without new samples
                xs=features, ys=np.concatenate([one.min_cost / one.costs for one in groups])
            )
        trained = self._model.last_train_size
        while self._untrained:
            arguments = self._untrained.pop(0)
            self._model.last_train_size = _NEVER if self._untrained else trained
            self._model.update(*arguments)


def features_of(
    context: TuneContext, candidates: Sequence[MeasureCandidate]
) -> list[np.ndarray[Any, np.dtype[np.float32]]]:
    """Return what the cost model sees of candidates: (statements that store, features) each."""
    from tvm.s_tir.meta_schedule.feature_extractor import PerStoreFeature

    found = PerStoreFeature().extract_from(context, list(candidates))
    return [one.numpy().astype("float32") for one in found]

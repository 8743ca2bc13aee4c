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
    from tvm.s_tir.meta_schedule.search_strategy import MeasureCandidate

    from pytest_tvmtune.relax.tuning.task_search import Search

# MetaSchedule predicts at random until it has 100 samples, more than most runs here ever take.
WARMUP_SAMPLES = 16
# Larger than any number of samples: XGBModel trains once they grew by a fifth of it, so never.
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
        self._model.last_train_size = _NEVER
        self._untrained: list[tuple[Any, Any, Any]] = []
        for number, one in enumerate(earlier):
            # A group for each: another run's times were taken at another speed of the machine.
            name = f"earlier {number}"
            costs = np.array(one.run_s, "float32")
            self._model.data[name] = FeatureGroup(name, list(one.features), costs)
            self._model.data_size += len(costs)
        self._earlier = int(self._model.data_size)
        self._own_trained = 0

    @property
    def knows_enough(self) -> bool:
        """Whether its predictions are more than guesses."""
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
        for arguments in self._untrained:
            self._model.update(*arguments)
        self._untrained.clear()
        # XGBModel's own rule, which would count the samples of earlier runs, too.
        own = self._model.data_size - self._earlier
        grew = own and own - self._own_trained >= self._own_trained / 5
        if self.knows_enough and (grew or self._model.booster is None):
            self._own_trained = own
            groups = self._model.data.values()
            self._model._train(  # noqa: SLF001  it can't be trained without new samples
                xs=[one for group in groups for one in group.features],
                ys=np.concatenate([one.min_cost / one.costs for one in groups]),
            )


def samples_of(
    search: Search, candidates: Sequence[MeasureCandidate], run_secs: Sequence[float | None]
) -> Samples:
    """Return the samples of the candidates that ran."""
    from tvm.s_tir.meta_schedule.feature_extractor import PerStoreFeature

    found = PerStoreFeature().extract_from(search.context, list(candidates))
    arrays = [one.numpy().astype("float32") for one in found]
    ran = [
        (features, run_s)
        for features, run_s in zip(arrays, run_secs, strict=True)
        if run_s is not None and len(features)
    ]
    return Samples(
        shash=search.task.shash,
        features=tuple(features for features, _ in ran),
        run_s=tuple(run_s for _, run_s in ran),
    )

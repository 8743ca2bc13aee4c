"""The result of the latency gate."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pytest_tvmtune.core.gating.slowdown_cause import Cause
from pytest_tvmtune.core.gating.verdict import Verdict
from pytest_tvmtune.core.json_codec import Count, NullableFloat
from pytest_tvmtune.core.settings.accepted_slowdown import Acceptance


@dataclass(frozen=True, kw_only=True)
class LatencyResult:
    """The result of the latency gate. Ratios are now / baseline. 1.10 is 10 % slower.

    Attributes:
        verdict: The decision of the gate.
        message: The verdict in words.
        median_s: The median time of a call.
        baseline_median_s: The median time of a call of the baseline, measured alternately.
        slowdown_ratio: The ratio now / baseline; null if nothing was measured alternately, such as
            for the same code.
        interval: The confidence interval of the ratio, with the gate's margin.
        confidence: The confidence of `interval`.
        threshold: The threshold as given.
        epochs: The number of epochs that were measured.
        pairs: The number of pairs of samples that were measured.
        placements: The number of times that the code was loaded at another place. It's less than
            `epochs` for large libraries.
        spent_s: The duration of the measurement.
        noise: The standard deviation of the epochs' log ratios.
        resolvable_ratio: The smallest slowdown that can be decided now, according to a comparison
            of the baseline with itself. Only after INCONCLUSIVE.
        num_threads: The number of threads of TVM's runtime.
        accepted_median_s: For information: the median of the baseline when it was accepted.
        accepted_on: For information: the machine, the versions, and the time (`at`) of the
            acceptance.
        same_code: Whether both libraries are the same. Then nothing was compared.
        accepted: Whether this run accepts the artifact as the baseline.
        cause: The cause of a REGRESSION or IMPROVEMENT; null for other verdicts.
        limit_ratio: The ratio of `threshold`, including the acceptance.
        acceptance: The acceptance in the marker, even if it's expired; null without one.
        epoch_ratios: The median ratio of each epoch, in order.
        samples_s: The time of a call of each sample, in order. The samples of a pair have the same
            position.
        baseline_samples_s: The same for the baseline; empty if nothing was measured alternately.
    """

    verdict: Verdict
    message: str
    median_s: float | None = None
    baseline_median_s: float | None = None
    slowdown_ratio: float | None = None
    interval: tuple[NullableFloat, NullableFloat] | None = None
    confidence: float | None = None
    threshold: str = ""
    epochs: Count = 0
    pairs: Count = 0
    placements: Count = 0
    spent_s: float = 0.0
    noise: float | None = None
    resolvable_ratio: float | None = None
    num_threads: Count = 0
    accepted_median_s: float | None = None
    accepted_on: dict[str, Any] = field(default_factory=dict)
    same_code: bool = False
    accepted: bool = False
    cause: Cause | None = None
    limit_ratio: float | None = None
    acceptance: Acceptance | None = None
    epoch_ratios: tuple[float, ...] = ()
    samples_s: tuple[float, ...] = ()
    baseline_samples_s: tuple[float, ...] = ()

    @property
    def known_ratio(self) -> float | None:
        """The slowdown ratio; 1 for the same code, as fast as itself though nothing is measured."""
        return 1.0 if self.same_code else self.slowdown_ratio

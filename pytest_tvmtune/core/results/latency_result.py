"""What the latency gate found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pytest_tvmtune.core.gating.slowdown_cause import Cause
from pytest_tvmtune.core.gating.verdict import Verdict
from pytest_tvmtune.core.json_codec import Count, NullableFloat
from pytest_tvmtune.core.settings.accepted_slowdown import Acceptance


@dataclass(frozen=True, kw_only=True)
class LatencyResult:
    """What the latency gate found. Ratios are now / baseline: 1.10 is 10 % slower.

    Attributes:
        verdict: What the gate decided.
        message: The verdict in words.
        median_s: Median time of a call.
        baseline_median_s: Median time of a call of the baseline, measured alternately.
        slowdown_ratio: now / baseline; null where nothing was measured alternately, as for the
            same code.
        interval: Confidence interval of the ratio's median.
        confidence: Confidence of `interval`.
        threshold: The threshold as given.
        epochs: How many epochs were measured.
        pairs: How many pairs of samples were measured.
        placements: How often the code was loaded to another place, less than `epochs` for large
            libraries.
        spent_s: How long it took.
        noise: Standard deviation of the epochs' log ratios.
        resolvable_ratio: The slowdown that can be resolved now, as the baseline against itself
            shows; only after INCONCLUSIVE.
        num_threads: Threads of TVM's runtime.
        accepted_median_s: For information: the baseline's median when it was accepted.
        accepted_on: For information: the machine, versions and time (`at`) of that.
        same_code: Whether both libraries are the same, so that nothing was compared.
        accepted: Whether this run accepts the artifact as the baseline.
        cause: Why it became slower or faster, of a REGRESSION or IMPROVEMENT.
        limit_ratio: The ratio that `threshold` means.
        acceptance: The slowdown that the marker accepts, or accepted.
        epoch_ratios: Median ratio of each epoch, in order.
        samples_s: Time of a call, of each sample in order; pairs at one place.
        baseline_samples_s: The same of the baseline; empty where nothing was measured alternately.
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

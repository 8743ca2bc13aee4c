"""An accepted baseline: the artifact that was accepted for a case, with its properties."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from statistics import median
from typing import Annotated, Any

from msgspec import Meta

from pytest_tvmtune.core.gating.case_identity import Identity
from pytest_tvmtune.core.json_codec import Sha256, from_json_values, to_json_values

SCHEMA = 2
_Seconds = Annotated[float, Meta(gt=0, le=sys.float_info.max)]
_OF_EACH_FINGERPRINT = ("cpu", "tvm", "tvm_ffi")


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """The accepted artifact of a case, with its properties at that time.

    artifact, untuned: SHA-256 of the accepted library, and of the same module without records.
    samples_s: seconds per call when accepted, on the machine and with the versions in
    `fingerprint`: advisory, never the cause of a failure; the artifact is run again.
    params_sha256: of the model's parameters, which aren't kept; "" where that isn't known.
    compile_s, trial_s: what compiling the library took, and a tuning trial on average; None where
    that isn't known, as in a run that didn't tune. compiled_on, tuned_on: the CPUs that these
    depend on, "" where they aren't known.
    """

    identity: Identity
    artifact: Sha256
    untuned: Sha256
    signature: dict[str, Any]
    target: Annotated[str, Meta(pattern="^{")]
    samples_s: Annotated[tuple[_Seconds, ...], Meta(min_length=1)]
    num_threads: Annotated[int, Meta(gt=0)]
    fingerprint: dict[str, Any]
    accepted_at: str
    params_sha256: str = ""
    compile_s: _Seconds | None = None
    trial_s: _Seconds | None = None
    compiled_on: str = ""
    tuned_on: str = ""

    @property
    def libraries(self) -> tuple[str, str]:
        """The SHA-256 of every library it needs."""
        return self.artifact, self.untuned

    @property
    def median_s(self) -> float:
        """Seconds per call when accepted."""
        return median(self.samples_s)


def plain_baseline(baseline: Baseline) -> dict[str, Any]:
    """Return a baseline as its file has it."""
    return {"schema": SCHEMA, **to_json_values(baseline)}


def baseline_of(loaded: Any) -> Baseline:
    """Return the baseline in the JSON values of a file.

    Raises:
        ValueError: It isn't one, or one of its fields can't be used.
    """
    if not isinstance(loaded, dict) or loaded.get("schema") != SCHEMA:
        raise ValueError(f"not a baseline of schema {SCHEMA}")
    try:
        baseline = from_json_values(loaded, Baseline)
    except ValueError as error:
        raise ValueError(f"damaged baseline: {error}") from None
    if missing := [name for name in _OF_EACH_FINGERPRINT if name not in baseline.fingerprint]:
        raise ValueError(f"damaged baseline: the fingerprint lacks {', '.join(missing)}")
    return baseline

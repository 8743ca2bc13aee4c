"""Numbers as users write them: counts, durations, thresholds."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from pytest_tvmtune.core.errors import OptionError

MAX_TRIALS = 1_000_000
_DURATION = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(s|ms|us)?\s*")
_UNIT_S = {"s": 1.0, "ms": 1e-3, "us": 1e-6}
_HUGE = 1e300  # beyond it an int may not fit a float
_PERCENT = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*%\s*")


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """The slowdown that fails: a share of the baseline (`ratio`) or seconds (`seconds`).

    accepted_ratio: a slowdown (0.05 = 5 %) that is accepted before that counts.
    """

    text: str
    ratio: float | None = None
    seconds: float | None = None
    accepted_ratio: float = 0.0

    def __post_init__(self) -> None:
        if (self.ratio is None) == (self.seconds is None):
            raise ValueError("a Threshold has either a ratio or seconds")

    def limits(self, baseline_s: float) -> tuple[float, float]:
        """Return the ratios (1.03 = 3 % slower) that are too fast and too slow to be the same.

        They mirror each other on a log scale, except for the acceptance.

        Args:
            baseline_s: Median of the baseline.
        """
        if self.ratio is not None:
            ratio = 1 + self.ratio
        else:
            assert self.seconds is not None
            ratio = 1 + self.seconds / baseline_s
        return 1 / ratio, ratio * (1 + self.accepted_ratio)


def parse_count(value: object, name: str, *, minimum: int, maximum: int = MAX_TRIALS) -> int:
    """Return a whole number within bounds.

    Args:
        value: An int, or its text.
        name: The setting, for messages.
        minimum: The least that is accepted.
        maximum: The most.

    Raises:
        OptionError: It is anything else: a bool, a fraction, out of bounds.
    """
    accepted = f"a whole number from {minimum} to {maximum}"
    if isinstance(value, str):
        text = value.strip()
        if not re.fullmatch(r"[+-]?\d{1,18}", text):
            raise OptionError(f"{name}: {value!r} is not {accepted}")
        value = int(text)
    if isinstance(value, bool) or not isinstance(value, int):
        raise OptionError(f"{name}: {value!r} is not {accepted}")
    if not minimum <= value <= maximum:
        raise OptionError(f"{name}: {value} is out of range; give {accepted}")
    return value


def parse_seconds(value: object, name: str) -> float:
    """Return a duration in seconds.

    Args:
        value: A number of seconds, or text: `10`, `10s`, `500ms`.
        name: The setting, for messages.

    Raises:
        OptionError: It is anything else, or not positive and finite.
    """
    accepted = "a positive duration such as 10, 10s, or 500ms"
    if isinstance(value, str):
        match = _DURATION.fullmatch(value)
        if match is None:
            raise OptionError(f"{name}: {value!r} is not {accepted}")
        seconds = float(match[1]) * _UNIT_S[match[2] or "s"]
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        seconds = float(value) if abs(value) < _HUGE else math.inf
    else:
        raise OptionError(f"{name}: {value!r} is not {accepted}")
    if not (math.isfinite(seconds) and seconds > 0):
        raise OptionError(f"{name}: {value!r} is not {accepted}")
    return seconds


def parse_tolerance(value: object, name: str) -> float:
    """Return a numeric tolerance: a finite number of at least 0. Raises OptionError."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise OptionError(f"{name}: {value!r} is not a number of at least 0")
    if not 0 <= value < _HUGE:
        raise OptionError(f"{name}: {value!r} is not a finite number of at least 0")
    return float(value)


def parse_share(value: object, name: str) -> float:
    """Return the share written as a percentage: 0.05 for `5%`. Raises OptionError."""
    if isinstance(value, str) and (match := _PERCENT.fullmatch(value)):
        share = float(match[1]) / 100
        if share <= 10:
            return share
    raise OptionError(f"{name}: {value!r} is not a percentage such as 5% or 0%")


def parse_threshold(value: object, name: str) -> Threshold:
    """Return the slowdown that fails.

    Args:
        value: A percentage (`3%`) or a time (`0.2ms`).
        name: The setting, for messages.

    Raises:
        OptionError: It is anything else. A bare number is refused, since it can mean either.
    """
    accepted = "a positive percentage such as 3% or 2.5%, or a time such as 0.2ms or 50us"
    if isinstance(value, Threshold):
        return value
    if isinstance(value, str):
        text = value.strip()
        if match := _PERCENT.fullmatch(text):
            ratio = float(match[1]) / 100
            if 0 < ratio <= 10:
                return Threshold(text=text, ratio=ratio)
        elif (match := _DURATION.fullmatch(text)) and match[2]:
            seconds = float(match[1]) * _UNIT_S[match[2]]
            if 0 < seconds < math.inf:
                return Threshold(text=text, seconds=seconds)
    raise OptionError(f"{name}: {value!r} is not {accepted}")

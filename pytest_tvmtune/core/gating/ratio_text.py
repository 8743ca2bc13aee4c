"""Ratios of two times in messages: never below 1, followed by `faster` or `slower`."""

from __future__ import annotations

from collections.abc import Sequence

_MOST_DECIMALS = 8


def ratio_words(ratio: float) -> str:
    """Return `1.95x slower`, or `5.8x faster`. ratio: now/before."""
    return f"{_number(_size(ratio), 0)} {_side(ratio)}"


def gate_words(
    ratio: float, interval: tuple[float, float] | None, confidence: float, limit: float
) -> str:
    """Return the measured ratio, its interval, and its limit.

    `5.8x faster (99.5 % confidence: 4.7x to 9.7x), limit 1.03x`: a ratio near the limit, in both
    directions, has as many digits as it takes to show the difference. interval: around the ratio,
    None with too few epochs.
    """
    ends = interval or (ratio, ratio)
    decimals = [_decimals_beside(value, limit) for value in (ratio, *ends)]
    shown, low, high = (
        _number(_size(value), needed)
        for value, needed in zip((ratio, *ends), decimals, strict=True)
    )
    words = f"{shown} {_side(ratio)}"
    if interval is None:
        words += " (too few epochs for an interval)"
    elif _side(ends[0]) != _side(ends[1]):
        words += f" ({percent_text(confidence)} confidence: {low} faster to {high} slower)"
    else:
        first, last = sorted(((_size(ends[0]), low), (_size(ends[1]), high)))
        words += f" ({percent_text(confidence)} confidence: {first[1]} to {last[1]})"
    return f"{words}, limit {_number(limit, _decimals_of_limit(limit, decimals))}"


def _size(ratio: float) -> float:
    return ratio if ratio >= 1 else 1 / ratio


def _side(ratio: float) -> str:
    return "slower" if ratio >= 1 else "faster"


def _decimals_beside(ratio: float, limit: float) -> int:
    """Return how many decimals show the difference from the limit; 0 if any number does."""
    size = _size(ratio)
    for decimals in range(_usual_decimals(size), _MOST_DECIMALS):
        if round(size, decimals) != round(limit, decimals):
            return decimals
    return 0


def _decimals_of_limit(limit: float, beside: Sequence[int]) -> int:
    least = next(
        (n for n in range(_usual_decimals(limit), _MOST_DECIMALS) if round(limit, n) != 1), 0
    )
    return max(least, *beside)


def _usual_decimals(size: float) -> int:
    return 2 if size < 2 else 1 if size < 10 else 0


def _number(size: float, decimals: int) -> str:
    usual = _usual_decimals(size)
    text = f"{size:.{max(usual, decimals)}f}"
    while usual and len(text.partition(".")[2]) > usual and text.endswith("0"):
        text = text[:-1]
    return f"{text}x"


def percent_text(share: float) -> str:
    """Return a share in percent, with as many digits as it takes to differ from 100 %."""
    percent = 100 * share
    decimals = next((n for n in range(1, _MOST_DECIMALS) if round(percent, n) < 100), 1)
    text = f"{percent:.{decimals}f}".rstrip("0").rstrip(".")
    return f"{text} %"

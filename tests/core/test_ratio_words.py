"""Ratios in messages: one scale, and digits enough."""

from __future__ import annotations

import math
import random

import pytest

from pytest_tvmtune.core.gating.ratio_text import gate_words, ratio_words


@pytest.mark.parametrize(
    ("ratio", "words"),
    [(1.954, "1.95x slower"), (1.0, "1.00x slower"), (0.1717, "5.8x faster"), (0.5, "2.0x faster"),
     (12.34, "12x slower"), (0.99, "1.01x faster")],
)  # fmt: skip
def test_a_ratio(ratio: float, words: str) -> None:
    assert ratio_words(ratio) == words


@pytest.mark.parametrize(
    ("ratio", "interval", "confidence", "limit", "words"),
    [
        # What was `5.824x faster (99.461% CI 0.103 to 0.211)`.
        (
            1 / 5.824, (0.103, 0.211), 0.99461, 1.03,
            "5.8x faster (99.5 % confidence: 4.7x to 9.7x), limit 1.03x",
        ),
        (
            1.954, (1.853, 2.043), 0.98922, 1.03,
            "1.95x slower (98.9 % confidence: 1.85x to 2.0x), limit 1.03x",
        ),
        (
            1.031, (1.0304, 1.04), 0.98, 1.03,
            "1.031x slower (98 % confidence: 1.0304x to 1.04x), limit 1.03x",
        ),
        (
            0.99, (0.95, 1.029), 0.98, 1.03,
            "1.01x faster (98 % confidence: 1.05x faster to 1.029x slower), limit 1.03x",
        ),
        (1.3, None, 0.98, 1.2, "1.30x slower (too few epochs for an interval), limit 1.20x"),
        (1.002, (1.001, 1.003), 0.99999, 1.0000001,
         "1.002x slower (99.999 % confidence: 1.001x to 1.003x), limit 1.0000001x"),
        # An absolute threshold makes odd limits: both have the digits.
        (
            1.041, (1.0405, 1.05), 0.98, 1.0437295,
            "1.041x slower (98 % confidence: 1.04x to 1.05x), limit 1.044x",
        ),
    ],
)  # fmt: skip
def test_a_verdict(
    ratio: float,
    interval: tuple[float, float] | None,
    confidence: float,
    limit: float,
    words: str,
) -> None:
    assert gate_words(ratio, interval, confidence, limit) == words


def test_the_digits_order_each_ratio_and_the_limit() -> None:
    rng = random.Random(0)
    for _ in range(5000):
        limit = 1 + 10 ** rng.uniform(-4, 1)
        low, high = sorted(limit ** rng.uniform(-1, 1) * 10 ** rng.uniform(-4, 2) for _ in "ab")
        middle = math.sqrt(low * high)
        words = gate_words(middle, (low, high), 0.98, limit)
        numbers = [float(w.strip("(),")[:-1]) for w in words.split() if w.strip("(),")[-1] == "x"]
        *shown, last = numbers
        sizes = [max(value, 1 / value) for value in (middle, low, high)]
        if high < 1:
            sizes[1:] = sizes[:0:-1]
        assert min(numbers) >= 1, words
        for number, size in zip(shown, sizes, strict=True):
            assert number == pytest.approx(size, rel=0.06), words
            if abs(size - limit) > 1e-6:
                assert (number > last) == (size > limit), (words, size, limit)

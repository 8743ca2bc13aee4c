"""Change points: found where a level changes, none where only noise does."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from pytest_tvmtune.core.errors import EnvironmentProblemError
from pytest_tvmtune.report.change_points import find_changes

NOISE = {
    "normal": lambda rng, n: 0.03 * rng.standard_normal(n),
    "heavy tails": lambda rng, n: 0.03 * rng.standard_t(2, n),
    "skewed": lambda rng, n: 0.05 * rng.exponential(size=n),
    "two modes": lambda rng, n: 0.1 * rng.integers(0, 2, n) + 0.01 * rng.standard_normal(n),
}


@pytest.mark.parametrize("kind", NOISE)
def test_noise_alone_is_seldom_called_a_change(kind: str) -> None:
    rng = np.random.default_rng(0)
    called = sum(
        bool(find_changes(list(1e-3 * np.exp(NOISE[kind](rng, n)))))
        for n in (20, 50, 100)
        for _ in range(40)
    )
    assert called <= 6


@pytest.mark.parametrize(("ratio", "at"), [(1.2, 12), (0.8, 12), (1.5, 19)])
def test_a_change_is_found_where_it_is_with_its_levels(ratio: float, at: int) -> None:
    rng = np.random.default_rng(1)
    times_s = 1e-3 * np.exp(0.02 * rng.standard_normal(24))
    times_s[at:] *= ratio
    (change,) = find_changes(list(times_s))
    assert change.index == at
    assert change.before == np.median(times_s[:at])
    assert change.ratio == pytest.approx(ratio, rel=0.03)


def test_there_and_back_is_two_changes_and_an_outlier_none() -> None:
    rng = np.random.default_rng(2)
    times_s = 1e-3 * np.exp(0.01 * rng.standard_normal(30))
    times_s[25] *= 3
    assert find_changes(list(times_s)) == []
    times_s[10:20] *= 1.3
    assert [change.index for change in find_changes(list(times_s))] == [10, 20]


@pytest.mark.parametrize("times_s", [[], [1e-3], [1e-3, 2e-3, 1e-3, 2e-3, 1e-3], [1e-3] * 50])
def test_too_few_and_equal_times_tell_nothing(times_s: list[float]) -> None:
    assert find_changes(times_s) == []


def test_without_ruptures_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ruptures", None)
    with pytest.raises(EnvironmentProblemError, match=r"pip install 'pytest-tvmtune\[history\]'"):
        find_changes([1e-3] * 20)

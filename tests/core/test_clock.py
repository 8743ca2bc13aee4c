"""Clocks that tests which fake time leave alone."""

from __future__ import annotations

import datetime
import re
import time

import pytest

from pytest_tvmtune.core import clock
from pytest_tvmtune.core.settings.accepted_slowdown import acceptance_of

PATCHED = ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns",
           "localtime", "gmtime", "strftime")  # fmt: skip


class FrozenDatetime(datetime.datetime):
    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> FrozenDatetime:
        return cls(2020, 2, 3, tzinfo=tz)


@pytest.fixture
def frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time in 2020, as freezegun does it in `time`, `datetime`, and modules that hold theirs."""
    real = {name: getattr(time, name) for name in PATCHED}
    gmtime, strftime = real["gmtime"], real["strftime"]
    fakes = {
        **dict.fromkeys(real, lambda: 1_580_000_000),
        "gmtime": lambda seconds=None: gmtime(1_580_000_000 if seconds is None else seconds),
        # Called from some modules, freezegun's own forgets the time it is given.
        "strftime": lambda form, _=None: strftime(form, gmtime(1_580_000_000)),
    }
    for name, fake in fakes.items():
        monkeypatch.setattr(time, name, fake)
        for attribute, held in vars(clock).items():
            if held is real[name]:
                monkeypatch.setattr(clock, attribute, fake)
    monkeypatch.setattr(datetime, "datetime", FrozenDatetime)


def test_the_clocks_go_on_where_time_is_frozen(frozen: None) -> None:
    assert time.time() == time.monotonic() == 1_580_000_000
    began_s, now_s = clock.monotonic_s(), clock.now_s()
    time.sleep(0.05)
    assert 0.05 <= clock.monotonic_s() - began_s < 10
    assert 0.04 <= clock.now_s() - now_s < 10
    assert now_s > 1_700_000_000
    text = clock.utc_text(now_s)
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", text)
    assert text > "2026"
    assert clock.today().isoformat() in {text[:10], clock.utc_text(clock.now_s())[:10]}


def test_they_are_the_systems() -> None:
    assert clock.now_s() == pytest.approx(time.time(), abs=1.0)
    assert clock.monotonic_s() == pytest.approx(time.monotonic(), abs=1.0)
    assert clock.utc_text(1_580_000_000.9) == "2020-01-26T00:53:20Z"


def test_an_accepted_slowdown_expires_by_the_real_date(frozen: None) -> None:
    accepted = acceptance_of(0.05, datetime.date(2021, 1, 31), "a fix is on its way")
    assert accepted is not None
    assert accepted.expired

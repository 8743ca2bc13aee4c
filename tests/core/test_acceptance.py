"""Accepted slowdowns: all parts or none, until a day, in the limit while it lasts."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest

from pytest_tvmtune.core.errors import OptionError
from pytest_tvmtune.core.settings.accepted_slowdown import Acceptance, acceptance_of
from pytest_tvmtune.core.settings.options import resolve_run
from pytest_tvmtune.core.settings.parsing import parse_marker
from pytest_tvmtune.core.settings.sidecar import parse_sidecar
from pytest_tvmtune.core.settings.target_spec import parse_target

TODAY = datetime.datetime.now(datetime.timezone.utc).date()
DAY = datetime.timedelta(days=1)
WHY = {"reason": "a safer  kernel,\nsee #12"}


def options(**marker: Any) -> Any:
    run = resolve_run(store_dir=Path())
    return run.case_options(parse_marker(marker), target=parse_target("llvm"), prepack=False)


def test_it_is_added_to_the_threshold_until_its_last_day() -> None:
    # Both, since midnight may fall between here and there.
    for until in (TODAY + DAY, (TODAY + DAY).isoformat()):
        told = options(accept="5%", until=until, threshold="2%", **WHY)
        assert told.acceptance == Acceptance(
            ratio=0.05, until=(TODAY + DAY).isoformat(), reason="a safer kernel, see #12"
        )
        assert told.threshold.limits(1.0) == pytest.approx((1 / 1.02, 1.02 * 1.05))
    assert told.acceptance.sentence == (
        f"a slowdown of up to 5 % is accepted until {TODAY + DAY}: a safer kernel, see #12"
    )
    today = acceptance_of(0.05, TODAY, "why")
    assert today is not None
    assert not today.expired or datetime.datetime.now(datetime.timezone.utc).date() > TODAY


def test_afterwards_it_is_told_and_changes_nothing() -> None:
    told = options(accept="12.5%", until=TODAY - DAY, **WHY)
    assert told.acceptance.expired
    assert told.threshold.limits(1.0) == pytest.approx((1 / 1.03, 1.03))
    assert told.acceptance.sentence == (
        f"a slowdown of up to 12.5 % was accepted only until {TODAY - DAY}: a safer kernel, see #12"
    )


def test_without_one_nothing_is_accepted() -> None:
    assert options().acceptance is None
    assert options().threshold.accepted_ratio == 0


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"accept": "5%"}, "accept: an accepted slowdown .* add until= and reason=, for example"),
        ({"accept": "5%", "until": "2027-01-31"}, "add reason=, for example"),
        ({"until": "2027-01-31", **WHY}, "until: an accepted slowdown .* add accept=, for example"),
        ({"accept": "5", "until": "2027-01-31", **WHY}, "accept: '5' is not a percentage"),
        ({"accept": "5%", "until": "31.1.2027", **WHY}, "until: '31.1.2027' is not a day such as"),
        ({"accept": "5%", "until": 20270131, **WHY}, "until: 20270131 is not a day such as"),
        ({"accept": "5%", "until": "2027-01-31", "reason": " "}, "reason: ' ' is not a reason"),
    ],
)
def test_what_is_no_acceptance(given: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        parse_marker(given)


def test_in_a_sidecar_a_day_is_tomls_own() -> None:
    text = 'accept = "5%"\nuntil = 2027-01-31\nreason = "why"\n'
    assert parse_sidecar(text, Path()).options["until"] == datetime.date(2027, 1, 31)
    with pytest.raises(OptionError, match="is not a day"):
        parse_sidecar(text.replace("01-31", "01-31T00:00:00"), Path())

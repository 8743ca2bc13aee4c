"""A slowdown that a team accepts until a day, with a reason."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Any

from pytest_tvmtune.core.clock import today
from pytest_tvmtune.core.errors import OptionError

PARTS = ("accept", "until", "reason")


@dataclass(frozen=True, kw_only=True)
class Acceptance:
    """A slowdown that the marker accepts until a day.

    Attributes:
        ratio: The accepted slowdown, on top of the threshold. 0.05 is 5 %.
        until: The last day, in UTC, as ISO 8601.
        reason: The reason in the marker.
        expired: Whether the last day is over. An expired acceptance changes no verdict.
    """

    ratio: float
    until: str
    reason: str
    expired: bool = False

    @property
    def sentence(self) -> str:
        """The acceptance in words, for reports."""
        share = f"{100 * self.ratio:g} %"
        if self.expired:
            return (
                f"a slowdown of up to {share} was accepted only until {self.until}: {self.reason}"
            )
        return f"a slowdown of up to {share} is accepted until {self.until}: {self.reason}"


def parse_day(value: object, name: str) -> datetime.date:
    """Return a day written as ISO 8601, or TOML's own. Raises OptionError."""
    if isinstance(value, datetime.date) and not isinstance(value, datetime.datetime):
        return value
    if isinstance(value, str):
        try:
            return datetime.date.fromisoformat(value.strip())
        except ValueError:
            pass
    raise OptionError(f"{name}: {value!r} is not a day such as 2027-01-31")


def parse_reason(value: object, name: str) -> str:
    """Return text on one line. Raises OptionError for other values and for empty text."""
    if isinstance(value, str) and value.strip():
        return " ".join(value.split())
    raise OptionError(f"{name}: {value!r} is not a reason; say why you accept the slowdown")


def check_parts(parsed: dict[str, Any]) -> None:
    """Raise OptionError if only some parts of an acceptance are given."""
    given = [part for part in PARTS if part in parsed]
    if given and len(given) < len(PARTS):
        missing = " and ".join(f"{part}=" for part in PARTS if part not in given)
        raise OptionError(
            f"{given[0]}: an accepted slowdown needs accept=, until=, and reason=; add {missing}, "
            "for example accept='5%', until='2027-01-31', reason='...'"
        )


def acceptance_of(
    ratio: float | None, until: datetime.date | None, reason: str | None
) -> Acceptance | None:
    """Return the acceptance as of today, None without one."""
    if ratio is None or until is None or reason is None:
        return None
    return Acceptance(ratio=ratio, until=until.isoformat(), reason=reason, expired=today() > until)

"""When the exchanges rest on a weekday: holidays and half days, from the library exchange_calendars. `season.py` asks.

A calendar is taken over a fixed span of years, so an answer depends on the library's version alone, which every alert names. Where a
calendar ends (Shanghai's holidays are set a year at a time) or cannot be had, a weekday counts as a session; that is said once, in words,
and never stops the detector. Loaded when first asked, since it costs the import of pandas.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import lru_cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from typing import Any

from groundswell.errors import Misconfigured
from groundswell.telemetry import log

EXCHANGES = ("XNYS", "XSHG", "XHKG")
FIRST, LAST = date(1990, 1, 1), date(2049, 12, 31)
SETTLES_S = 3600  # talk swells at a close and needs an hour to fall, after an early one as on any day
UPDATE = "Weekdays count as sessions after that: update the package exchange-calendars."
SOON_DAYS = 31
DAY_S = 86_400
SATURDAY = 5
_EPOCH = date(1970, 1, 1).toordinal()


class CalendarsMissing(Misconfigured):
    """The library does not load: every weekday counts as a session."""

    reason = "calendars_missing"
    remedy = "Install the package exchange-calendars again."


@dataclass(frozen=True)
class Sessions:
    """One calendar, as days since 1970-01-01 of the exchange's own date: known from `first` to `last`; `holidays` are weekdays without
    a session; `rests_from_s`: on a half day, from which second of the local day on it is as on a holiday."""

    first: int = 0
    last: int = -1
    holidays: frozenset[int] = frozenset()
    rests_from_s: Mapping[int, int] = field(default_factory=dict)

    def rests(self, day: int, second: int) -> bool:
        """Whether there is no session at this second of this day, weekends aside."""
        return day in self.holidays or second >= self.rests_from_s.get(day, DAY_S)

    @property
    def until(self) -> str:
        """The last day that is known; empty where none is."""
        return str(date.fromordinal(_EPOCH + self.last)) if self.last >= self.first else ""


def version() -> str:
    """Of the library: the same version gives the same answers. Empty where it is not installed."""
    try:
        return installed("exchange_calendars")
    except PackageNotFoundError:
        return ""


def rests(exchange: str, day: int, second: int) -> bool:
    """Whether `exchange` is closed although it is a weekday: on a holiday, or after an early close. False for what has no calendar."""
    if exchange not in EXCHANGES:
        return False
    known = sessions(exchange)
    if not known.first <= day <= known.last:
        _tell_end(exchange, known.until, after=day > known.last)
    return known.rests(day, second)


def load() -> None:
    """All calendars now, so that nobody waits for them later."""
    for exchange in EXCHANGES:
        sessions(exchange)


def describe(today: date) -> str:
    """How far the calendars reach, for `groundswell doctor`. Raises CalendarsMissing where there is none."""
    until = {exchange: sessions(exchange).until for exchange in EXCHANGES}
    if not all(until.values()):
        raise CalendarsMissing("The calendars of the exchanges cannot be read.")
    soon = [last for last in until.values() if date.fromisoformat(last) < today + timedelta(days=SOON_DAYS)]
    known = ", ".join(f"{exchange} until {last}" for exchange, last in until.items())
    return f"exchange_calendars {version()}, {known}" + (f". {UPDATE}" if soon else "")


@lru_cache
def sessions(exchange: str) -> Sessions:
    """The calendar of one exchange, loaded once. Never raises: a calendar that cannot be had is an empty one."""
    try:
        with warnings.catch_warnings(action="ignore"):  # what pandas will change is not a reader's business
            return _load(exchange)
    except Exception as error:  # noqa: BLE001 - another's library, its dates and its dependencies: none may stop the detector
        log().warning(
            "calendar_missing", calendar=exchange, error=repr(error)[:200], hint="Weekdays count as sessions."
        )
        return Sessions()


def _load(exchange: str) -> Sessions:
    library = import_module(f"exchange_calendars.exchange_calendar_{exchange.lower()}")
    kind: Any = getattr(library, f"{exchange}ExchangeCalendar")
    least, most = kind.bound_min(), kind.bound_max()
    begins = FIRST if least is None else max(FIRST, least.date())
    ends = LAST if most is None else min(LAST, most.date())
    found: Any = kind(start=str(begins), end=str(ends))
    with_session = set(found.sessions.to_numpy().astype("datetime64[D]").astype(int).tolist())
    closes = {session.date(): found.session_close(session).astimezone(found.tz) for session in found.early_closes}
    first, last = begins.toordinal() - _EPOCH, ends.toordinal() - _EPOCH
    return Sessions(
        first=first,
        last=last,
        holidays=frozenset(day for day in range(first, last + 1) if weekday(day) < SATURDAY) - with_session,
        rests_from_s={
            day.toordinal() - _EPOCH: close.hour * 3600 + close.minute * 60 + SETTLES_S for day, close in closes.items()
        },
    )


def weekday(day: int) -> int:
    """0 is Monday; `day` counts from 1970-01-01, which was a Thursday."""
    return (day + 3) % 7


@lru_cache
def _tell_end(exchange: str, until: str, *, after: bool) -> None:
    if until:
        what = "calendar_ended" if after else "calendar_begins_later"
        log().warning(
            what, calendar=exchange, until=until, hint=UPDATE if after else "Weekdays count as sessions before."
        )

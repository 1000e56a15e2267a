"""The clock on the wall of a subject's market: an alert says 09:42 Beijing time, not 01:42 UTC. Pure; notice.py writes with it."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from groundswell.times import parse_ms

MARKETS = {
    "XSHG": "Asia/Shanghai", "XSHE": "Asia/Shanghai", "XBSE": "Asia/Shanghai", "XHKG": "Asia/Hong_Kong",
    "XNAS": "America/New_York", "XNYS": "America/New_York", "OTC": "America/New_York", "XLON": "Europe/London",
    "XPAR": "Europe/Paris", "XETR": "Europe/Berlin", "XSWX": "Europe/Zurich", "XTKS": "Asia/Tokyo",
    "XKRX": "Asia/Seoul", "XTAI": "Asia/Taipei", "XBOM": "Asia/Kolkata", "XSAU": "Asia/Riyadh",
}  # fmt: skip
READERS = {"zh": "Asia/Shanghai"}  # for what has no market of its own; UTC for others


def zone_of(subject: str, lang: str) -> str:
    """The IANA zone in which to tell of a subject: its exchange's, else that of those who read the language."""
    return MARKETS.get(subject.removeprefix("market:").partition(":")[0], READERS.get(lang, "UTC"))


def moment(at: str | int, zone: str) -> datetime:
    """An RFC 3339 time or epoch milliseconds on that zone's clock. Raises ValueError when it is no time."""
    at_ms = at if isinstance(at, int) else parse_ms(at)
    try:
        return datetime.fromtimestamp(at_ms / 1000, ZoneInfo(zone))
    except (ZoneInfoNotFoundError, OverflowError, OSError) as error:
        if isinstance(error, ZoneInfoNotFoundError):  # a machine without time zones: right, if not local
            return datetime.fromtimestamp(at_ms / 1000, UTC)
        raise ValueError("a time beyond the calendar") from error


def clock_time(when: datetime, beside: datetime, day: str) -> str:
    """HH:MM; with month and day (`day`, a text with the places month, day, time) when `beside` is on another date."""
    time = f"{when:%H:%M}"
    return time if when.date() == beside.date() else day.format(month=when.month, day=when.day, time=time)

"""Reads what people write: spans of time, moments, quiet hours, filters. Pure; every refusal says what to write instead.

The command line and HTTP bring the same words here (groundswell/asked.py); desk.py and endpoints.py make records of them.
"""

import re
import zoneinfo
from collections.abc import Iterable
from datetime import time

from groundswell.errors import WrongShape
from groundswell.records import QuietHours, Severity
from groundswell.text import safe
from groundswell.times import parse_ms

SECOND_MS = 1_000
DAY_S = 86_400
MOST_FILTERS = 200
NAME_CHARS, NOTE_CHARS = 80, 500
REPEAT_LEAST_S, REPEAT_MOST_S = 300, 7 * DAY_S
ESCALATE_MOST_S = 7 * DAY_S
SILENCE_MOST_S = 366 * DAY_S
UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": DAY_S, "w": 7 * DAY_S}

_SPAN = re.compile(r"(?:\d{1,6}[smhdw])+", re.ASCII)
_PART = re.compile(r"(\d+)([smhdw])", re.ASCII)
_HOURS = re.compile(r"(\d{1,2}:\d{2})\s*[-–]\s*(\d{1,2}:\d{2})", re.ASCII)
_SUBJECT = re.compile(r"[A-Za-z0-9][A-Za-z0-9:._-]{0,63}(?:\|topic:[a-z0-9_-]{1,40})?", re.ASCII)
_TOPIC = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}", re.ASCII)
_LANGUAGE = re.compile(r"[a-z]{2,3}", re.ASCII)


def span_s(text: str) -> int:
    """Seconds of "45s", "30m", "2h", "1h30m", "3d" or "2w". Raises WrongShape."""
    if not _SPAN.fullmatch(text.strip().lower()):
        raise WrongShape(
            f"{safe(text, 40)!r} is no span of time.", remedy="Write 30m, 2h, 1h30m, 3d or 2w; units are s m h d w."
        )
    return sum(int(count) * UNITS_S[unit] for count, unit in _PART.findall(text.lower()))


def moment_ms(text: str) -> int:
    """Epoch milliseconds of an RFC 3339 time. Raises WrongShape without a zone or when it is no time."""
    try:
        return parse_ms(text.strip())
    except (ValueError, OverflowError) as error:
        raise WrongShape(
            f"{safe(text, 40)!r} is no time with a zone.",
            remedy="Write 2026-11-21T18:00:00+08:00, or ...Z for UTC.",
        ) from error


def past_ms(text: str, now_ms: int) -> int:
    """A moment that was: a time with a zone, or a span such as "2h" back from now. Raises WrongShape."""
    looks_like_span = _SPAN.fullmatch(text.strip().lower()) is not None
    at = now_ms - span_s(text) * SECOND_MS if looks_like_span else moment_ms(text)
    if not 0 <= at <= now_ms:
        raise WrongShape(
            f"{safe(text, 40)!r} is not in the past.", remedy="Write a moment that was, or 2h for two hours ago."
        )
    return at


def until_ms(until: str, span: str, now_ms: int) -> int:
    """When a silence ends: one of a time with a zone and a span from now. Raises WrongShape."""
    if bool(until) == bool(span):
        raise WrongShape(
            "A silence needs one end." if not until else "A silence has one end, not two.",
            remedy="Say until when (--until 2026-11-21T18:00:00+08:00) or for how long (--for 2h).",
        )
    end = moment_ms(until) if until else now_ms + span_s(span) * SECOND_MS
    if not now_ms < end <= now_ms + SILENCE_MOST_S * SECOND_MS:
        raise WrongShape(
            "A silence ends later than now and within a year.",
            remedy="Check the date and its zone, or give a span: --for 2h.",
        )
    return end


def quiet_hours(text: str, zone: str, unless: Severity = "critical") -> QuietHours:
    """ "22:00-07:00" in a time zone. Raises WrongShape."""
    match = _HOURS.fullmatch(text.strip())
    if match is None:
        raise WrongShape(f"{safe(text, 40)!r} are no quiet hours.", remedy="Write 22:00-07:00.")
    return checked_quiet(QuietHours(zone=zone, start=match[1].zfill(5), end=match[2].zfill(5), unless=unless))


def checked_quiet(quiet: QuietHours) -> QuietHours:
    """The same quiet hours, if they can be kept. Raises WrongShape."""
    for text in (quiet.start, quiet.end):
        try:
            time.fromisoformat(text if re.fullmatch(r"\d{2}:\d{2}", text, re.ASCII) else "")
        except ValueError as error:
            raise WrongShape(
                f"{safe(text, 40)!r} is no time of day.", remedy="Write HH:MM from 00:00 to 23:59."
            ) from error
    if quiet.start == quiet.end:
        raise WrongShape("Quiet hours that end as they begin are none, or all day.", remedy="Write 22:00-07:00.")
    try:
        zoneinfo.ZoneInfo(quiet.zone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise WrongShape(
            f"{safe(quiet.zone, 40)!r} is no time zone known here.",
            remedy="Write an IANA name: Asia/Shanghai, Europe/London, America/New_York, UTC.",
        ) from error
    return quiet


def repeat(seconds: int) -> int:
    """How often a firing alert is said again; 0 for never. Raises WrongShape."""
    if seconds and not REPEAT_LEAST_S <= seconds <= REPEAT_MOST_S:
        raise WrongShape(
            f"Every {seconds} s is too often or too rare.", remedy="Repeat every 5 minutes to 7 days, or 0 for never."
        )
    return seconds


def escalation(seconds: int) -> int:
    """How long nobody must have acknowledged before this endpoint hears; 0 for at once. Raises WrongShape."""
    if not 0 <= seconds <= ESCALATE_MOST_S:
        raise WrongShape(f"After {seconds} s cannot be.", remedy="Escalate after 1 minute to 7 days, or 0 for at once.")
    return seconds


def subjects(given: Iterable[str]) -> list[str]:
    """Ids of subjects, each once, in order. Raises WrongShape."""
    return _each(
        given,
        _SUBJECT,
        "no id of a subject",
        "Write ids as the page shows them: XNAS:AAPL, XSHG:600519, topic:fraud, market.",
    )


def topics(given: Iterable[str]) -> list[str]:
    """Names of topics, with or without `topic:`. Raises WrongShape."""
    return _each(
        (one.strip().removeprefix("topic:") for one in given),
        _TOPIC,
        "no topic",
        "Write names such as fraud or default.",
    )


def languages(given: Iterable[str]) -> list[str]:
    """Languages of documents. Raises WrongShape."""
    return _each((one.strip().lower() for one in given), _LANGUAGE, "no language", "Write codes such as zh or en.")


def name(text: str) -> str:
    """What people call an endpoint. Raises WrongShape when nothing can be read."""
    cleaned = safe(text, NAME_CHARS).strip()
    if not cleaned:
        raise WrongShape("The endpoint has no name.", remedy="Give it one that people know: --name risk-desk.")
    return cleaned


def _each(given: Iterable[str], form: re.Pattern[str], what: str, remedy: str) -> list[str]:
    found = list(dict.fromkeys(part for one in given for part in (text.strip() for text in one.split(",")) if part))
    if len(found) > MOST_FILTERS:
        raise WrongShape(f"{len(found)} entries are too many.", remedy=f"Give at most {MOST_FILTERS}, or none for all.")
    for one in found:
        if not form.fullmatch(one):
            raise WrongShape(f"{safe(one, 60)!r} is {what}.", remedy=remedy)
    return found

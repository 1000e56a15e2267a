"""When a failed delivery is tried again: twelve tries over 75 hours, spread by chance, later when the receiver asks.

A chat and a mailbox stay on the step of half an hour until what waits is too old to be news there.
"""

import math
import random
from collections.abc import Mapping, Sequence
from datetime import UTC
from email.utils import parsedate_to_datetime

import msgspec

MINUTE_S, HOUR_S = 60.0, 3_600.0
# Seconds before each try, counted from the end of the one before; the first is at once. Sum: 75 h 42 min 35 s.
STEPS_S = (
    0.0, 5.0, 30.0, 2 * MINUTE_S, 10 * MINUTE_S, 30 * MINUTE_S,
    2 * HOUR_S, 5 * HOUR_S, 10 * HOUR_S, 14 * HOUR_S, 20 * HOUR_S, 24 * HOUR_S,
)  # fmt: skip
JITTER = 0.2
ASKED_MOST_S = HOUR_S
EXPIRES_S = 96 * HOUR_S  # all steps with the largest jitter, and some: what waited longer is never sent
LONGEST_SHORT = 5  # index of the last step for those who give up within hours


def wait_s(
    attempt: int, rng: random.Random, asked_s: float | None = None, steps_s: Sequence[float] = STEPS_S
) -> float | None:
    """Seconds until the try after `attempt` (1 for the first); None when all tries are used up.

    The step varies by 20 % so that receivers are not hit in step; `asked_s` (Retry-After) lengthens it, to an hour at
    most.
    """
    if attempt >= len(steps_s):
        return None
    step = steps_s[attempt] * rng.uniform(1 - JITTER, 1 + JITTER)
    return step if asked_s is None else max(step, min(asked_s, ASKED_MOST_S))


def short_wait_s(
    attempt: int, rng: random.Random, asked_s: float | None = None, steps_s: Sequence[float] = STEPS_S
) -> float:
    """As `wait_s` for those whom age and not the number of tries ends: at most half an hour, and always a next try."""
    return wait_s(min(attempt, LONGEST_SHORT, len(steps_s) - 1), rng, asked_s, steps_s) or 0.0


def asked_s(headers: Mapping[str, str], head: bytes, now_ms: int) -> float | None:
    """Seconds the receiver asks for: `Retry-After` (seconds or an HTTP date) or `retry_after` of a JSON body."""
    header = headers.get("retry-after", "").strip()
    found = _number(header) if header else _from_body(head)
    if found is None and header:
        found = _until(header, now_ms)
    if found is None or math.isnan(found):
        return None
    return min(max(found, 0.0), ASKED_MOST_S)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _until(text: str, now_ms: int) -> float | None:
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.timestamp() - now_ms / 1000


def _from_body(head: bytes) -> float | None:
    try:
        body = msgspec.json.decode(head)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    if not isinstance(body, dict):
        return None
    found = body.get("retry_after")
    return float(found) if isinstance(found, int | float) and not isinstance(found, bool) else None

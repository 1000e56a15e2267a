"""When quiet hours end: wall-clock times of a zone, also past midnight and on days with a clock change. Pure."""

from datetime import UTC, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from groundswell.records import QuietHours

MINUTE_MS = 60_000


def quiet_until(quiet: QuietHours, now_ms: int) -> int:
    """Epoch ms at which they end, when it is quiet now; else 0.

    A zone or a time that cannot be read is no reason to keep an alert back: then it is never quiet.
    """
    try:
        zone, start, end = _zone(quiet.zone), time.fromisoformat(quiet.start), time.fromisoformat(quiet.end)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return 0
    now = datetime.fromtimestamp(now_ms / 1000, UTC).astimezone(zone)
    clock = now.time()
    if start == end or not (start <= clock < end if start < end else clock >= start or clock < end):
        return 0
    day = now.date() if clock < end else now.date() + timedelta(days=1)
    ends = round(datetime.combine(day, end, zone).timestamp() * 1000)
    # In an hour that comes twice the end may lie in its first pass: look again soon.
    return ends if ends > now_ms else now_ms + MINUTE_MS


@lru_cache(maxsize=64)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)

"""Alerts a page at a time, newest first, as far back as they are listed. groundswell/alert_views.py reads one of them.

A cursor is a moment and how many of that very moment were read: what comes in meanwhile shifts nothing.
"""

from collections.abc import Callable
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from groundswell.alert_views import decoded
from groundswell.errors import RedisAway, WrongShape
from groundswell.keys import Keys
from groundswell.records import AlertView

READ_MOST, CHUNK = 500, 100  # alerts a page looks at, and at a time


async def listed(
    redis: Redis,
    keys: Keys,
    *,
    cursor: str,
    limit: int,
    state: str = "",
    subject: str = "",
    wanted: Callable[[AlertView], bool] = lambda _: True,
) -> tuple[list[AlertView], str]:
    """Newest first, at most `limit`, and the cursor of what follows, "" at the end. Raises RedisAway, WrongShape.

    `subject` covers its pairs with topics. Reads READ_MOST at most: with a filter a page may be short of `limit`.
    """
    place, shown_there = _place(cursor)
    found: list[AlertView] = []
    try:
        names: Any = await redis.zrevrangebyscore(
            keys.alerts, place, "-inf", start=shown_there, num=READ_MOST + 1, withscores=True
        )
        taken = 0
        for start in range(0, min(len(names), READ_MOST), CHUNK):
            chunk = names[start : min(start + CHUNK, READ_MOST)]
            read: Any = await redis.mget([keys.alert(name.decode()) for name, _ in chunk])
            for raw in read:
                if len(found) == limit:
                    break
                taken += 1
                view = decoded(raw)
                if view is not None and _wanted(view, state, subject) and wanted(view):
                    found.append(view)
            if len(found) == limit:
                break
    except (RedisError, OSError, TimeoutError) as error:
        raise RedisAway(f"Redis does not answer: {type(error).__name__}.") from error
    if taken >= len(names):
        return found, ""
    last = names[taken - 1][1]
    same = sum(score == last for _, score in names[:taken]) + (shown_there if str(int(last)) == place else 0)
    return found, f"{int(last)}-{same}"


def _wanted(view: AlertView, state: str, subject: str) -> bool:
    of_subject = not subject or view.subject == subject or view.subject.startswith(f"{subject}|")
    return of_subject and state in ("", view.state)


def _place(cursor: str) -> tuple[str, int]:
    """`<moment>-<n>`: from that moment on back, less the n of that very moment that were read."""
    if not cursor:
        return "+inf", 0
    at, _, shown = cursor.partition("-")
    if not (cursor.isascii() and at.isdigit() and shown.isdigit() and len(cursor) <= 24):
        raise WrongShape(f"{cursor[:40]!r} is no cursor.", remedy="Use `next` of the page before as it is.")
    return at, int(shown)

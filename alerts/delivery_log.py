"""The delivery log as people read it: pages of tries, all tries of one event, and what an answer means in words.

deliver writes it (lanes.py, `log:<endpoint>`); this reads, for the command line and for HTTP.
"""

from collections.abc import Iterable, Sequence

import msgspec

from groundswell.connect import RedisClient
from groundswell.decisions import Delivery
from groundswell.errors import WrongShape
from groundswell.keys import Keys
from groundswell.records import DeliveryOutcome

PAGE_MOST = 500
SAID_CHARS = 120

_row = msgspec.json.Decoder(DeliveryOutcome)
_REMEDIES = {
    "timed_out": "The receiver must answer first and work afterwards.",
    "address_refused": "The name points to an address that is not public; docs/webhooks.md says how to allow it.",
    "name_unknown": "No such name is known where deliver runs.",
    "unreachable": "Nobody listens there, or a firewall is between.",
    "tls_refused": "The receiver's certificate does not hold.",
    "rate_limited": "The receiver asks for fewer requests.",
    "sealed_with_another_key": "GROUNDSWELL_SECRET_KEY is not the one this endpoint was added with.",
    "http_401": "Its log says why; most often it verifies with another secret.",
    "http_403": "Its log says why; most often it verifies with another secret.",
    "http_404": "There is nothing at that path.",
}

_FATES = {
    Delivery.GROUPED.value: "said together with others",
    Delivery.RETRY.value: "it is tried again by itself",
    Delivery.REFUSED.value: "it is not tried again",
    Delivery.GIVEN_UP.value: "it is given up",
    Delivery.SECRET_UNREADABLE.value: "its address or secret cannot be read",
}


async def page(
    redis: RedisClient, keys: Keys, endpoints: Iterable[str], *, cursor: str = "", limit: int = 50
) -> tuple[list[DeliveryOutcome], str]:
    """Tries at these endpoints, newest first, and the cursor of the next page, "" at the end. Raises WrongShape.

    What is written meanwhile comes before the first page and moves nothing.
    """
    before, skip = _place(cursor)
    wanted = min(limit, PAGE_MOST)
    found: list[DeliveryOutcome] = []
    for name in sorted(set(endpoints)):
        found += await _older(redis, keys, name, before, wanted + skip + 1)
    found.sort(key=lambda row: (-row.at, row.endpoint))  # stable: within one endpoint the log has the order
    rest = found[skip:]
    shown = rest[:wanted]
    if len(rest) <= wanted:
        return shown, ""
    last = shown[-1].at
    same = sum(row.at == last for row in shown) + (skip if last == before else 0)
    return shown, f"{last}-{same}"


async def of_event(redis: RedisClient, keys: Keys, endpoints: Iterable[str], event: str) -> list[DeliveryOutcome]:
    """All tries of one event or one episode that the logs still hold, oldest first."""
    found = []
    for name in sorted(set(endpoints)):
        raw = await redis.lrange(f"{keys.delivery}:log:{name}", 0, -1)
        found += [row for row in map(_row.decode, raw) if event in (row.event, row.episode)]
    return sorted(found, key=lambda row: (row.at, row.endpoint, row.attempt))


async def known(redis: RedisClient, keys: Keys) -> list[str]:
    """Endpoints that something was ever planned for."""
    return [name.decode() for name in await redis.hkeys(f"{keys.delivery}:waiting")]


async def newest(redis: RedisClient, keys: Keys, endpoint: str, most: int) -> list[DeliveryOutcome]:
    """The newest tries at one endpoint, newest first."""
    return [_row.decode(raw) for raw in await redis.lrange(f"{keys.delivery}:log:{endpoint}", 0, most - 1)]


def in_words(row: DeliveryOutcome) -> str:
    """What the receiver answered, and what to do about it, in one or two sentences."""
    if row.outcome == Delivery.DISABLED:
        why = f" ({row.reason})" if row.reason else ""
        return f"It was not tried: the endpoint is switched off{why}. `groundswell endpoints enable {row.endpoint}`."
    took = f"in {row.latency_ms} ms"
    answered = (
        f"answered {row.status} {took}"
        if row.status
        else f"gave no answer ({row.reason or 'unknown'}) after {row.latency_ms} ms"
    )
    if row.outcome == Delivery.SENT:
        return f"It {answered}: delivered."
    fate = _FATES.get(row.outcome, row.outcome)
    why = f" ({row.reason})" if row.status and row.reason and row.reason != f"http_{row.status}" else ""
    said = f" It said: {row.answer[:SAID_CHARS]}" if row.answer else ""
    remedy = _REMEDIES.get(row.reason.partition(" ")[0], "")
    return f"It {answered}{why}: {fate}.{said} {remedy}".strip()


async def _older(
    redis: RedisClient, keys: Keys, name: str, before: int | None, wanted: int
) -> Sequence[DeliveryOutcome]:
    """Up to so many rows of one log that are not newer than `before`; a log holds a thousand at most."""
    found: list[DeliveryOutcome] = []
    start = 0
    while len(found) < wanted:
        raw = await redis.lrange(f"{keys.delivery}:log:{name}", start, start + wanted - 1)
        found += [row for row in map(_row.decode, raw) if before is None or row.at <= before]
        if len(raw) < wanted:
            break
        start += wanted
    return found[:wanted]


def _place(cursor: str) -> tuple[int | None, int]:
    """`<at>-<n>`: rows of that moment or older, less the n of that very moment that were shown."""
    if not cursor:
        return None, 0
    at, _, shown = cursor.partition("-")
    if not (cursor.isascii() and at.isdigit() and shown.isdigit() and len(cursor) <= 24):
        raise WrongShape(f"{cursor[:40]!r} is no cursor.", remedy="Use `next` of the page before as it is.")
    return int(at), int(shown)

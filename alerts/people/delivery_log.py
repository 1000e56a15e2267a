"""The delivery log as people read it: pages of tries, all tries of one event, and what an answer means in words.

deliver writes it (lanes.py); this reads, for the command line and for HTTP.
"""

from collections.abc import Iterable, Sequence

import msgspec

from alerts.lanes import log_key, waiting_key
from alerts.words import words_of
from groundswell.clients.connect import RedisClient
from groundswell.decisions import Delivery
from groundswell.errors import WrongShape
from groundswell.keys import Keys
from groundswell.records import DeliveryOutcome

PAGE_MOST = 500
AS_PLAIN_TEXT = "as_plain_text"  # first word of why a message was sent once more (slot.py)
SAID_CHARS = 120
CHUNK, ROWS_MOST = 100, 20_000

_row = msgspec.json.Decoder(DeliveryOutcome)


async def page(
    redis: RedisClient, keys: Keys, endpoints: Iterable[str], *, outcome: str = "", cursor: str = "", limit: int = 50
) -> tuple[list[DeliveryOutcome], str]:
    """Tries at these endpoints, newest first, and the cursor of the next page, "" at the end. Raises WrongShape.

    What is written meanwhile comes before the first page and moves nothing.
    """
    before, skip = _place(cursor)
    wanted = min(limit, PAGE_MOST)
    found: list[DeliveryOutcome] = []
    for name in sorted(set(endpoints)):
        found += await _older(redis, keys, name, outcome, before, wanted + skip + 1)
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
        raw = await redis.lrange(log_key(keys, name), 0, -1)
        found += [row for row in map(_row.decode, raw) if event in (row.event, row.episode)]
    return sorted(found, key=lambda row: (row.at, row.endpoint, row.attempt))


async def of_episode(
    redis: RedisClient, keys: Keys, endpoints: Iterable[str], episode: str, since_ms: int
) -> tuple[list[DeliveryOutcome], bool]:
    """Tries of one episode since a moment, oldest first. Looks at ROWS_MOST rows at most, the newest of each log first; False: some of
    the logs was not looked at."""
    named = f'"episode":{msgspec.json.encode(episode).decode()}'.encode()
    left, found, looked, start = sorted(set(endpoints)), [], 0, 0
    while left and looked < ROWS_MOST:
        pipeline = redis.pipeline(transaction=False)
        for name in left:
            pipeline.lrange(log_key(keys, name), start, start + CHUNK - 1)
        read = dict(zip(left, await pipeline.execute(), strict=True))
        for raw in read.values():
            found += [_row.decode(row) for row in raw if named in row]
        looked += sum(len(raw) for raw in read.values())
        left = [name for name, raw in read.items() if len(raw) == CHUNK and _row.decode(raw[-1]).at >= since_ms]
        start += CHUNK
    return sorted(found, key=lambda row: (row.at, row.endpoint, row.attempt)), not left


async def known(redis: RedisClient, keys: Keys) -> list[str]:
    """Endpoints that something was ever planned for."""
    return [name.decode() for name in await redis.hkeys(waiting_key(keys))]


async def newest(redis: RedisClient, keys: Keys, endpoint: str, most: int) -> list[DeliveryOutcome]:
    """The newest tries at one endpoint, newest first."""
    return [_row.decode(raw) for raw in await redis.lrange(log_key(keys, endpoint), 0, most - 1)]


def in_words(row: DeliveryOutcome, lang: str = "en") -> str:
    """What the receiver answered, and what to do about it, in one or two sentences of a language."""
    words = words_of(lang)
    why = words["try.why"].format(reason=row.reason) if row.reason else ""
    if row.outcome == Delivery.DISABLED:
        return words["try.off"].format(why=why, endpoint=row.endpoint)
    first, _, refused = row.reason.partition(" ")
    if row.outcome == Delivery.SENT and first == AS_PLAIN_TEXT:
        return words["try.plainly"].format(status=row.status, ms=row.latency_ms, reason=refused)
    delivered = row.outcome == Delivery.SENT
    said = words["try.said"].format(answer=row.answer[:SAID_CHARS]) if row.answer and not delivered else ""
    told = words["try.answered" if row.status else "try.silent"].format(
        status=row.status,
        ms=row.latency_ms,
        why="" if row.reason == f"http_{row.status}" else why,
        reason=row.reason or words["try.unknown"],
        fate=words.get(f"outcome.{row.outcome}", row.outcome),
        said=said,
    )
    remedy = "" if delivered else words.get(f"remedy.{first}", "")
    return f"{told} {remedy}".strip() if lang != "zh" else told + remedy


async def _older(
    redis: RedisClient, keys: Keys, name: str, outcome: str, before: int | None, wanted: int
) -> Sequence[DeliveryOutcome]:
    """Up to so many rows of one log, of one outcome or any, that are not newer than `before`; a log holds a thousand at most."""
    found: list[DeliveryOutcome] = []
    start = 0
    while len(found) < wanted:
        raw = await redis.lrange(log_key(keys, name), start, start + wanted - 1)
        rows = [row for row in map(_row.decode, raw) if outcome in ("", row.outcome)]
        found += [row for row in rows if before is None or row.at <= before]
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

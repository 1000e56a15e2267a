"""What the rules of a scored partition keep in Redis, and how it gets there: in the same compare-and-set as the counts they stand on.

One JSON text (rule_watch.Kept), and for each sieve an hour's counts minute by minute, as the buckets are. Keys: groundswell/keys.py.
"""

import struct
from collections import defaultdict
from collections.abc import Iterable, Mapping

from groundswell.clients.connect import RedisClient
from groundswell.keys import HOUR_MS, MINUTE_MS, Keys, unpack_counters
from stream.rulebook.rule_tally import Counts
from stream.rulebook.rule_watch import RuleWatch, Wanted
from stream.store import Store, Writes

COUNTS = struct.Struct("<3I")  # negatives, mentions, reach
TTL_S = 3 * 86_400  # the longest window, and a day of late texts
HOUR = HOUR_MS // MINUTE_MS  # in minutes
AT_ONCE = 500  # reads of one pipeline


def write(keys: Keys, partition: int, watch: RuleWatch, writes: Writes) -> None:
    """What changed since the last time. Call `written` once it is lasting."""
    if watch.changed:
        writes.add("SET", keys.rules(partition), watch.keep())
    for sieve, tally in sorted(watch.tallies.items()):
        hours: dict[int, list[bytes]] = defaultdict(list)
        for subject, minute in sorted(tally.touched):
            counts = tally.cells.get(subject, {}).get(minute)
            if counts is not None:  # else it is older than any window
                hours[minute // HOUR] += [bytes((minute % HOUR,)) + subject.encode(), COUNTS.pack(*counts)]
        for hour, fields in hours.items():
            key = keys.sieved(partition, sieve, hour)
            writes.add("HSET", key, *fields)
            writes.add("EXPIRE", key, TTL_S)


def written(watch: RuleWatch) -> None:
    """What `write` wrote is lasting."""
    watch.changed = False
    for tally in watch.tallies.values():
        tally.touched.clear()


async def kept(store: Store, keys: Keys, partition: int) -> bytes | None:
    """The text of one partition; None when there is none. Raises RedisAway."""

    def ask(pipeline: RedisClient) -> None:
        pipeline.get(keys.rules(partition))

    found: list[bytes | None] = await store.ask(ask)
    return found[0]


async def fetch(store: Store, keys: Keys, partition: int, watch: RuleWatch, wanted: Wanted, now_minute: int) -> None:
    """Bring in what rules that are new to this process need. Raises RedisAway."""
    for at in range(0, len(wanted.buckets), AT_ONCE):
        await _buckets(store, keys, partition, watch, wanted.buckets[at : at + AT_ONCE])
    for sieve, first in wanted.sieves:
        watch.stored(sieve, await _sieve(store, keys, partition, sieve, first, now_minute))


async def _buckets(
    store: Store, keys: Keys, partition: int, watch: RuleWatch, wanted: Iterable[tuple[str, int, int]]
) -> None:
    asked = [
        (subject, first, end, hour)
        for subject, first, end in wanted
        for hour in range(first // HOUR, (end - 1) // HOUR + 1)
    ]

    def ask(pipeline: RedisClient) -> None:
        for subject, _, _, hour in asked:
            pipeline.hgetall(keys.buckets(partition, subject, hour))

    found: dict[str, dict[int, tuple[int, ...]]] = defaultdict(dict)
    for (subject, first, end, hour), answer in zip(asked, await store.ask(ask), strict=True):
        for minute, packed in answer.items():
            at = hour * HOUR + minute[0]
            if first <= at < end:
                found[subject][at] = unpack_counters(packed)
    for subject, minutes in found.items():
        watch.older(subject, minutes)


async def _sieve(
    store: Store, keys: Keys, partition: int, sieve: str, first: int, now_minute: int
) -> Mapping[str, Mapping[int, Counts]]:
    hours = range(first // HOUR, now_minute // HOUR + 2)

    def ask(pipeline: RedisClient) -> None:
        for hour in hours:
            pipeline.hgetall(keys.sieved(partition, sieve, hour))

    cells: dict[str, dict[int, Counts]] = defaultdict(dict)
    for hour, answer in zip(hours, await store.ask(ask), strict=True):
        for name, packed in answer.items():
            minute = hour * HOUR + name[0]
            if minute >= first:
                cells[name[1:].decode()][minute] = COUNTS.unpack(packed)
    return cells

"""Looks back through the log of tagged documents, newest first and never further than it may. Pure over a `Log`; tagged_log.py is one.

The log has no index, so a search reads it backwards in chunks that take from each partition alike what is left to read; within a chunk
documents are in order of their time. A page ends when it is full or when so much was read, says how far back that was, and its
cursor goes on at that very place: what comes in meanwhile shifts nothing. A document that tag wrote twice, after a crash, may come twice.
"""

import base64
import binascii
import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import msgspec
from msgspec import Struct

from dashboard.archive.search import Query, glance, matcher
from groundswell.errors import WrongShape
from groundswell.records import Source, Tagged

FIRST_CHUNK, MOST_CHUNK = 2_400, 12_000  # records: the newest are there at once, what is rare is found in long steps
CHUNK_BYTES = 12_000_000
LATE_MS = 3_600_000  # what came in later than this after its time is looked at only where that is asked for
AHEAD_MS = 60_000  # clocks of brokers, feeds and ours differ

_decode = msgspec.json.Decoder(Tagged).decode


class Entry(NamedTuple):
    """A record of the log; `arrived_ms` is when it was written."""

    partition: int
    offset: int
    arrived_ms: int
    value: bytes


class Log(Protocol):
    """Offsets are one a partition, in order. All methods may raise BrokerAway."""

    def starts(self) -> list[int]: ...
    def ends(self) -> list[int]: ...
    def at(self, arrived_ms: int) -> list[int] | None:
        """The first offsets that were written at that moment or later; None from a broker that keeps no times."""

    def read(self, spans: Sequence[tuple[int, int]]) -> Iterator[Entry]:
        """All records of [low, high), a partition each, in any order among partitions."""


Key = tuple[int, int, int]  # published_at, partition, offset: newest first is the order of a chunk


class Place(Struct, frozen=True, array_like=True):
    """Where a search stands: a chunk [low, high) a partition, and the last document shown of it; None: all of it is open."""

    high: list[int]
    size: list[int]  # high - low
    after: Key | None = None

    @property
    def low(self) -> list[int]:
        return [high - size for high, size in zip(self.high, self.size, strict=True)]


@dataclass(frozen=True)
class Bounds:
    """How much one search may do."""

    most_found: int
    most_read: int
    most_s: float


@dataclass
class Reach:
    """What a search did so far: all that came in from `back_to_ms` on was looked at (0: nothing yet); `next` goes on, "" at the end."""

    found: int = 0
    read: int = 0
    bytes: int = 0
    unreadable: int = 0
    back_to_ms: int = 0
    next: str = ""
    more_came_later: bool = False  # there is what came in long after the span: `late` looks at it too


def look(
    log: Log,
    wanted: Query,
    cursor: str,
    bounds: Bounds,
    reach: Reach,
    monotonic_s: Callable[[], float],
    *,
    future_ms: int | None,
) -> Iterator[Tagged]:
    """Documents, newest first, until the bounds; `reach` is complete when the last one was taken.

    What was published in a span is looked for in what came in from its beginning, less `future_ms` by which a time may be ahead, until
    LATE_MS after its end; in all that is kept where `future_ms` is None. Raises BrokerAway, and WrongShape for what is no cursor.
    """
    until_s = monotonic_s() + bounds.most_s
    stops, ends = _ends(log, wanted, future_ms, reach)
    place = decoded(cursor, len(stops)) if cursor else Place(ends, [0] * len(ends))
    chunk = FIRST_CHUNK
    oldest = [0] * len(stops)
    while True:
        if place.after is None:
            left = [max(0, high - stop) for high, stop in zip(place.high, stops, strict=True)]
            if not any(left):
                reach.back_to_ms = min((at for at in oldest if at), default=reach.back_to_ms)
                return
            if reach.read and (
                reach.found >= bounds.most_found or reach.read >= bounds.most_read or monotonic_s() >= until_s
            ):
                break
            each = max(1, reach.bytes // max(1, reach.read))
            place = Place(place.high, _share(left, max(len(left), min(chunk, CHUNK_BYTES // each))))
        room = bounds.most_found - reach.found
        best = heapq.nlargest(room + 1, _hits(log, place, stops, wanted, reach, oldest), key=_first)
        for _, one in best[:room]:
            reach.found += 1
            yield one
        if len(best) > room:
            reach.next = encoded(Place(place.high, place.size, best[room - 1][0]))
            return
        place = Place(place.low, [0] * len(place.high))
        chunk = min(MOST_CHUNK, chunk * 2)
        reach.back_to_ms = max(
            (at for at, high, stop in zip(oldest, place.high, stops, strict=True) if high > stop), default=0
        )
    reach.next = encoded(place)


def encoded(place: Place) -> str:
    """A place as a cursor: letters that an address may hold as they are."""
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(place)).decode().rstrip("=")


def decoded(cursor: str, partitions: int) -> Place:
    """The place of a cursor. Raises WrongShape."""
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        place = msgspec.msgpack.decode(raw, type=Place)
    except (binascii.Error, ValueError, msgspec.MsgspecError) as error:
        raise _no_cursor() from error
    sizes_fit = len(place.high) == len(place.size) == partitions
    if not sizes_fit or any(not 0 <= size <= high for high, size in zip(place.high, place.size, strict=True)):
        raise _no_cursor()
    if sum(place.size) > 2 * MOST_CHUNK + partitions:
        raise _no_cursor()
    return place


def _no_cursor() -> WrongShape:
    return WrongShape("That is no cursor of this log.", remedy="Use `next` of the page before as it is, or begin anew.")


def _ends(log: Log, wanted: Query, future_ms: int | None, reach: Reach) -> tuple[list[int], list[int]]:
    """Where to stop and where to begin, by partition."""
    stops, ends = log.starts(), log.ends()
    if future_ms is None:
        return stops, ends
    if wanted.begin_ms and (from_then := log.at(wanted.begin_ms - future_ms - AHEAD_MS)):
        stops = [max(pair) for pair in zip(stops, from_then, strict=True)]
    if wanted.end_ms and not wanted.late and (until_then := log.at(wanted.end_ms + LATE_MS)):
        reach.more_came_later = any(then < end for then, end in zip(until_then, ends, strict=True))
        ends = [min(pair) for pair in zip(ends, until_then, strict=True)]
    return stops, ends


def _share(left: Sequence[int], most: int) -> list[int]:
    """`most` records over the partitions, by what is left in each, so that all go back in time alike."""
    total = sum(left)
    return list(left) if total <= most else [min(one, one * most // total + 1) if one else 0 for one in left]


def _hits(
    log: Log,
    place: Place,
    stops: Sequence[int],
    wanted: Query,
    reach: Reach,
    oldest: list[int],
) -> Iterator[tuple[Key, Tagged]]:
    """The documents of one chunk that match and come after the last one shown; what tag wrote twice, once."""
    may_match, matches, seen = glance(wanted), matcher(wanted), set[Source]()
    spans = [(max(low, stop), high) for low, high, stop in zip(place.low, place.high, stops, strict=True)]
    for entry in log.read(spans):
        reach.read += 1
        reach.bytes += len(entry.value)
        if not oldest[entry.partition] or entry.arrived_ms < oldest[entry.partition]:
            oldest[entry.partition] = entry.arrived_ms
        if not may_match(entry.value):
            continue
        try:
            one = _decode(entry.value)
        except (msgspec.MsgspecError, RecursionError):
            reach.unreadable += 1
            continue
        key = (one.published_at, entry.partition, entry.offset)
        if (place.after is not None and key >= place.after) or not matches(one) or one.src in seen:
            continue
        seen.add(one.src)
        yield key, one


def _first(hit: tuple[Key, Tagged]) -> Key:
    return hit[0]

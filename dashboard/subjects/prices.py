"""Prices to draw beneath the counts: from a CSV file that is watched, and from a Kafka topic. Neither is needed by anything else.

A `Book` keeps the last price of each minute and subject, at most MOST_POINTS in all (24 MB): then the oldest quarter of its time goes.
A file is read in a thread, a line that is none is counted and told in `status`. Read subject.py for how a page asks.
"""

import asyncio
import csv
import math
import threading
from array import array
from bisect import bisect_left, bisect_right
from collections import Counter, deque
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from aiokafka.errors import KafkaError, UnknownTopicOrPartitionError
from msgspec import Struct

from groundswell.clients.connect import open_consumer
from groundswell.clock import Clock
from groundswell.errors import GroundswellError
from groundswell.keys import HOUR_MS, MINUTE_MS
from groundswell.settings import Settings
from groundswell.telemetry import log
from groundswell.text import safe
from groundswell.times import parse_ms

KEPT_MS = 8 * 24 * HOUR_MS  # as long as the minute counts
MOST_POINTS, MOST_SUBJECTS = 1_000_000, 5_000
MOST_BYTES, CHUNK_BYTES, LINE_BYTES = 256 << 20, 1 << 20, 1_000  # of a larger file its end is read
LOOK_S, AGAIN_S = 2.0, 10.0
HOLD_MS = 900_000  # a price stands for so long, or for two steps: then there is a hole
AHEAD_MS = 24 * HOUR_MS
EXAMPLES = 5
COLUMNS = ("subject", "time", "price")


class Quote(Struct, kw_only=True):
    """One price on the topic; `at` is RFC 3339 or epoch milliseconds."""

    subject: str
    at: str | int
    price: float
    currency: str = ""


class Point(NamedTuple):
    subject: str
    at_ms: int
    price: float
    currency: str


class BadLine(ValueError):
    """`args[0]` is the reason: columns, subject, time, price, future, length."""


class Book:
    """Prices of one source. `take` may be called by another thread than `column`."""

    def __init__(self, source: str, name: str) -> None:
        self.source, self.name = source, name
        self.state = "waiting"  # reading, ok, missing, unreadable, away
        self.read_at = 0
        self.counts: Counter[str] = Counter()  # taken, old, refused
        self.bad: Counter[str] = Counter()
        self.examples: deque[tuple[int, str]] = deque(maxlen=EXAMPLES)
        self.points = 0
        self._lines: dict[str, tuple[array[int], array[float]]] = {}
        self._currencies: dict[str, str] = {}
        self._lock = threading.Lock()

    def __contains__(self, subject: str) -> bool:
        return subject in self._lines

    def take(self, points: list[Point], now_ms: int) -> None:
        """Keep what is new enough; within a minute the latest stays."""
        with self._lock:
            for point in points:
                if point.at_ms < now_ms - KEPT_MS:
                    self.counts["old"] += 1
                elif point.subject not in self._lines and len(self._lines) >= MOST_SUBJECTS:
                    self.counts["refused"] += 1
                else:
                    self._put(point)
                    self.counts["taken"] += 1
            if self.points > MOST_POINTS:
                self._drop_oldest()

    def reject(self, reason: str, place: int) -> None:
        """A line or record that is no price."""
        self.bad[reason] += 1
        self.examples.append((place, reason))

    def clear(self) -> None:
        """The file is another one: nothing of before holds."""
        with self._lock:
            self._lines.clear()
            self._currencies.clear()
            self.points = 0
            self.counts.clear()
            self.bad.clear()
            self.examples.clear()

    def column(self, subject: str, begin_ms: int, end_ms: int, step_ms: int) -> list[float | None]:
        """The price at the end of each step of [begin, end): the newest one, if it is not older than it may stand."""
        with self._lock:
            times, prices = self._lines.get(subject, (array("q"), array("d")))
            hold_ms, found = max(HOLD_MS, 2 * step_ms), list[float | None]()
            newest = times[-1] if times else 0
            for start in range(begin_ms, end_ms, step_ms):
                place = bisect_left(times, start + step_ms) - 1
                stands = place >= 0 and start <= newest and start - times[place] <= hold_ms
                found.append(prices[place] if stands else None)
            return found

    def last(self, subject: str) -> dict[str, Any] | None:
        """The newest price with its time and currency."""
        with self._lock:
            if subject not in self._lines:
                return None
            times, prices = self._lines[subject]
            return {"at": times[-1], "price": prices[-1], "currency": self._currencies.get(subject, "")}

    def status(self) -> dict[str, Any]:
        """What was read and what was not, for people."""
        return {
            "source": self.source,
            "name": safe(self.name, 120),
            "state": self.state,
            "read_at": self.read_at or None,
            "subjects": len(self._lines),
            "points": self.points,
            "taken": self.counts["taken"],
            "too_old": self.counts["old"],
            "refused": self.counts["refused"],
            "bad": self.bad.total(),
            "bad_by_reason": dict(self.bad),
            "examples": [{"place": place, "reason": reason} for place, reason in self.examples],
        }

    def _put(self, point: Point) -> None:
        times, prices = self._lines.setdefault(point.subject, (array("q"), array("d")))
        if point.currency:
            self._currencies[point.subject] = safe(point.currency, 8)
        place = bisect_right(times, point.at_ms)
        minute = point.at_ms // MINUTE_MS
        if place and times[place - 1] // MINUTE_MS == minute:
            times[place - 1], prices[place - 1] = point.at_ms, point.price
        elif place == len(times) or times[place] // MINUTE_MS != minute:
            times.insert(place, point.at_ms)
            prices.insert(place, point.price)
            self.points += 1

    def _drop_oldest(self) -> None:
        oldest = min(times[0] for times, _ in self._lines.values())
        newest = max(times[-1] for times, _ in self._lines.values())
        before = oldest + max(MINUTE_MS, (newest - oldest) // 4)
        for subject, (times, prices) in list(self._lines.items()):
            gone = bisect_left(times, before)
            del times[:gone], prices[:gone]
            self.points -= gone
            if not times:
                del self._lines[subject]


class Prices:
    """All sources that are set; the topic's prices go before the file's."""

    def __init__(self, settings: Settings) -> None:
        self.topic = Book("topic", settings.price_topic) if settings.price_topic else None
        self.file = Book("file", Path(settings.prices).name) if settings.prices else None
        self.books = [book for book in (self.topic, self.file) if book is not None]

    def of(self, subject: str) -> Book | None:
        """The source that has this subject."""
        return next((book for book in self.books if subject in book), None)


async def follow(settings: Settings, prices: Prices, clock: Clock) -> None:
    """Keep all of them true until cancelled."""
    async with asyncio.TaskGroup() as tasks:
        if prices.file is not None:
            tasks.create_task(_follow_file(Reader(Path(settings.prices), prices.file, clock)))
        if prices.topic is not None:
            tasks.create_task(_follow_topic(settings, prices.topic, clock))


class Reader:
    """Reads a file and, later, what was appended to it; a file that is another one, or shorter, is read anew. A last line without its end
    waits for it. A file that was changed before its end without becoming shorter must be written anew and moved in place."""

    def __init__(self, path: Path, book: Book, clock: Clock) -> None:
        self.stopped = False
        self._path, self._book, self._clock = path, book, clock
        self._seen: tuple[int, int, int] = (0, 0, 0)
        self._inode, self._offset, self._head = 0, 0, b""
        self._columns = [0, 1, 2, -1]
        self._line = 0
        self._too_long = False  # within a line of which the beginning was dropped

    def read(self) -> None:
        """Look once. Blocks; never raises for what the file holds or whether it is there."""
        try:
            stat = self._path.stat()
            seen = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
            if seen == self._seen:
                return
            self._book.state = "reading"
            with self._path.open("rb") as file:
                head = file.read(256)
                same = stat.st_ino == self._inode and stat.st_size >= self._offset > 0 and head.startswith(self._head)
                if not same:
                    self._anew(file)
                self._inode, self._head = stat.st_ino, head
                file.seek(self._offset)
                self._go_on(file)
            self._seen, self._book.state = seen, "ok"
        except FileNotFoundError:
            self._book.state, self._seen = "missing", (0, 0, 0)
        except OSError as error:
            self._book.state, self._seen = "unreadable", (0, 0, 0)
            log().warning("prices_unreadable", error=str(error.strerror))
        self._book.read_at = self._clock.now_ms()

    def _anew(self, file: Any) -> None:
        self._book.clear()
        self._offset, self._line, self._too_long, self._columns = 0, 0, False, [0, 1, 2, -1]
        file.seek(0)
        first = file.readline(LINE_BYTES).decode("utf-8-sig", "replace").strip()
        names = [name.strip().lower() for name in first.split(",")]
        if all(name in names for name in COLUMNS):
            self._columns = [names.index(name) for name in COLUMNS]
            self._columns.append(names.index("currency") if "currency" in names else -1)
            self._offset, self._line = file.tell(), 1
        size = file.seek(0, 2)
        if size - self._offset > MOST_BYTES:
            file.seek(size - MOST_BYTES)
            file.readline(LINE_BYTES)  # from the middle of a line to its end
            self._offset = file.tell()

    def _go_on(self, file: Any) -> None:
        rest = b""
        while not self.stopped and (chunk := file.read(CHUNK_BYTES)):
            if self._too_long:
                gone, ended, chunk = chunk.partition(b"\n")
                self._offset += len(gone) + len(ended)
                self._too_long = not ended
            *lines, rest = (rest + chunk).split(b"\n")
            self._take(lines)
            self._offset += sum(len(line) + 1 for line in lines)
            if len(rest) > LINE_BYTES:
                self._line += 1
                self._book.reject("length", self._line)
                self._offset += len(rest)
                rest, self._too_long = b"", True

    def _take(self, lines: list[bytes]) -> None:
        now_ms, points = self._clock.now_ms(), list[Point]()
        for line in lines:
            self._line += 1
            if not line.strip():
                continue
            try:
                points.append(parsed(line, self._columns, now_ms))
            except BadLine as error:
                self._book.reject(str(error), self._line)
            if len(points) == 1_000:  # the lock is held for about a millisecond
                self._book.take(points, now_ms)
                points = []
        self._book.take(points, now_ms)


def parsed(line: bytes, columns: list[int], now_ms: int) -> Point:
    """One line of the file. Raises BadLine."""
    if len(line) > LINE_BYTES:
        raise BadLine("length")
    text = line.decode("utf-8-sig", "replace").strip()
    try:
        cells = next(csv.reader([text]), []) if '"' in text else text.split(",")
    except csv.Error:
        cells = []
    if len(cells) <= max(columns):
        raise BadLine("columns")
    subject, at, price = (cells[place].strip() for place in columns[:3])
    try:
        value = float(price)
    except ValueError:
        raise BadLine("price") from None
    return point(subject, at, value, cells[columns[3]].strip() if columns[3] >= 0 else "", now_ms)


def point(subject: str, at: str | int, price: float, currency: str, now_ms: int) -> Point:
    """A price that is one. Raises BadLine."""
    if not subject or len(subject) > 120:
        raise BadLine("subject")
    if not math.isfinite(price) or abs(price) > 1e12:
        raise BadLine("price")
    try:
        at_ms = int(at) if isinstance(at, int) or (at.isascii() and at.isdigit() and len(at) <= 15) else parse_ms(at)
    except (ValueError, OverflowError):
        raise BadLine("time") from None
    if at_ms > now_ms + AHEAD_MS:
        raise BadLine("future")
    return Point(subject, at_ms, price, currency)


async def _follow_file(reader: Reader) -> None:
    try:
        while True:
            await asyncio.to_thread(reader.read)
            await asyncio.sleep(LOOK_S)
    finally:
        reader.stopped = True


async def _follow_topic(settings: Settings, book: Book, clock: Clock) -> None:
    """From eight days ago on, again and again: a broker that is away takes nothing from the pages but new prices."""
    while settings.kafka:
        try:
            await _consume(settings, book, clock)
        except (KafkaError, GroundswellError, OSError, TimeoutError) as error:
            state = "missing" if isinstance(error.__cause__, UnknownTopicOrPartitionError) else "away"
            if state != book.state:
                log().warning("prices_unread", topic=safe(book.name, 120), state=state, error=repr(error)[:200])
            book.state = state
        await asyncio.sleep(AGAIN_S)


async def _consume(settings: Settings, book: Book, clock: Clock) -> None:
    consumer = await open_consumer(settings, None, [book.name])
    try:
        partitions = list(consumer.assignment())
        if not partitions:
            book.state = "missing"
            return
        begins = await consumer.offsets_for_times(dict.fromkeys(partitions, clock.now_ms() - KEPT_MS))
        for partition in partitions:
            begin = begins.get(partition)
            if begin is None:
                await consumer.seek_to_end(partition)
            else:
                consumer.seek(partition, begin.offset)
        book.state = "ok"
        while True:
            for records in (await consumer.getmany(timeout_ms=500, max_records=500)).values():
                take_records(book, [(record.offset, record.value) for record in records], clock.now_ms())
    finally:
        await consumer.stop()


_quote = msgspec.json.Decoder(Quote)


def take_records(book: Book, records: list[tuple[int, bytes | None]], now_ms: int) -> None:
    """Offsets and values as they were read from the topic."""
    points = []
    for offset, value in records:
        try:
            quote = _quote.decode(value or b"")
            points.append(point(quote.subject.strip(), quote.at, quote.price, quote.currency, now_ms))
        except BadLine as error:
            book.reject(str(error), offset)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            book.reject("shape", offset)
    book.take(points, now_ms)
    book.read_at = now_ms

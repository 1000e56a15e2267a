"""Reads a file of the past for back-tests and for the history of a new installation: records as the topics `scored` and `tagged` hold
them, one a line, or counts as CSV or JSONL. Every line is looked at before anything is made of it. backtest.py plays what comes.

Counts are `subject,minute,negative,mentions[,reach]` or `subject,hour,...`; what `groundswell simulate --as counts` writes is read too.
An hour's counts are strewn over its minutes, by a die that depends on subject and hour alone.
"""

import csv
import gzip
import hashlib
import random
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Literal

import msgspec

from groundswell.errors import Misconfigured
from groundswell.keys import HOUR_MS, MINUTE_MS
from groundswell.markets import MARKET, market_of
from groundswell.records import Row, ScoredBatch, ScoredDocument, Tagged
from groundswell.reserved import is_test
from groundswell.text import safe
from groundswell.times import parse_ms
from stream.past.backtest import Counted, Item
from stream.topology import Topology

MOST_LINES = 10_000_000
MOST_A_CELL = 1_000_000
LATEST_MS = 4_102_444_800_000  # 2100
Form = Literal["scored", "tagged", "counts"]
Naming = Callable[[str], str | None]
NAMES = {
    "subject": ("subject",), "at": ("minute", "hour", "timestamp"), "negative": ("negative", "negatives"),
    "mentions": ("mentions",), "reach": ("reach",),
}  # fmt: skip

_any = msgspec.json.Decoder(dict[str, Any]).decode
_scored = msgspec.json.Decoder(ScoredBatch).decode
_tagged = msgspec.json.Decoder(Tagged).decode


class BadPast(Misconfigured):
    """The file cannot be read as what was counted."""

    reason = "bad_past"
    remedy = (
        "Give records as the topics scored or tagged hold them, one a line, or counts with the header "
        "subject,minute,negative,mentions (or hour); times with their zone. Nothing was taken."
    )


@dataclass
class PastFile:
    """What the file holds. `lanes`: scored partition -> what is to be played, in its order. Times are of events, in epoch ms."""

    form: Form
    lanes: dict[int, list[Item]] = field(default_factory=lambda: defaultdict(list))
    lines: int = 0
    documents: int = 0
    skipped: int = 0
    first_ms: int = 0
    last_ms: int = 0
    hourly: bool = False
    subjects: set[str] = field(default_factory=set)

    def reach(self, at_ms: int) -> None:
        self.first_ms = min(self.first_ms or at_ms, at_ms)
        self.last_ms = max(self.last_ms, at_ms)


def read(path: str, topology: Topology, *, skip_bad: bool = False, name: Naming = lambda subject: subject) -> PastFile:
    """All of the file. Raises BadPast with the number of the first bad line; with `skip_bad` bad lines are counted instead. `name`: the
    id of what counts call a subject, None where there is none."""
    with ExitStack() as closing:
        try:
            file = closing.enter_context(_opened(path))
            counts = _Counts(name)
            if path.removesuffix(".gz").endswith(".csv"):
                found = _counts_csv(file, counts, skip_bad)
            else:
                found = _lines(file, topology, counts, skip_bad)
        except OSError as error:
            raise BadPast(f"{safe(path)} cannot be read: {error.strerror or error}.") from error
        except (EOFError, zlib.error, csv.Error) as error:
            raise BadPast(f"{safe(path)} cannot be read to its end: {error}.") from error
    if not found.documents:
        raise BadPast(f"There is nothing counted in {safe(path)}.")
    return found


def _opened(path: str) -> IO[str]:
    if path.endswith(".gz"):
        return gzip.open(path, "rt", encoding="utf-8-sig", errors="replace", newline="")
    return Path(path).open(encoding="utf-8-sig", errors="replace", newline="")


# -- records ----------------------------------------------------------------------------------------------------------


def _lines(file: IO[str], topology: Topology, counts: "_Counts", skip_bad: bool) -> PastFile:
    found: PastFile | None = None
    scored: list[ScoredBatch] = []
    tagged: dict[tuple[int, int, int], Tagged] = {}
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            if found is None:
                found = PastFile(_form(_any(line)))
            if found.form == "scored":
                scored.append(_scored(line))
            elif found.form == "tagged":
                one = _tagged(line)
                tagged.setdefault(
                    (one.src.partition, one.src.offset, one.src.index), one
                )  # written twice by a zombie: once
            else:
                counts.take(_any(line))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError) as error:
            if found is None or not skip_bad:
                raise BadPast(f"Line {number}: {safe(str(error), 200)}.") from error
            found.skipped += 1
        _bounded(number)
    found = found or PastFile("scored")
    if found.form == "counts":
        counts.into(found)
    elif found.form == "scored":
        _place_scored(found, scored, topology)
    else:
        _place_tagged(found, list(tagged.values()), topology)
    return found


def _form(line: Mapping[str, Any]) -> Form:
    if "documents" in line:
        return "scored"
    if "src" in line:
        return "tagged"
    if "subject" in line:
        return "counts"
    raise ValueError("neither a record of scored, nor of tagged, nor a count")


def _place_scored(found: PastFile, batches: list[ScoredBatch], topology: Topology) -> None:
    """By the home of their subjects. A replay's file has one partition for all: then it stays one."""
    homes = [
        {topology.scored_partition(row.subject) for one in batch.documents for row in one.rows} for batch in batches
    ]
    single = any(len(home) > 1 for home in homes)
    for batch, home in zip(batches, homes, strict=True):
        found.lanes[0 if single else min(home, default=0)].append(batch)
        for one in batch.documents:
            _note(found, one)


def _place_tagged(found: PastFile, said: list[Tagged], topology: Topology) -> None:
    """As tag sends them on, in the order in which they came in; marks are made anew, since a file has an order of its own."""
    said.sort(key=lambda one: (one.ingested_at, one.src.partition, one.src.offset, one.src.index))
    for offset, one in enumerate(said):
        topics = tuple(topic for topic, _ in one.topics if topic != "other")
        rows = list(one.companies)
        if not any(is_test(row.subject) for row in rows):
            whole = (one.label, one.negative, one.unsure, one.positive)
            markets = sorted({market_of(row.subject) for row in rows} - {""})
            rows += [Row(subject, *whole) for subject in (*(f"topic:{topic}" for topic in topics), *markets, MARKET)]
        homes: dict[int, list[Row]] = defaultdict(list)
        for row in rows:
            homes[topology.scored_partition(row.subject)].append(row)
        words = f"{one.title}\n{one.text}" if one.title else one.text
        for home, own in homes.items():
            document = ScoredDocument(
                index=0, id=one.id, story=one.story, echo=one.echo, published_at=one.published_at, ingested_at=one.ingested_at,
                source=one.source, author=one.author, feed=one.feed, lang=one.lang, title=one.title, url=one.url,
                excerpt=words[slice(*one.deciding)].strip() if one.deciding else one.text,
                about=tuple(row.subject for row in one.companies), topics=topics, rows=tuple(own),
            )  # fmt: skip
            found.lanes[home].append(ScoredBatch(partition=0, offset=offset, documents=[document], model=one.model))
            _note(found, document)


def _note(found: PastFile, one: ScoredDocument) -> None:
    found.documents += 1
    found.subjects.update(row.subject for row in one.rows)
    found.reach(one.published_at)


# -- counts -----------------------------------------------------------------------------------------------------------


def _counts_csv(file: IO[str], counts: "_Counts", skip_bad: bool) -> PastFile:
    csv.field_size_limit(4096)
    reader = csv.reader(file)
    header = [cell.strip().lower() for cell in next(reader, [])]
    missing = [ours for ours, theirs in NAMES.items() if ours != "reach" and not set(theirs) & set(header)]
    if missing:
        raise BadPast(f"Line 1: {safe(','.join(header), 80)!r} is no header of counts.")
    found = PastFile("counts")
    for cells in reader:
        if not any(cells):
            continue
        try:
            counts.take(dict(zip(header, cells, strict=True)))
        except ValueError as error:
            if not skip_bad:
                raise BadPast(f"Line {reader.line_num}: {safe(str(error), 200)}.") from error
            found.skipped += 1
        _bounded(reader.line_num)
    counts.into(found)
    return found


class _Counts:
    """Counts as they are read, each subject and time once."""

    def __init__(self, name: Naming) -> None:
        self._name = name
        self._found: dict[tuple[int, str], tuple[int, int, int]] = {}
        self._hourly = False
        self._places: dict[str, str] | None = None

    def take(self, cells: Mapping[str, Any]) -> None:
        """Raises ValueError."""
        if self._places is None:
            self._places = {ours: name for ours, theirs in NAMES.items() for name in theirs if name in cells}
            self._hourly = self._places.get("at") == "hour"
        places = self._places
        lacking = [name for name in ("subject", "at", "negative", "mentions") if places.get(name) not in cells]
        if lacking:
            raise ValueError(f"no {lacking[0] if lacking[0] != 'at' else 'minute or hour'}")
        subject = str(cells[places["subject"]]).strip()
        if not 0 < len(subject) <= 200 or not subject.isprintable() or is_test(subject):
            raise ValueError(f"{subject!r} is no subject")
        named = self._name(subject)
        if named is None:
            raise ValueError(f"{subject!r} is not in the catalogue")
        subject = named
        at_ms = _moment(cells[places["at"]])
        at_ms -= at_ms % (HOUR_MS if self._hourly else MINUTE_MS)
        negative, mentions = _count(cells[places["negative"]]), _count(cells[places["mentions"]])
        reach = (
            _count(cells[places["reach"]])
            if "reach" in places and cells.get(places["reach"]) not in ("", None)
            else mentions
        )
        if not negative <= mentions <= reach:
            raise ValueError(
                f"{negative} negatives, {mentions} mentions, {reach} in all: each must hold the one before"
            )
        if (at_ms, subject) in self._found:
            raise ValueError(f"{subject} has counts of that {'hour' if self._hourly else 'minute'} already")
        self._found[at_ms, subject] = (negative, mentions, reach)

    def into(self, found: PastFile) -> None:
        """One lane, in order of time and name."""
        items: Iterator[Counted] = (
            one for (at_ms, subject), counts in self._found.items() for one in self._minutes(subject, at_ms, *counts)
        )
        lane = sorted(items, key=lambda one: (one.minute_ms, one.subject))
        found.hourly = self._hourly
        for one in lane:
            found.documents += one.mentions
            found.subjects.add(one.subject)
            found.reach(one.minute_ms)
        found.lanes[0].extend(lane)

    def _minutes(self, subject: str, at_ms: int, negative: int, mentions: int, reach: int) -> Iterator[Counted]:
        if not self._hourly:
            yield Counted(subject, at_ms, negative, mentions, reach)
            return
        die = random.Random(hashlib.blake2b(f"{subject}|{at_ms}".encode(), digest_size=8).digest())  # noqa: S311 - no secret
        strewn: dict[int, list[int]] = defaultdict(lambda: [0, 0, 0])
        for kind, count in enumerate((negative, mentions - negative, reach - mentions)):
            for _ in range(count):
                strewn[die.randrange(60)][kind] += 1
        for minute, (bad, rest, echoes) in sorted(strewn.items()):
            yield Counted(subject, at_ms + minute * MINUTE_MS, bad, bad + rest, bad + rest + echoes)


def _moment(given: Any) -> int:
    if isinstance(given, str):
        text = given.strip()
        at_ms = int(text) if text.isdecimal() and len(text) < 20 else parse_ms(text)
    elif isinstance(given, int) and not isinstance(given, bool):
        at_ms = given
    else:
        raise ValueError(f"{given!r} is no time")  # noqa: TRY004 - one kind of error for one bad line
    if at_ms < 100_000_000_000:  # seconds
        at_ms *= 1000
    if not 0 < at_ms < LATEST_MS:
        raise ValueError(f"{given!r} is no time since 1970")
    return at_ms


def _count(given: Any) -> int:
    text = str(given).strip()
    if not text.isdecimal() or len(text) > 9 or int(text) > MOST_A_CELL:
        raise ValueError(f"{text!r} is no count")
    return int(text)


def _bounded(lines: int) -> None:
    if lines > MOST_LINES:
        raise BadPast(f"The file has more than {MOST_LINES:,} lines.", remedy="Cut it by subject or by time.")

"""What is known to come: results, data releases. A file of rows `subject,start,end,kind,factor` that says when to expect more talk.

During an event its subject is expected to be talked about `factor` times as much as usual; what surges all the same is told, and named
after it. Read once, when aggregate starts: a file that changed under a running detector would make its decisions depend on when. Read
`directory.py` next, which hands the events to the detector.
"""

import csv
import hashlib
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from groundswell.errors import Misconfigured
from groundswell.text import safe
from groundswell.times import parse_ms, rfc3339

COLUMNS = ("subject", "start", "end", "kind", "factor")
FACTOR, MOST_FACTOR = 3.0, 50.0
MOST_DAYS, MOST_ROWS, MOST_BYTES = 31, 100_000, 20_000_000
KIND_CHARS = 40


class BrokenEvents(Misconfigured):
    """The file of scheduled events cannot be used."""

    reason = "broken_events"
    remedy = "`groundswell events check FILE` names every row that is wrong; columns: " + ", ".join(COLUMNS) + "."


class Event(NamedTuple):
    """Talk about `subject` that is announced: from `start_ms` until before `end_ms` (epoch ms), `factor` times the usual."""

    subject: str
    start_ms: int
    end_ms: int
    kind: str
    factor: float


class Schedule:
    """All events. Where several of one subject meet, the one with the largest factor holds."""

    def __init__(self, events: Iterable[Event] = ()) -> None:
        self._events = sorted(set(events))
        self._changes = sorted({at for one in self._events for at in (one.start_ms, one.end_ms)})
        self._own: dict[str, list[Event]] = {}
        for one in sorted(self._events, key=lambda one: (one.factor, one.kind)):
            self._own.setdefault(one.subject, []).append(one)
        self._now: tuple[int, dict[str, Event]] = (-1, {})

    def __len__(self) -> int:
        return len(self._events)

    def __iter__(self) -> Iterator[Event]:
        return iter(self._events)

    @property
    def version(self) -> str:
        """The same events, the same word; empty without any."""
        return hashlib.blake2b(repr(self._events).encode(), digest_size=6).hexdigest() if self._events else ""

    def running(self, at_ms: int) -> dict[str, Event]:
        """Subject -> event at this moment. Between two changes the answer is the same, and is kept."""
        stretch = bisect_right(self._changes, at_ms)
        if stretch != self._now[0]:
            here = [one for own in self._own.values() for one in own if one.start_ms <= at_ms < one.end_ms]
            self._now = (stretch, {one.subject: one for one in here})  # the strongest of a subject is its last
        return self._now[1]

    def of(self, subject: str, first_ms: int, end_ms: int) -> list[Event]:
        """The events of one subject that meet [first, end), the weakest first."""
        own = self._own.get(subject, ())
        return [one for one in own if one.start_ms < end_ms and first_ms < one.end_ms]


def load(file: str | Path, resolve: Callable[[str], str | None]) -> Schedule:
    """The events of a file. `resolve` gives the id that a symbol names. Raises BrokenEvents with the first rows that are wrong."""
    events, wrong = check(file, resolve)
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise BrokenEvents(f"{safe(str(file), 200)}: {'; '.join(wrong[:3])}{more}.")
    return Schedule(events)


def check(file: str | Path, resolve: Callable[[str], str | None]) -> tuple[list[Event], list[str]]:
    """(events, what is wrong, a sentence a row). Raises BrokenEvents where the file as a whole cannot be read."""
    path = Path(file)
    try:
        if path.stat().st_size > MOST_BYTES:
            raise BrokenEvents(f"{safe(str(file), 200)} has more than {MOST_BYTES // 1_000_000} MB.")
        rows = csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines(), strict=True)
        names = [name.strip().lower() for name in rows.fieldnames or ()]
        if missing := [name for name in COLUMNS[:4] if name not in names]:
            raise BrokenEvents(f"{safe(str(file), 200)} has no column {', '.join(missing)}.")
        rows.fieldnames = names
        found = [(rows.line_num, row) for row in rows]
    except OSError as error:
        raise BrokenEvents(f"{safe(str(file), 200)} cannot be read: {error.strerror}.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise BrokenEvents(f"{safe(str(file), 200)} is not CSV in UTF-8: {error}.") from error
    if len(found) > MOST_ROWS:
        raise BrokenEvents(f"{safe(str(file), 200)} has more than {MOST_ROWS} rows.")
    events, wrong = list[Event](), list[str]()
    for line, row in found:
        try:
            events.append(_event(row, resolve))
        except ValueError as error:
            wrong.append(f"line {line}: {error}")
    return events, wrong


def _event(row: dict[str, str | None], resolve: Callable[[str], str | None]) -> Event:
    """One row. Raises ValueError that says what is wrong with it."""
    given = {name: (row.get(name) or "").strip() for name in COLUMNS}
    subject = resolve(given["subject"])
    if subject is None:
        raise ValueError(f"{safe(given['subject'], 60)!r} is no subject that is counted")
    start, end = _time(given["start"], "start"), _time(given["end"], "end")
    if not start < end <= start + MOST_DAYS * 86_400_000:
        raise ValueError(f"it must end after its start, within {MOST_DAYS} days: {rfc3339(start)} to {rfc3339(end)}")
    kind = safe(given["kind"], KIND_CHARS).strip()
    if not kind:
        raise ValueError("it has no kind: earnings, for example")
    try:
        factor = float(given["factor"] or FACTOR)
    except ValueError:
        raise ValueError(f"the factor {safe(given['factor'], 30)!r} is no number") from None
    if not 1 < factor <= MOST_FACTOR:
        raise ValueError(f"the factor is {factor:g}; it must lie above 1 and at most at {MOST_FACTOR:g}")
    return Event(subject, start, end, kind, factor)


def _time(text: str, name: str) -> int:
    try:
        return parse_ms(text)
    except (ValueError, OverflowError):
        raise ValueError(
            f"the {name} {safe(text, 40)!r} is no time with a zone, such as 2026-10-29T16:00:00-04:00"
        ) from None

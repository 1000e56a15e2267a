"""What is pushed in a chaos run, and what must come of it: a count that knows nothing of streams, claims or marks.

Pure, and by intent without a line of the product: what a document is (negative, an echo, pushed twice) is decided here when it is made, so
nothing that counts wrongly can count wrongly twice. All that concerns one company has one key, and no two subjects share a scored
partition but for `market`: so each subject's rows come in the file's order, whatever happens between partitions. Read chaos_road.py next.
"""

import random
import struct
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

MINUTE_MS, HOUR_MS = 60_000, 3_600_000
MARKET = "market"
# Company, its symbol, the word of the bad news, the topic that the recorded tagger hears in it.
COMPANIES = (
    ("XDEM:BLUW", "BLUW", "fraud", "topic:fraud"),
    ("XDEM:POMG", "POMG", "lawsuit", "topic:litigation"),
    ("XDEM:CLHB", "CLHB", "breach", "topic:cyber"),
    ("XDEM:NRVE", "NRVE", "recall", "topic:safety"),
    ("XDEM:STAN", "STAN", "layoff", "topic:labour"),
    ("XDEM:TLRN", "TLRN", "probe", "topic:regulation"),
    ("XDEM:HGRN", "HGRN", "bankrupt", "topic:default"),
)
GOOD = "upgrade"
SURGE_MINUTES, SURGE_A_MINUTE = 6, 20
SURGE_TIMES = (
    4.2  # at least so many times as many documents as on an ordinary minute: a day old, the detector wants it plain
)
SURGES_IN_A_FILE = 0.25  # at most this share of it
APART_MINUTES = 170  # between two surges of one company: longer than an episode reopens
_SYLLABLES = ("ba", "ke", "di", "mo", "zu", "ra", "ti", "no", "ve", "la", "po", "gu", "sha", "ri", "fe", "ku")

NEGATIVE, NEUTRAL, POSITIVE, UNSURE, ECHO = range(5)  # the places of a bucket's five counters
Where = tuple[str, int]  # subject, minute in epoch milliseconds
Counted = Mapping[Where, tuple[int, ...]]


@dataclass(frozen=True)
class Sent:
    """One document, and what its maker knows about it. `again`: it was sent before and must count once."""

    key: bytes
    document: dict[str, Any]
    at_ms: int
    place: int
    subjects: tuple[str, ...]
    again: bool = False


@dataclass(frozen=True)
class File:
    """Documents in order of time, and where surges were planted: (company, first minute)."""

    sent: list[Sent]
    surges: list[Where]


def file(count: int, end_ms: int, seed: int) -> File:
    """`count` documents that end at `end_ms`: everyday talk, surges, copies, and some sent twice. At most 20 hours."""
    chance = random.Random(seed)
    minutes = min(1_200, max(300, count // 20))
    start_ms = (end_ms - minutes * MINUTE_MS) // HOUR_MS * HOUR_MS
    a_minute = max(SURGE_A_MINUTE, round(SURGE_TIMES * count / minutes / len(COMPANIES)))
    surges = _surges(count, minutes, start_ms, a_minute)
    surging = [
        _sent(chance, company, f"{company[1]}-{at_ms}-{i}", at_ms + i * MINUTE_MS // a_minute, NEGATIVE)
        for company in COMPANIES
        for named, at_ms in surges
        if named == company[0]
        for i in range(SURGE_MINUTES * a_minute)
    ]
    everyday: list[Sent] = []
    told: dict[str, list[Sent]] = defaultdict(list)
    quiet = count - len(surging)
    for i in range(quiet):
        company = COMPANIES[i % len(COMPANIES)]
        at_ms = start_ms + minutes * MINUTE_MS * i // quiet
        before, what = told[company[0]], chance.random()
        if before and what < 0.05:
            first = chance.choice(before[-40:])
            everyday.append(Sent(first.key, first.document, at_ms, first.place, first.subjects, again=True))
        elif before and what < 0.12:  # somebody passes the same words on
            first = chance.choice(before[-40:])
            copy = {
                **first.document,
                "id": f"copy-{i}",
                "text": f"RT @reader{i}: {first.document['text']}",
                "published_at": at_ms,
            }
            everyday.append(Sent(first.key, copy, at_ms, ECHO, first.subjects))
        else:
            place = chance.choices((NEGATIVE, NEUTRAL, POSITIVE, UNSURE), (12, 74, 12, 2))[0]
            before.append(_sent(chance, company, f"{company[1]}-{i}", at_ms, place))
            everyday.append(before[-1])
    return File(sorted(surging + everyday, key=lambda one: one.at_ms), surges)


def _surges(count: int, minutes: int, start_ms: int, a_minute: int) -> list[Where]:
    """Each company in turn, the first ones after what the detector needs to learn."""
    most = max(2, int(count * SURGES_IN_A_FILE) // (SURGE_MINUTES * a_minute))
    places = [
        (company[0], start_ms + (minute + 17 * n) * MINUTE_MS)
        for minute in range(150, minutes - 130, APART_MINUTES)
        for n, company in enumerate(COMPANIES)
    ]
    return places[:most]


def _sent(chance: random.Random, company: tuple[str, str, str, str], identity: str, at_ms: int, place: int) -> Sent:
    subject, symbol, word, topic = company
    words = ["".join(chance.choices(_SYLLABLES, k=chance.randint(2, 4))) for _ in range(16)]
    if place in (NEGATIVE, UNSURE):
        words[chance.randrange(8)] = word
    if place in (POSITIVE, UNSURE):
        words[8 + chance.randrange(8)] = GOOD
    document = {
        "id": identity, "text": " ".join(words), "source": f"forum{chance.randrange(5)}", "author": f"reader{chance.randrange(10_000)}",
        "symbols": [symbol], "published_at": at_ms,
    }  # fmt: skip
    subjects = (subject, topic, MARKET) if place in (NEGATIVE, UNSURE) else (subject, MARKET)
    return Sent(symbol.encode(), document, at_ms, place, subjects)


def truth(sent: Iterable[Sent]) -> Counted:
    """Every bucket as a plain function of what was pushed."""
    counts: dict[Where, list[int]] = defaultdict(lambda: [0, 0, 0, 0, 0])
    for one in sent:
        if not one.again:
            for subject in one.subjects:
                counts[subject, one.at_ms // MINUTE_MS * MINUTE_MS][one.place] += 1
    return {where: tuple(counters) for where, counters in counts.items()}


@dataclass(frozen=True)
class Difference:
    """What is counted against what was pushed, in rows. `misplaced`: counted once, as something else."""

    lost: int
    double_counted: int
    misplaced: int
    examples: list[str]


def difference(found: Counted, wanted: Counted) -> Difference:
    """Bucket by bucket; the sums of one never make up for another."""
    lost = double = misplaced = 0
    examples = []
    for where in sorted(found.keys() | wanted.keys()):
        got, want = found.get(where, (0,) * 5), wanted.get(where, (0,) * 5)
        if got == want:
            continue
        more = sum(got) - sum(want)
        lost, double = lost + max(0, -more), double + max(0, more)
        misplaced += (sum(abs(a - b) for a, b in zip(got, want, strict=True)) - abs(more)) // 2
        examples.append(f"{where[0]} at {where[1]}: {list(got)} counted, {list(want)} pushed")
    return Difference(lost, double, misplaced, examples[:10])


def bucket(packed: bytes) -> tuple[int, ...]:
    """Five counters as Redis holds them, read by a line of our own."""
    return struct.unpack({5: "<5B", 10: "<5H", 20: "<5I"}[len(packed)], packed)


def poison(chance: random.Random, now_ms: int) -> list[bytes | None]:
    """Messages that ingest must refuse, one dead letter each, whatever lies beside them."""
    deep = b'{"text":"x","z":' + b"[" * 4_000 + b"]" * 4_000 + b"}"
    return [
        b'{"text":"\xff\xfe"}',
        b'{"text": NaN}',
        deep,
        b'{"text":"' + b"a" * 70_000 + b'"}',
        b"[" + b",".join([b'{"text":"one of too many"}'] * 501) + b"]",
        b'{"text":"from tomorrow","published_at":%d}' % (now_ms + 48 * HOUR_MS),
        b'{"text":"from 1970","published_at":0}',
        b'{"text":"cut off %d' % chance.randrange(1_000_000),
        None,
    ]

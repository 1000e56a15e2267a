"""A file of documents for the kill test, and what must come of it by a count of its own; see test_kill.py.

All that concerns one company is pushed under one key, so that its copies follow their original on one partition and the order in which
its rows arrive is the file's, whatever else happens between partitions.
"""

import random
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from groundswell import times
from groundswell.keys import HOUR_MS, MINUTE_MS, unpack_bucket
from groundswell.records import Bucket
from models.scripted import answer

MINUTES = 300
# Company, the word of the bad news, the topic that the scripted model hears in it. No two share a scored partition.
COMPANIES = (
    ("XDEM:BLUW", "BLUW", "fraud", "fraud"),
    ("XDEM:POMG", "POMG", "lawsuit", "litigation"),
    ("XDEM:CLHB", "CLHB", "breach", "cyber"),
    ("XDEM:NRVE", "NRVE", "recall", "safety"),
    ("XDEM:STAN", "STAN", "layoff", "labour"),
)
SURGES = {"XDEM:BLUW": 150, "XDEM:NRVE": 230}  # company -> minute in which it begins
SURGE_MINUTES, SURGE_A_MINUTE = 6, 25
_SYLLABLES = ("ba", "ke", "di", "mo", "zu", "ra", "ti", "no", "ve", "la", "po", "gu", "sha", "ri", "fe", "ku")

Counted = dict[tuple[str, int], Bucket]


@dataclass(frozen=True)
class Sent:
    """One document, and what the maker of the file knows about it."""

    key: bytes
    document: dict[str, Any]
    subject: str
    at_ms: int
    echo: bool = False
    duplicate: bool = False


def file(count: int, start_ms: int, seed: int = 11) -> list[Sent]:
    """`count` documents of five hours in order of time: everyday talk, two surges, copies, and some pushed twice."""
    chance = random.Random(seed)
    surging = [
        _sent(
            chance,
            company,
            f"{company[1]}-surge-{i}",
            start_ms + minute * MINUTE_MS + i * MINUTE_MS // SURGE_A_MINUTE,
            bad=True,
        )
        for company in COMPANIES
        if (minute := SURGES.get(company[0]))
        for i in range(SURGE_MINUTES * SURGE_A_MINUTE)
    ]
    everyday: list[Sent] = []
    told: dict[str, list[Sent]] = defaultdict(list)
    for i in range(count - len(surging)):
        company = COMPANIES[i % len(COMPANIES)]
        at_ms = start_ms + MINUTES * MINUTE_MS * i // (count - len(surging))
        before, what = told[company[0]], chance.random()
        if before and what < 0.05:  # the same record again
            first = chance.choice(before[-40:])
            everyday.append(Sent(first.key, first.document, first.subject, at_ms, duplicate=True))
        elif before and what < 0.15:  # somebody passes the same words on
            first = chance.choice(before[-40:])
            copy = {**first.document, "id": f"copy-{i}", "text": f"RT @reader{i}: {first.document['text']}"}
            copy["published_at"] = times.rfc3339(at_ms)
            everyday.append(Sent(first.key, copy, first.subject, at_ms // 1000 * 1000, echo=True))
        else:
            before.append(_sent(chance, company, f"{company[1]}-{i}", at_ms, bad=chance.random() < 0.1))
            everyday.append(before[-1])
    return sorted(surging + everyday, key=lambda one: one.at_ms)


def _sent(chance: random.Random, company: tuple[str, str, str, str], identity: str, at_ms: int, *, bad: bool) -> Sent:
    subject, symbol, word, _ = company
    words = ["".join(chance.choices(_SYLLABLES, k=chance.randint(2, 4))) for _ in range(16)]
    if bad:
        words[chance.randrange(16)] = word
    document = {
        "id": identity, "text": " ".join(words), "source": f"forum{chance.randrange(5)}", "author": f"reader{chance.randrange(10_000)}",
        "symbols": [symbol], "published_at": times.rfc3339(at_ms),
    }  # fmt: skip
    return Sent(symbol.encode(), document, subject, at_ms // 1000 * 1000)


def expected(sent: list[Sent]) -> Counted:
    """Every bucket as a plain function of the file: no marks, no claims, no streams."""
    counts: dict[tuple[str, int], list[int]] = defaultdict(lambda: [0, 0, 0, 0, 0])
    for one in sent:
        if one.duplicate:
            continue
        tag = answer(one.document["text"])
        place = 4 if one.echo else ("negative", "neutral", "positive").index(tag.polarity)
        for subject in (one.subject, *(f"topic:{topic}" for topic, _ in tag.topics if topic != "other"), "market"):
            counts[subject, one.at_ms // MINUTE_MS * MINUTE_MS][place] += 1
    return {where: Bucket(*counters) for where, counters in counts.items()}


async def buckets(redis: Any, prefix: str) -> Counted:
    """Every bucket that Redis holds for one installation."""
    found: Counted = {}
    async for key in redis.scan_iter(match=f"{prefix}:{{s*}}:b:*", count=1_000):
        subject, _, hour = key.decode().partition("}:b:")[2].rpartition(":")
        for minute, packed in (await redis.hgetall(key)).items():
            found[subject, int(hour) * HOUR_MS + minute[0] * MINUTE_MS] = unpack_bucket(packed)
    return found

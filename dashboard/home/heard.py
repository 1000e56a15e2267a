"""Who said it, in which language and about what: the documents behind the subjects of the overview, counted when somebody asks.

Live rows know none of it. What is known is the newest documents that are kept of a subject, 60 at most; of the first subjects they
are read here, at most once in so many seconds for all browsers together.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from dashboard.home.movers import Wanted
from dashboard.rows import rank
from groundswell.errors import RedisAway
from groundswell.keys import HOUR_MS, Keys
from groundswell.records import LiveRow
from stream.topology import Topology

SUBJECTS, CHUNK = 300, 50  # the first by evidence; read so many at a time, that other requests come in between
SPAN_MS = 3 * HOUR_MS
KEPT_S = 10.0
SOURCES = 40


class _Said(msgspec.Struct):
    """Of a DocumentCard, what is counted here."""

    source: str = ""
    lang: str = ""
    label: str = ""
    topics: tuple[str, ...] = ()


_said = msgspec.json.Decoder(_Said)


@dataclass
class Heard:
    """By subject: how many documents there are of each kind, and how many of these are negative."""

    counts: dict[str, Counter[tuple[str, str, tuple[str, ...], bool]]] = field(default_factory=dict)
    read_at_s: float = float("-inf")
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def read(self, redis: Redis, keys: Keys, topology: Topology, rows: dict[str, LiveRow], now_s: float) -> None:
        """Read again where it was long ago; who asks meanwhile waits for that. The span ends with the rows. Raises RedisAway."""
        async with self.lock:
            if now_s - self.read_at_s < KEPT_S:
                return
            first = [row for row in sorted(rows.values(), key=rank) if sum(row.spark)][:SUBJECTS]
            found: dict[str, Counter[tuple[str, str, tuple[str, ...], bool]]] = {}
            try:
                for start in range(0, len(first), CHUNK):
                    chunk = first[start : start + CHUNK]
                    pipeline = redis.pipeline(transaction=False)
                    for row in chunk:
                        home = keys.documents(topology.scored_partition(row.subject), row.subject)
                        pipeline.zrangebyscore(home, row.at - SPAN_MS, "+inf")
                    for row, raw in zip(chunk, await pipeline.execute(), strict=True):
                        found[row.subject] = _counted(raw)
                    await asyncio.sleep(0)
            except (RedisError, OSError, TimeoutError) as error:
                raise RedisAway(f"Redis does not answer: {type(error).__name__}.") from error
            self.counts, self.read_at_s = found, now_s

    def like(self, asked: Wanted) -> dict[str, tuple[int, int]]:
        """Subjects with documents as asked for: how many there are, and how many of them are negative."""
        source = asked.source.casefold()
        found = {}
        for subject, kinds in self.counts.items():
            total = negative = 0
            for (name, lang, topics, is_negative), count in kinds.items():
                if (
                    (not source or name.casefold() == source)
                    and (not asked.language or lang == asked.language)
                    and (not asked.topic or asked.topic in topics)
                ):
                    total += count
                    negative += count * is_negative
            if total:
                found[subject] = (total, negative)
        return found

    def choices(self) -> dict[str, list[str]]:
        """What there is to choose from: the sources that say most, languages and topics, the most frequent first."""
        sources: Counter[str] = Counter()
        spelled: dict[str, str] = {}
        languages: Counter[str] = Counter()
        topics: Counter[str] = Counter()
        for kinds in self.counts.values():
            for (name, lang, about, _), count in kinds.items():
                sources[name.casefold()] += count
                spelled.setdefault(name.casefold(), name)
                languages[lang] += count
                topics.update(dict.fromkeys(about, count))
        return {
            "sources": [spelled[name] for name, _ in sources.most_common(SOURCES) if name],
            "languages": [name for name, _ in languages.most_common(8) if name],
            "topics": [name for name, _ in topics.most_common()],
        }


def _counted(raw: list[bytes]) -> Counter[tuple[str, str, tuple[str, ...], bool]]:
    found: Counter[tuple[str, str, tuple[str, ...], bool]] = Counter()
    for one in raw:
        try:
            said: Any = _said.decode(one)
        except msgspec.DecodeError:
            continue  # history.py says so where the document is shown
        topics = tuple(topic.removeprefix("topic:") for topic in said.topics)
        found[said.source, said.lang, topics, said.label == "negative"] += 1
    return found

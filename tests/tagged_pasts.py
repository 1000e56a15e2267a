"""Tagged documents and logs of them for tests of the search: a log in memory, and the pages' searches done in this very process."""

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
from confluent_kafka import Producer

from dashboard.archive.past import Entry
from dashboard.archive.sifting import Sieves, Sift, answer
from groundswell.errors import BrokerAway
from groundswell.records import Mention, Row, Source, Tagged
from groundswell.running.embedded import Services

AT = 1_795_300_000_000


def document(place: int, text: str = "The regulator opens a probe.", **changes: Any) -> Tagged:
    """One about Halvorn Motors, published `place` seconds before AT."""
    made = Tagged(
        id=f"d{place}",
        src=Source(place % 24, place, 0),
        story=f"s{place}",
        title=f"Halvorn Motors recalls vans, part {place}",
        text=text,
        url=f"https://wirepress.example/{place}",
        source="wirepress.example",
        published_at=AT - place * 1_000,
        ingested_at=AT - place * 1_000 + 300,
        tagged_at=AT - place * 1_000 + 900,
        label="negative",
        negative=0.91,
        neutral=0.06,
        positive=0.03,
        topics=[("safety", 0.8)],
        mentions=[Mention("XTST:HLVN", 0, 7)],
        companies=[Row("XTST:HLVN", "negative", 0.9)],
        deciding=(0, 14),
        model="test",
    )
    return msgspec.structs.replace(made, **changes)


class MemoryLog:
    """Partitions as lists of entries; `keeps_times` is false of the embedded broker."""

    def __init__(self, partitions: int = 3, *, keeps_times: bool = True) -> None:
        self.partitions: list[list[Entry]] = [[] for _ in range(partitions)]
        self.first = [0] * partitions
        self.keeps_times = keeps_times
        self.read_s = 0.0
        self.now_s = 0.0
        self.away = False

    def add(self, one: Tagged, *, arrived_ms: int | None = None, partition: int | None = None) -> None:
        home = one.src.offset % len(self.partitions) if partition is None else partition
        arrived = one.tagged_at if arrived_ms is None else arrived_ms
        self.partitions[home].append(Entry(home, len(self.partitions[home]), arrived, msgspec.json.encode(one)))

    def starts(self) -> list[int]:
        return list(self.first)

    def ends(self) -> list[int]:
        if self.away:
            raise BrokerAway
        return [len(entries) for entries in self.partitions]

    def at(self, arrived_ms: int) -> list[int] | None:
        if not self.keeps_times:
            return None
        return [
            next((place for place, entry in enumerate(entries) if entry.arrived_ms >= arrived_ms), len(entries))
            for entries in self.partitions
        ]

    def read(self, spans: Sequence[tuple[int, int]]) -> Iterator[Entry]:
        self.now_s += self.read_s
        for entries, (low, high) in zip(self.partitions, spans, strict=True):
            yield from entries[low:high]


class SievesInMemory(Sieves):
    """Searches a log in memory, here."""

    def __init__(self, log: MemoryLog) -> None:
        super().__init__()
        self.log = log
        self.sifts: list[Sift] = []

    async def pieces(self, sift: Sift) -> AsyncIterator[bytes]:
        self.sifts.append(sift)
        for piece in answer(self.log, sift, time.monotonic):
            yield piece


@contextlib.contextmanager
def embedded_services(topics: Mapping[str, int]) -> Iterator[Services]:
    """A broker and a Redis of this test's own, in memory."""
    process = subprocess.Popen(
        [sys.executable, "-m", "groundswell.running.embedded", json.dumps(dict(topics))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield Services(**json.loads(process.stdout.readline()))
    finally:
        process.stdin.close()
        process.wait(timeout=10)
        process.stdout.close()


def write(kafka: str, topic: str, documents: Iterable[Tagged], at_ms: Callable[[Tagged], int] | None = None) -> None:
    """Documents to a topic by their ids, as tag does; `at_ms`: when the broker is to believe that each came in."""
    producer = Producer({"bootstrap.servers": kafka, "compression.type": "zstd", "log_level": 0})
    for one in documents:
        stamp = {"timestamp": at_ms(one)} if at_ms else {}
        producer.produce(topic, msgspec.json.encode(one), key=one.id.encode(), **stamp)
        producer.poll(0)
    assert producer.flush(20) == 0

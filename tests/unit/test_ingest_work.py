"""What ingest does with batches: nothing is acked before the broker has it, the books fit what is read again, neighbours share records."""

import asyncio
import json
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from fakeredis import FakeAsyncRedis
from hypothesis import given
from hypothesis import strategies as st

from groundswell.clock import ManualClock
from groundswell.errors import PoisonFlood, ProduceFailed
from groundswell.keys import Keys
from groundswell.records import DeadLetter, Document, Source
from groundswell.running import books
from groundswell.settings import Settings
from stream import ingest_work
from stream.crashes import Died, RedisCrashes
from stream.ingest import Terms
from stream.ingest_work import IngestWork, together
from stream.intake import BATCH_BYTES, BATCH_RECORDS, batches
from stream.topology import DEAD_LETTERS, DOCUMENTS, NEWS, Topology

TOPOLOGY, KEYS = Topology("t"), Keys("t")
INPUT = TopicPartition(TOPOLOGY.name(NEWS), 3)
NOW_MS = 1_770_000_000_000


@dataclass
class Record:
    """As aiokafka gives it."""

    offset: int
    value: bytes | None
    key: bytes | None = None
    topic: str = INPUT.topic
    partition: int = INPUT.partition


def said(offset: int, text: str = "Shares fell.", key: bytes | None = b"feed") -> Record:
    return Record(offset, json.dumps({"id": f"d{offset}", "text": text}).encode(), key)


class Broker:
    """A producer whose acknowledgements come when they are told to."""

    def __init__(self, *, at_once: bool = True) -> None:
        self.sent: list[tuple[str, bytes, bytes]] = []
        self.waiting: list[asyncio.Future[None]] = []
        self._at_once = at_once

    async def partitions_for(self, topic: str) -> set[int]:
        return set(range(24))

    async def send(self, topic: str, value: bytes, key: bytes) -> "asyncio.Future[None]":
        future = asyncio.get_running_loop().create_future()
        self.sent.append((topic, key, value))
        if self._at_once:
            future.set_result(None)
        self.waiting.append(future)
        return future

    @property
    def documents(self) -> list[list[str]]:
        return [[one.id for one in msgspec.json.decode(value, type=list[Document])]
                for topic, _, value in self.sent if topic == TOPOLOGY.name(DOCUMENTS)]  # fmt: skip

    @property
    def letters(self) -> list[DeadLetter]:
        return [
            msgspec.json.decode(value, type=DeadLetter)
            for topic, _, value in self.sent
            if topic == TOPOLOGY.name(DEAD_LETTERS)
        ]


def working(broker: Broker, redis: Any) -> IngestWork:
    terms = Terms(link=lambda _words, _symbols: [], clock=ManualClock(NOW_MS))
    return IngestWork(Settings(), TOPOLOGY, terms, redis, broker)  # type: ignore[arg-type]


@pytest.fixture
def redis() -> FakeAsyncRedis:
    return FakeAsyncRedis()


async def test_a_batch_is_acked_once_the_broker_has_all_of_it_and_the_books_are_kept(redis):
    broker, acked = Broker(at_once=False), list[str]()
    work = working(broker, redis)
    await work.work(INPUT, [said(5), said(6, key=b"other"), Record(7, b"not json")], lambda: acked.append("first"))
    task = asyncio.create_task(work.acknowledge_some())
    for future in broker.waiting:
        await asyncio.sleep(0)
        assert acked == []
        future.set_result(None)
    await task
    assert acked == ["first"]
    counts = await books.total(redis, KEYS, "ingest")
    assert (counts.read, counts.applied, counts.dead_lettered, counts.emitted) == (3, 2, 1, 2)
    assert work.in_flight == 0


async def test_a_broker_that_refuses_a_record_ends_it_unacked(redis):
    broker, acked = Broker(at_once=False), list[int]()
    work = working(broker, redis)
    await work.work(INPUT, [said(5)], lambda: acked.append(5))
    broker.waiting[0].set_exception(KafkaError())
    with pytest.raises(ProduceFailed):
        await work.acknowledge_some()
    assert acked == []


async def test_what_is_read_again_is_not_counted_again(redis):
    work = working(Broker(), redis)
    for records in ([said(0), said(1)], [said(2), said(3)], [said(2), said(3), said(4)], [said(5)]):
        await work.work(INPUT, records, lambda: None)
        await work.acknowledge_some()
    assert (await books.total(redis, KEYS, "ingest")).read == 6


async def test_a_message_on_which_our_own_code_fails_is_a_dead_letter_and_its_neighbours_pass(redis, monkeypatch):
    take = ingest_work.take

    def fails(value: bytes, *others: Any) -> Any:
        if b"bug" in value:
            raise KeyError("a bug")
        return take(value, *others)

    monkeypatch.setattr(ingest_work, "take", fails)
    broker = Broker()
    work = working(broker, redis)
    await work.work(INPUT, [said(0), said(1, "a bug"), said(2)], lambda: None)
    (letter,) = broker.letters
    assert (letter.reason, letter.src, letter.payload, letter.key) == (
        "poison", Source(3, 1), said(1, "a bug").value, b"feed",
    )  # fmt: skip
    assert broker.documents == [["d0", "d2"]]
    with pytest.raises(PoisonFlood):
        await work.work(INPUT, [said(offset, "a bug") for offset in range(3, 30)], lambda: None)


async def test_where_the_life_before_died_each_message_is_noted_before_it_is_worked_on(redis):
    crashes = RedisCrashes(redis, KEYS, INPUT.topic)
    await crashes.begin(INPUT.partition)
    await crashes.at(INPUT.partition, Died(6, 2))
    broker = Broker()
    work = working(broker, redis)
    await work.work(INPUT, [said(5), said(6), said(7)], lambda: None)
    (letter,) = broker.letters
    assert (letter.reason, letter.src.offset, letter.key) == ("poison", 6, b"feed")
    assert broker.documents == [["d5"], ["d7"]], "one at a time"
    assert await redis.hget(KEYS.crashes(INPUT.topic), INPUT.partition) == b"7:1"
    await work.acknowledge_some()
    assert await redis.hget(KEYS.crashes(INPUT.topic), INPUT.partition) == b"-1:0", "nobody died of 7"
    work.committed({INPUT: 8})
    await work.work(INPUT, [said(8), said(9)], lambda: None)
    assert broker.documents[-1] == ["d8", "d9"]
    await work.revoked([INPUT])
    assert await redis.hlen(KEYS.crashes(INPUT.topic)) == 0


async def test_an_end_in_order_waits_for_what_was_sent(redis):
    broker, acked = Broker(at_once=False), list[int]()
    work = working(broker, redis)
    await work.work(INPUT, [said(5)], lambda: acked.append(5))
    draining = asyncio.create_task(work.drain(5.0))
    acknowledging = asyncio.create_task(work.acknowledge_some())
    await asyncio.sleep(0)
    assert not draining.done()
    broker.waiting[0].set_result(None)
    await asyncio.gather(draining, acknowledging)
    assert acked == [5]


# -- what shares a record ----------------------------------------------------------------------------------------------

keys = st.none() | st.sampled_from([b"a", b"b", b"wire"])
arrays = st.integers(1, 30)


@given(st.lists(st.tuples(keys, arrays), max_size=60))
def test_documents_stay_with_their_key_and_in_their_order_and_a_message_stays_whole(messages):
    made, number = [], 0
    for key, size in messages:
        made.append((key, [document(number + i) for i in range(size)]))
        number += size
    found = together(made, range(24))
    assert sorted(one.id for _, documents in found for one in documents) == sorted(
        one.id for _, documents in made for one in documents
    )
    whole = [[one.id for one in documents] for _, documents in found]
    for key, documents in made:
        ids = [one.id for one in documents]
        (home,) = [ids_of for ids_of in whole if ids[0] in ids_of]
        assert home[home.index(ids[0]) :][: len(ids)] == ids
        assert len(home) <= max(ingest_work.TOGETHER, len(ids))
        if key is not None:
            assert found[whole.index(home)][0] == key
    for key in {key for key, _ in made if key}:
        ours = [one.id for its, documents in found if its == key for one in documents]
        assert ours == [one.id for its, documents in made if its == key for one in documents]


def test_documents_without_a_key_stay_on_the_partition_that_their_id_leads_to():
    found = together([(None, [document(number)]) for number in range(2_000)], range(24))
    assert len(found) < 200
    for key, documents in found:
        homes = {ingest_work._home(one.id.encode(), range(24), range(24)) for one in documents}
        assert homes == {ingest_work._home(key, range(24), range(24))}


def document(number: int) -> Document:
    return Document(id=f"{number:08d}", text="x", published_at=NOW_MS, ingested_at=NOW_MS)


# -- what Faust hands over at once -------------------------------------------------------------------------------------


@given(
    st.lists(st.sampled_from([0, 10, 1_000, BATCH_BYTES // 2, BATCH_BYTES, 2 * BATCH_BYTES]), min_size=1, max_size=900)
)
def test_batches_hold_every_record_in_order_within_their_bounds(sizes):
    blob = bytes(max(sizes))
    records = [Record(offset, memoryview(blob)[:size]) for offset, size in enumerate(sizes)]  # type: ignore[arg-type]
    found = batches(records)
    assert [record for batch in found for record in batch] == records
    for batch in found:
        assert 0 < len(batch) <= BATCH_RECORDS
        assert len(batch) == 1 or sum(len(record.value or b"") for record in batch) <= BATCH_BYTES

"""TagWork without a broker: pieces of a batch overlap, leave in order, and are written once through a failing model."""

import asyncio
from dataclasses import dataclass
from typing import ClassVar

import fakeredis
import msgspec
import pytest
from redis.exceptions import RedisError

from groundswell.clock import ManualClock
from groundswell.errors import ModelAway, Poison, RedisAway
from groundswell.keys import Keys
from groundswell.records import DeadLetter, Document, Source, Tagged
from groundswell.running import books
from models.scripted import ScriptedModel
from stream.tag import FRESH_MS, PIECE_RECORDS, TagWork
from stream.topology import DEAD_LETTERS, DOCUMENTS, TAGGED, Topology

NOW_MS = 1_770_000_000_000
TOPOLOGY = Topology("t", single=True)


@dataclass
class Message:
    offset: int
    value: bytes
    key: bytes | None = None


class Producer:
    """Notes what is sent; the broker acknowledges when `hold` is set."""

    def __init__(self) -> None:
        self.tagged: list[int] = []
        self.letters: list[DeadLetter] = []
        self.hold = asyncio.Event()
        self.hold.set()

    async def send(self, topic, value, **_where):
        if topic == TOPOLOGY.name(TAGGED):
            self.tagged.append(msgspec.json.decode(value, type=Tagged).src.offset)
        if topic == TOPOLOGY.name(DEAD_LETTERS):
            self.letters.append(msgspec.json.decode(value, type=DeadLetter))
        return asyncio.ensure_future(self.hold.wait())


class Model(ScriptedModel):
    """Scripted; it notes what it is asked, and fails on a text once for each `failures` left."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[int, bool, str]] = []
        self.failures = 0

    async def tag(self, texts, *, partition=0, fresh=True):
        self.asked.append((partition, fresh, texts[0].text))
        if self.failures and any("number 150" in text.text for text in texts):
            self.failures -= 1
            raise ModelAway
        return await super().tag(texts)


def records(count, start=0, at=NOW_MS):
    return [
        Message(n, msgspec.json.encode([Document(id=f"d{n}", text=f"Notice number {n} of {n * 7919}", author=f"a{n}",
                                                 published_at=at, ingested_at=at)]))
        for n in range(start, start + count)
    ]  # fmt: skip


@pytest.fixture
async def redis():
    client = fakeredis.FakeAsyncRedis()
    yield client
    await client.aclose()


@pytest.fixture
def model():
    return Model()


@pytest.fixture
def producer():
    return Producer()


@pytest.fixture
def work(redis, producer, model):
    return TagWork(TOPOLOGY, redis, producer, model, ManualClock(NOW_MS))


async def kept(redis):
    return await books.resume(redis, Keys("t").books("tag", TOPOLOGY.name(DOCUMENTS), 0), 10**9)


async def test_rows_of_all_pieces_leave_in_offset_order_and_are_counted_once(work, redis, producer):
    assert await work.process(0, records(3 * PIECE_RECORDS + 5)) == 3 * PIECE_RECORDS + 5
    assert producer.tagged == list(range(3 * PIECE_RECORDS + 5))
    counts = await kept(redis)
    assert (counts.read, counts.applied, counts.balanced) == (197, 197, True)
    assert work.in_flight == 0


async def test_the_model_reads_on_while_the_broker_has_not_acknowledged(work, producer, model):
    producer.hold.clear()
    running = asyncio.create_task(work.process(0, records(10 * PIECE_RECORDS)))
    for _ in range(400):
        await asyncio.sleep(0)
    assert producer.tagged == list(range(PIECE_RECORDS))
    assert len(model.asked) == 3
    assert work.in_flight == 3 * PIECE_RECORDS
    producer.hold.set()
    assert await running == 10 * PIECE_RECORDS
    assert producer.tagged == list(range(10 * PIECE_RECORDS))


class ForgetfulRedis(fakeredis.FakeAsyncRedis):
    """Fails the claims of some batch once."""

    failing: ClassVar[set[int]] = set()
    asked = 0

    def pipeline(self, *args, **kwargs):
        found = super().pipeline(*args, **kwargs)
        claims = found.hsetnx

        def hsetnx(name, *field):
            if ":c:" in name:
                ForgetfulRedis.asked += 1
                if ForgetfulRedis.asked in self.failing:
                    raise RedisError("gone")
            return claims(name, *field)

        found.hsetnx = hsetnx
        return found


async def test_a_piece_claims_nothing_after_the_one_before_it_failed(producer, model):
    """Else a copy would be claimed before its original, and be taken for it."""
    redis = ForgetfulRedis()
    ForgetfulRedis.failing, ForgetfulRedis.asked = {PIECE_RECORDS + 1}, 0
    work = TagWork(TOPOLOGY, redis, producer, model, ManualClock(NOW_MS))
    producer.hold.clear()  # the first piece is being written: nobody looks at the second one yet
    running = asyncio.create_task(work.process(0, records(3 * PIECE_RECORDS)))
    for _ in range(2_000):
        await asyncio.sleep(0)
    claimed = sum([await redis.hlen(key) async for key in redis.scan_iter(match="t:c:*")])
    producer.hold.set()
    with pytest.raises(RedisAway):
        await running
    assert claimed == PIECE_RECORDS
    assert await work.process(0, records(3 * PIECE_RECORDS)) == 3 * PIECE_RECORDS
    assert producer.tagged == list(range(3 * PIECE_RECORDS))
    await redis.aclose()


async def test_what_was_written_before_the_model_went_away_is_not_written_again(work, redis, producer, model):
    model.failures = 2
    batch = records(4 * PIECE_RECORDS)
    for _ in range(2):
        with pytest.raises(ModelAway):
            await work.process(0, batch)
        assert work.in_flight == 0
    assert await work.process(0, batch) == 4 * PIECE_RECORDS
    assert producer.tagged == list(range(4 * PIECE_RECORDS))
    counts = await kept(redis)
    assert (counts.read, counts.applied, counts.balanced) == (4 * PIECE_RECORDS, 4 * PIECE_RECORDS, True)


async def test_a_partition_taken_up_anew_is_written_again_from_where_it_is_read(work, producer):
    await work.process(0, records(10))
    await work.assigned(0)
    await work.process(0, records(4, start=6))
    assert producer.tagged == [*range(10), *range(6, 10)]


async def test_a_batch_that_is_stopped_leaves_nothing_running(work, producer):
    producer.hold.clear()
    running = asyncio.create_task(work.process(0, records(5 * PIECE_RECORDS)))
    for _ in range(400):
        await asyncio.sleep(0)
    assert work.in_flight == 3 * PIECE_RECORDS
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert work.in_flight == 0
    assert not [task for task in asyncio.all_tasks() if "_answered" in repr(task)]


async def test_the_model_is_told_the_partition_and_whether_its_first_document_is_of_now(work, model):
    await work.process(3, records(1))
    await work.process(4, records(1, start=50, at=NOW_MS - FRESH_MS - 1))
    assert [(partition, fresh) for partition, fresh, _ in model.asked] == [(3, True), (4, False)]


async def test_a_record_refused_counts_once_when_it_is_sent_again_and_not_before(work, redis, producer):
    array = msgspec.json.decode(records(1)[0].value) + msgspec.json.decode(records(1, start=1)[0].value)
    bad = Message(2, b" " + msgspec.json.encode(array) + b"\n", key=b"feed")
    await work._claimed(0, [bad])  # as far as it came before it failed
    assert await work.refuse(0, bad, Poison("it fails")) == 3
    (letter,) = producer.letters
    assert (letter.reason, letter.payload, letter.key, letter.src) == ("poison", bad.value, b"feed", Source(0, 2))
    counts = await kept(redis)
    assert (counts.read, counts.dead_lettered, counts.balanced) == (2, 2, True)
    for offset in (7, 8):
        await work.process(0, [Message(offset, letter.payload, letter.key)])
    assert producer.tagged == [7, 7]
    counts = await kept(redis)
    assert (counts.read, counts.applied, counts.duplicate, counts.dead_lettered, counts.balanced) == (6, 2, 2, 2, True)


async def test_a_record_that_nobody_can_read_is_refused_as_one(work, redis, producer):
    await work.refuse(0, Message(0, b"\xff"), Poison("it kills"))
    assert [letter.payload for letter in producer.letters] == [b"\xff"]
    assert (await kept(redis)).dead_lettered == 1


async def test_a_document_that_kills_the_model_counts_once_when_it_is_sent_again(work, redis, producer, model):
    async def crash(texts, **_where):
        return [None for _ in texts]

    said, model.tag = model.tag, crash
    await work.process(0, [Message(0, records(1)[0].value, key=b"feed")])
    model.tag = said
    (letter,) = producer.letters
    assert (letter.reason, letter.key) == ("model_crash", b"feed")
    for offset in (1, 2):
        await work.process(0, [Message(offset, letter.payload, letter.key)])
    counts = await kept(redis)
    assert (counts.read, counts.applied, counts.duplicate, counts.dead_lettered) == (3, 1, 1, 1)


async def test_what_the_model_said_stands_until_it_is_committed_and_is_then_forgotten(work, redis, model):
    await work.process(0, records(20))
    asked = len(model.asked)
    again = TagWork(TOPOLOGY, redis, Producer(), model, ManualClock(NOW_MS))  # after a crash, before any commit
    await again.process(0, records(20))
    assert len(model.asked) == asked
    assert await redis.hlen(Keys("t").verdicts(0)) == 20
    await again.committed(0, 15)
    assert await redis.hlen(Keys("t").verdicts(0)) == 5
    await again.committed(0, 20)
    assert await redis.hlen(Keys("t").verdicts(0)) == 0

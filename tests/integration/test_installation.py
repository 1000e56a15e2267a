"""What the system page asks of a broker: the newest dead letters at a bounded cost, one of them sent again, and a broker that is gone."""

import asyncio
import threading
from collections.abc import Iterator

import fakeredis
import msgspec
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from groundswell.apart import apart
from groundswell.clock import ManualClock
from groundswell.commands import installation
from groundswell.commands.installation import Installation
from groundswell.errors import BrokerAway, NothingRuns
from groundswell.keys import Keys
from groundswell.running.embedded import Services
from groundswell.settings import Settings
from stream.dead_letters import shares
from stream.topology import DEAD_LETTERS, NEWS, Topology
from tests.installed import a_letter
from tests.tagged_pasts import embedded_services

TOPOLOGY = Topology(single=True)


@pytest.fixture(scope="module")
def services() -> Iterator[Services]:
    with embedded_services(TOPOLOGY.wanted()) as found:
        producer = Producer({"bootstrap.servers": found.kafka, "log_level": 0})
        for number in range(30):
            letter = a_letter(number, src=msgspec.structs.replace(a_letter(number).src, partition=0))
            producer.produce(TOPOLOGY.name(DEAD_LETTERS), msgspec.json.encode(letter), key=letter.reason.encode())
        assert producer.flush(20) == 0
        yield found


def looking(kafka: str) -> Installation:
    settings = Settings(kafka=kafka, single_partition=True, connect_s=2.0)
    return Installation(settings, TOPOLOGY, ManualClock(1_795_300_000_000), fakeredis.FakeAsyncRedis(), Keys())


async def test_the_newest_letters_are_read_and_not_the_thousands_before_them(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(installation, "NEWEST", 10)
    newest = [one.src.offset for one in await looking(services.kafka).letters()]
    # A letter that another test has sent again is there twice on the topic, and shown once.
    assert len(newest) in (9, 10)
    assert newest == list(range(1_030 - len(newest), 1_030))


async def test_a_letter_sent_again_is_on_its_topic_byte_for_byte_and_is_marked(services: Services) -> None:
    here = looking(services.kafka)
    letter = (await here.letters())[3]
    done = await here.send_again([letter])
    assert ([one.place for one in done.sent], done.not_sent) == ([letter.place], [])
    consumer = Consumer({"bootstrap.servers": services.kafka, "group.id": "t", "log_level": 0})
    consumer.assign([TopicPartition(TOPOLOGY.name(NEWS), 0, 0)])
    message = await asyncio.to_thread(consumer.poll, 15)
    consumer.close()
    assert message is not None
    assert (message.value(), message.key()) == (letter.payload, letter.key)
    marked = next(one for one in await here.letters() if one.place == letter.place)
    assert (marked.replayed_at, marked.payload) == (1_795_300_000_000, letter.payload)


async def test_a_broker_says_how_many_it_is_and_that_no_topic_is_missing(services: Services) -> None:
    found = await looking(services.kafka).broker()
    assert (found.brokers, found.wrong) == (1, [])


async def test_a_broker_that_is_gone_is_an_error_with_a_remedy_and_none_at_all_another() -> None:
    with pytest.raises(BrokerAway):
        await looking("127.0.0.1:1").broker()
    with pytest.raises(NothingRuns):
        await looking("").letters()


def test_the_bundled_model_tells_its_calibration() -> None:
    card = looking("").model()
    errors = {one.name: (one.error, one.most) for one in card.sets}
    assert card.version.startswith("bundled-")
    assert errors["tfns"][0] <= (errors["tfns"][1] or 0)
    assert all(0 <= error <= 1 for error, _ in errors.values())


async def test_work_apart_runs_beside_this_loop_and_ends_by_its_deadline() -> None:
    async def where() -> str:
        return threading.current_thread().name

    async def forever() -> None:
        await asyncio.sleep(3_600)

    async def fails() -> None:
        raise BrokerAway

    assert await apart(where, 5) == "apart"
    with pytest.raises(TimeoutError):
        await apart(forever, 0.05)
    with pytest.raises(BrokerAway):
        await apart(fails, 5)


@given(st.lists(st.integers(0, 5_000), min_size=1, max_size=12), st.integers(1, 4_000))
def test_all_partitions_together_are_read_no_more_than_asked_and_no_less_than_there_is(
    sizes: list[int], newest: int
) -> None:
    partitions = dict(enumerate(sizes))
    taken = shares(partitions, newest)  # type: ignore[arg-type, type-var]
    assert sum(taken.values()) == min(newest, sum(sizes))
    assert all(0 <= taken[number] <= size for number, size in partitions.items())

"""What a rebuild asks of Kafka, on the embedded broker: which alerts were told before, whoever asks and however late."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from groundswell.clients.connect import close_producer, open_producer
from groundswell.clock import ManualClock
from groundswell.running import embedded
from groundswell.settings import Settings
from stream.generation import Generation
from stream.rebuild import KafkaPast
from stream.relay import Outgoing
from stream.topology import ALERTS, Topology
from tests.alert_events import event_bytes

TOPOLOGY = Topology(single=True)


class Installation:
    """A broker, the past that it remembers, and what that past has listed for the pages."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.clock, self.listed = settings, ManualClock(), []
        self.past = KafkaPast(settings, TOPOLOGY, "only", self.clock, self._list)

    async def _list(self, one: Outgoing) -> None:
        self.listed.append(one.event.id)

    async def tell(self, value: bytes) -> None:
        producer = await open_producer(self.settings)
        await producer.send_and_wait(TOPOLOGY.name(ALERTS), value)
        await close_producer(producer)


@pytest.fixture
async def here() -> AsyncIterator[Installation]:
    services = await embedded.start(TOPOLOGY.wanted())
    try:
        yield Installation(
            Settings(kafka=services.services.kafka, redis=services.services.redis, single_partition=True)
        )
    finally:
        await services.stop()


async def test_who_ends_last_still_knows_what_was_told_when_all_others_have_ended(here: Installation) -> None:
    """It had its plan while it was taken up, so nobody saw that it was still to be counted; its alerts would have gone out twice."""
    await here.tell(event_bytes())
    generation = Generation(id="after-the-loss")
    await asyncio.gather(*(here.past.plan(0, generation, None, None) for _ in range(2)))
    assert await here.past.told() == {"gw_harbour_1"}
    here.past.forget()
    assert await here.past.told() == {"gw_harbour_1"}
    await here.tell(event_bytes("alert.resolved", 2))
    here.clock.advance(60)
    assert await here.past.told() == {"gw_harbour_1", "gw_harbour_2"}
    assert here.listed == ["gw_harbour_1", "gw_harbour_2"], "each once, also for the pages"


async def test_another_loss_reads_all_of_it_again(here: Installation) -> None:
    await here.tell(event_bytes())
    await here.past.plan(0, Generation(id="first"), None, None)
    await here.past.told()
    here.past.forget()
    await here.past.plan(0, Generation(id="second"), None, None)
    assert await here.past.told() == {"gw_harbour_1"}
    assert here.listed == ["gw_harbour_1"] * 2, "Redis had lost them"

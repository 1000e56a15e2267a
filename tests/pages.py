"""A running set of pages for tests: over a fake Redis that is filled, with a pen that notes what is written."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import fakeredis
import httpx

from alerts.guard import LookUps
from alerts.people.desk import Desk
from dashboard.app import make_app
from dashboard.control.pen import Pen
from dashboard.live import Hub
from dashboard.parts import Parts
from dashboard.words import Words
from groundswell.clock import ManualClock
from groundswell.commands.tuning import tuning
from groundswell.control import ControlView
from groundswell.errors import BrokerAway
from groundswell.keys import Keys
from groundswell.records import ControlObject
from groundswell.secrets import new_key
from groundswell.settings import Settings
from groundswell.shown import Shown
from stream.topology import SCORED, Topology
from tests import believable

NOW = 1_795_300_020_000
KEYS = Keys()
TOPOLOGY = Topology()
JSON = {"Content-Type": "application/json"}


class Sent:
    """Where a partition and an offset would come from."""

    def __init__(self, topic: str) -> None:
        self.topic, self.partition, self.offset = topic, 3, 41


class FakePen(Pen):
    """Everything but the broker."""

    def __init__(self) -> None:
        super().__init__(Settings(), TOPOLOGY, ManualClock(NOW))
        self.sent: list[tuple[str, bytes | None, bytes]] = []
        self.written: list[ControlObject | str] = []  # an id alone: erased
        self.away = False

    async def _send(self, topic: Any, key: bytes | None, value: bytes) -> Any:
        if self.away:
            raise BrokerAway
        self.sent.append((topic.name, key, value))
        return Sent(TOPOLOGY.name(topic))

    async def write(self, thing: ControlObject) -> None:
        if self.away:
            raise BrokerAway
        self.written.append(thing)

    async def erase(self, object_id: str) -> None:
        self.written.append(object_id)


class Site:
    """A running set of pages over a filled fake Redis."""

    def __init__(self, **changes: Any) -> None:
        server = fakeredis.FakeServer()
        self.writer = fakeredis.FakeRedis(server=server)
        self.server = server
        self.redis = fakeredis.FakeAsyncRedis(server=server)
        self.clock = ManualClock(NOW)
        self.hub = Hub(Shown(self.redis, KEYS, TOPOLOGY.partitions(SCORED)), self.clock)
        self.pen = FakePen()
        self.view, settings = (
            ControlView(),
            Settings(secret_key=new_key(), deliver_allow=["hooks.bank:9000"], deliver_http=True, **changes),
        )
        desk = Desk(settings, self.clock, self.view, self.pen, self.redis, KEYS, look_ups=LookUps(public))
        made = tuning(settings, TOPOLOGY, self.clock, self.view, self.pen, self.redis, KEYS)
        self.parts = Parts(
            settings,
            TOPOLOGY,
            self.clock,
            KEYS,
            self.redis,
            self.hub,
            self.pen,
            Words(),
            desk,
            self.view,
            tuning=made,
        )
        self.app = make_app(self.parts)
        self.http = self.from_address("127.0.0.1")

    def from_address(self, address: str) -> httpx.AsyncClient:
        """A client that comes from there."""
        transport = httpx.ASGITransport(app=self.app, client=(address, 40_000))
        return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080")


def public(_: str, port: int) -> list[Any]:
    """Every name has an address that is not ours."""
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.216.34", port))]


@asynccontextmanager
async def open_site(hours: int = 4, **changes: Any) -> AsyncIterator[Site]:
    """`changes` are settings."""
    one = Site(**changes)
    believable.fill(one.writer, KEYS, TOPOLOGY, NOW, hours=hours)
    await one.hub.tick()
    try:
        yield one
    finally:
        await one.http.aclose()
        await one.redis.aclose()
        one.writer.close()

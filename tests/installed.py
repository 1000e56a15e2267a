"""Pages that know a whole installation: books and beats in the fake Redis, a broker, a model and dead letters that a test decides on.

`Installed` is for requests, `Served` puts the same pages on a port for a browser.
"""

import asyncio
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec
import uvicorn

from dashboard.app import Server, make_app
from dashboard.health.installation import Broker, Figures, ModelCard, Resent
from groundswell.errors import BrokerAway
from groundswell.keys import Keys
from groundswell.records import DeadLetter, Source
from groundswell.running.beat import Beat
from groundswell.running.books import NEWEST, Counts
from groundswell.running.health import Finding
from tests import pages
from tests.pages import KEYS, NOW

STAGES = ("ingest", "tag", "aggregate", "deliver", "dashboard")


def a_letter(number: int, reason: str = "bad_time", **changes: Any) -> DeadLetter:
    """One of the letters that ingest leaves, a second apart."""
    made = DeadLetter(
        reason=reason, stage="ingest", message=f"published_at 'yesterday {number}' is no time.", remedy="Send a zone.",
        topic="groundswell.news.v1", src=Source(3, 1_000 + number, 0), at=NOW - 60_000 + number * 1_000,
        payload=b'{"text":"Port strike %d","published_at":"yesterday"}' % number, key=b"wire",
    )  # fmt: skip
    return msgspec.structs.replace(made, **changes)


class FakeInstallation:
    """What a test says is what there is. `away`: no broker answers."""

    def __init__(self) -> None:
        self.away = False
        self.wrong: list[Finding] = []
        self.kept: list[DeadLetter] = []
        self.sent: list[DeadLetter] = []
        self.reads = 0
        self.books = Counts(read=7, applied=7)
        self.card = ModelCard(
            name="bundled",
            version="bundled-1",
            sets=[
                Figures(name="tfns", texts=2_388, accuracy=0.849, error=0.027, most=0.03, sure=0.939, unsure=0.268, unseen=False),
                Figures(name="finfe", texts=1_198, accuracy=0.636, error=0.151, most=0.06, sure=0.703, unsure=0.336, unseen=True),
                Figures(name="own-zh", texts=1_083, accuracy=0.811, error=0.027, most=None, sure=0.887, unsure=0.224, unseen=False),
            ],
        )  # fmt: skip

    async def broker(self) -> Broker:
        self._there()
        return Broker(brokers=3, cluster="q1Sh-9_RSQ", wrong=self.wrong)

    async def delivered(self) -> Counts:
        return self.books

    def model(self) -> ModelCard:
        return self.card

    async def letters(self) -> list[DeadLetter]:
        self._there()
        self.reads += 1
        return sorted(self.kept, key=lambda one: one.at)

    async def send_again(self, letters: Sequence[DeadLetter]) -> Resent:
        self._there()
        places = {one.place for one in letters if one.payload}
        self.sent += [one for one in letters if one.place in places]
        self.kept = [msgspec.structs.replace(one, replayed_at=NOW) if one.place in places else one for one in self.kept]
        lost = [
            (one, "The letter holds only the beginning. Push it again.") for one in letters if one.place not in places
        ]
        return Resent(sent=[one for one in letters if one.place in places], not_sent=lost)

    def _there(self) -> None:
        if self.away:
            raise BrokerAway("No Kafka broker answers at kafka:9092.")


class Installed(pages.Site):
    """A site whose parts know the fake installation."""

    def __init__(self, **changes: Any) -> None:
        super().__init__(**changes)
        self.installation = FakeInstallation()
        self.parts = replace(self.parts, installation=self.installation)
        self.app = make_app(self.parts)
        self.http = self.from_address("127.0.0.1")

    def beats(self, *but: str, **of_each: dict[str, Any]) -> None:
        """Every stage lives, `but` those; `of_each` has fields of one stage's beat."""
        for stage in STAGES:
            key = KEYS.beat(stage, "1")
            self.writer.sadd(KEYS.beats, key)
            if stage in but:
                self.writer.delete(key)
                continue
            fields: dict[str, Any] = {"model": "bundled-1"} if stage == "tag" else {}
            beat = Beat(stage=stage, instance="1", pid=100, at=NOW, **(fields | of_each.get(stage, {})))
            self.writer.set(key, msgspec.json.encode(beat))

    def books(self, stage: str, counts: Counts) -> None:
        """What a stage says of its only partition; aggregate's are in its state."""
        raw = msgspec.json.encode(counts)
        if stage == "aggregate":
            self.writer.hset(KEYS.state(0), "books", raw)
            return
        key = KEYS.books(stage, "topic", 0)
        self.writer.hset(key, NEWEST, raw)
        self.writer.sadd(f"{Keys().namespace}:books", key)

    def counted(self, documents: int, refused: int = 0) -> None:
        """Balanced books of a road that has counted so many documents."""
        good = documents - refused
        self.books("ingest", Counts(read=documents, applied=good, dead_lettered=refused, emitted=good))
        self.books("tag", Counts(read=good, applied=good, emitted=2 * good))
        self.books("aggregate", Counts(read=2 * good, applied=2 * good))


class Served(Installed):
    """The same on a port, in a thread of its own; `stop` it."""

    def __init__(self, **changes: Any) -> None:
        super().__init__(**changes)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._server: Server | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._thread.start()
        deadline = time.monotonic() + 10
        while (self._server is None or not self._server.started) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert self._server is not None, "the pages did not open within 10 s"

    async def _serve(self) -> None:
        self._server = Server(self.hub, uvicorn.Config(self.app, log_config=None, access_log=False, lifespan="off"))
        await self._server.serve(sockets=[self._listener])

    def stop(self) -> None:
        assert self._server is not None
        self._server.should_exit = True
        self._thread.join(10)
        assert not self._thread.is_alive(), "the pages did not end within 10 s"

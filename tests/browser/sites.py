"""Pages on a port for a reader: over a real Redis (`Site`), or over a fake one with a pen that notes what is written (the others).

tests/installed.py has `Served`, what those others are made of; tests/believable.py the invented day that they show.
"""

import asyncio
import contextlib
import socket
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import redis as redis_client

from alerts.people.desk import Desk
from dashboard.app import run
from groundswell.clock import SystemClock
from groundswell.records import LiveRow, RuleSet, Silence, Watchlist
from groundswell.settings import Settings
from stream.past.previews import Previews
from stream.rulebook.rule_watch import Kept, Match
from tests import believable
from tests.installed import Served, a_letter
from tests.pages import KEYS, NOW, TOPOLOGY

CHILD = Path(__file__).with_name("played_past.py")
LOUD: dict[str, Any] = {
    "id": "loud", "name": {"en": "Loud", "zh": "声量异常"}, "subjects": ["XNAS:*"],
    "all": [{"metric": "count", "window": "15m", "threshold": 10}],
}  # fmt: skip


class Site:
    """The dashboard in a thread, its address, and the Redis that a test writes to."""

    def __init__(self, url: str) -> None:
        self.redis = redis_client.Redis.from_url(url)
        self.now = int(time.time() * 1000)
        self.rows: list[LiveRow] = []
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        self._settings = Settings(redis=url, port=self.port)
        self.start()

    def start(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 0.2):
                return
            time.sleep(0.05)
        pytest.fail("The pages did not open within 10 s.")

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(
            run(
                self._settings,
                TOPOLOGY,
                SystemClock(),
                self._stop,
                make_desk=partial(Desk, self._settings, SystemClock()),
            )
        )
        self._loop.close()

    def stop(self) -> float:
        """Seconds that it took to end."""
        began = time.monotonic()
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        assert not self._thread.is_alive(), "the pages did not end within 10 s"
        return time.monotonic() - began

    def fill(self) -> None:
        self.rows = believable.fill(self.redis, KEYS, TOPOLOGY, self.now, hours=26)

    def show(self, changed: LiveRow) -> None:
        self.rows = [changed if row.subject == changed.subject else row for row in self.rows]
        pipeline = self.redis.pipeline()
        believable.write_rows(pipeline, KEYS, TOPOLOGY, self.rows)
        pipeline.execute()

    def show_alert(self, **changes: Any) -> None:
        pipeline = self.redis.pipeline()
        believable.write_alert(pipeline, KEYS, believable.alert(self.now, **changes))
        pipeline.execute()


class Lively(Served):
    """Pages whose hub looks each second, and where what is written is known at once."""

    async def _serve(self) -> None:
        believable.fill(self.writer, KEYS, TOPOLOGY, NOW, hours=1)
        self.hub._acks = lambda: dict(self.view.acks)
        write = self.pen.write

        async def known(thing: Any) -> None:
            await write(thing)
            self.view.apply(thing.id, msgspec.json.encode(thing))

        self.pen.write = known  # type: ignore[method-assign]
        looking = asyncio.create_task(self.hub.run())
        await super()._serve()
        looking.cancel()


class Tuned(Served):
    """Rules and lists are there; a preview is played by a program that says what it would have found."""

    def __init__(self) -> None:
        super().__init__()
        made = self.parts.tuning
        assert made is not None
        previews = Previews(
            self.clock, self.redis, KEYS, made.rules, made.lists,  # type: ignore[arg-type]
            command=(sys.executable, str(CHILD)), environment={},
        )  # fmt: skip
        object.__setattr__(made, "previews", previews)
        self.keep(RuleSet(id="rules_desk", rules=[LOUD], by="Lin", at=NOW - 60_000))
        self.keep(Watchlist(id="watchlist_desk", name="desk", subjects=["XTST:HLVN", "topic:*"], by="Lin", at=NOW))
        matches = {"loud": [Match(NOW - 60_000, "XTST:HLVN", "ep_9a41")]}
        self.writer.set(KEYS.rules(1), msgspec.json.encode(Kept(matches=matches)))

    async def _serve(self) -> None:
        believable.fill(self.writer, KEYS, TOPOLOGY, NOW, hours=1)
        await self.hub.tick()
        await super()._serve()

    def keep(self, thing: Any) -> None:
        self.view.apply(thing.id, msgspec.json.encode(thing))


class Worked(Tuned):
    """An installation that people have worked with: a silence and an endpoint beside them, letters that were refused."""

    def __init__(self) -> None:
        super().__init__()
        self.beats("deliver")
        self.counted(1_000, refused=12)
        self.installation.kept = [a_letter(one) for one in range(3)]
        self.keep(
            Silence(id="silence_1", subjects=["XTST:QILN"], until=NOW + 3_600_000, by="Lin", at=NOW, reason="known")
        )
        endpoint = {"url": "https://example.com/hook", "name": "Risk desk"}
        assert httpx.post(f"{self.address}/api/v1/endpoints", json=endpoint).status_code == 201
        for thing in self.pen.written:
            self.keep(thing)

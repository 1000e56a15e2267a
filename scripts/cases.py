"""The three cases of docs/cases.md, played through the running program: `make cases` prints what they quote and takes their pictures.

A false rumour, a real default, and a Monday opening that is no alert. case_pasts.py has what is said; the same seed gives the same
alerts with the same ids. tests/acceptance/test_cases.py plays them too. `--write FOLDER` writes the pasts, for `groundswell replay`.
"""
# ruff: noqa: INP001 - a script that is run, not a package

import asyncio
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from case_pasts import (
    DAIRY,
    DEFAULT,
    ESTATES,
    NIGHT,
    OPENING,
    POSTED_MIN,
    RUMOUR,
    SOLAR,
    TRUSTED,
    Document,
    pasts,
    write,
)  # fmt: skip
from msgspec import structs

from alerts import lanes
from alerts.people import endpoints
from alerts.people.desk import Desk
from alerts.receiver import Receiver
from dashboard import app
from dashboard.subjects import history
from groundswell import alert_views
from groundswell.clients.connect import close_producer, open_producer
from groundswell.clock import SystemClock
from groundswell.commands import why
from groundswell.commands.installation import Installation
from groundswell.commands.stack import Stack, stack
from groundswell.commands.tuning import tuning
from groundswell.commands.why_words import sentences
from groundswell.keys import Keys
from groundswell.pusher import Pusher
from groundswell.running.accounting import account
from groundswell.settings import Settings
from stream.detection import lines
from stream.names.directory import directory_of
from stream.topology import COMMENTS, SCORED

READING, COUNTING = ("ingest", "tag"), ("aggregate", "deliver")
IDLE_S = 3_600.0  # the clock of today closes nothing of then
WAIT_S = 180.0
MOST_BYTES = 150_000
MINUTE = timedelta(minutes=1)


class ThatDay(SystemClock):
    """It stands at the newest text that was played, so that pages show that moment as now."""

    at_ms = 0

    def now_ms(self) -> int:
        return self.at_ms


@dataclass
class Weekend:
    """What runs, and how far it was played."""

    stack: Stack
    receiver: Receiver
    documents: list[Document]  # oldest first
    clock: ThatDay = field(default_factory=ThatDay)
    pushed: int = 0

    async def until(self, moment: datetime) -> None:
        """Push what was said before, and wait until all of it is counted. Raises TimeoutError."""
        until = sum(datetime.fromisoformat(one["published_at"]) < moment for one in self.documents)
        producer = await open_producer(self.stack.settings)
        try:
            pusher = Pusher(producer, self.stack.topology.name(COMMENTS), b"cases")
            for document in self.documents[self.pushed : until]:
                await pusher.add(document)
            await pusher.settle()
        finally:
            await close_producer(producer)
        self.pushed = until
        self.clock.at_ms = _ms(datetime.fromisoformat(self.documents[until - 1]["published_at"]))
        await _until(self._counted, f"Not all was counted within {WAIT_S:.0f} s; the logs are in {self.stack.logs}.")

    async def _counted(self) -> bool:
        books = await account(
            self.stack.redis,
            self.keys,
            self.stack.topology.partitions(SCORED),
            await lanes.books(self.stack.redis, self.keys),
        )
        ingest, tag, aggregate = (books.stages[stage] for stage in (*READING, COUNTING[0]))
        read = ingest.read >= self.pushed and tag.read >= ingest.emitted and aggregate.read >= tag.emitted
        return read and not books.in_flight

    @property
    def keys(self) -> Keys:
        return Keys(self.stack.topology.prefix)

    async def sent(self) -> list[dict[str, Any]]:
        """All that was told so far, as the subscriber got it, signature verified. Raises TimeoutError."""

        async def delivered() -> bool:
            views = await alert_views.newest(self.stack.redis, self.keys, 100)
            told = {str(line["id"]) for view in views for line in view.timeline if "id" in line}
            waiting = await self.stack.redis.llen(self.keys.outbox(0))
            return not waiting and told <= {one.event["id"] for one in self.receiver.received}

        await _until(delivered, f"Not all was delivered within {WAIT_S:.0f} s; the logs are in {self.stack.logs}.")
        return [one.event for one in self.receiver.received if one.verified]

    async def why(self, subject: str) -> why.Answer:
        """What `groundswell why SUBJECT` answers now."""
        directory = directory_of(self.stack.settings)
        policy = lines.policy(self.stack.settings, directory, (), ())
        return await why.answer(self.stack.redis, self.stack.topology, directory, policy, subject, None)

    async def counted(self, subject: str, start: datetime, length: timedelta) -> dict[str, float]:
        """Mentions, negatives and reach of a stretch, and the negatives that were expected in it, as the page's chart has them."""
        columns = await history.series(
            self.stack.redis, self.keys, self.stack.topology.scored_partition(subject), subject,
            begin_ms=_ms(start), end_ms=_ms(start + length), step_s=60, until_ms=_ms(start + length),
        )  # fmt: skip
        said = [sum(filter(None, column)) for column in (columns.neg, columns.neu, columns.pos, columns.uns)]
        return {
            "mentions": sum(said), "negatives": said[0], "expected": round(sum(filter(None, columns.mean)), 1),
            "reach": sum(filter(None, columns.reach)),
        }  # fmt: skip


@asynccontextmanager
async def weekend(folder: Path) -> AsyncIterator[Weekend]:
    """The whole road with a subscriber, and nothing said yet. Each document arrives at its own time, as in a replay; counted and told
    is as live."""
    parts, receiver = pasts(), Receiver()
    url = await receiver.start()
    settings = Settings(
        catalogues=[str(write(folder, parts))], state_dir=str(folder), clock="event", trusted_sources=[TRUSTED], deliver_http=True,
        deliver_allow=[url.split("/")[2]],
    )  # fmt: skip
    try:
        async with (
            stack(settings, stages=READING, single=True) as reading,
            stack(
                structs.replace(reading.settings, clock="system", idle_s=IDLE_S), stages=COUNTING, single=True
            ) as found,
        ):
            await found.ready((*READING, *COUNTING))
            _, receiver.secret = await endpoints.add(found.settings, found.topology, url, "desk")
            said = [one for past in parts.values() for one in past]
            yield Weekend(found, receiver, sorted(said, key=lambda one: str(one["published_at"])))
    finally:
        await receiver.stop()


@asynccontextmanager
async def pages(played: Weekend) -> AsyncIterator[str]:
    """The address of its pages, whose clock is that of the play."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings, topology, clock, stop = (
        structs.replace(played.stack.settings, port=port),
        played.stack.topology,
        played.clock,
        asyncio.Event(),
    )
    serving = asyncio.create_task(
        app.run(
            settings, topology, clock, stop, make_desk=partial(Desk, settings, clock),
            make_installation=partial(Installation, settings, topology, clock), make_tuning=partial(tuning, settings, topology, clock),
        )
    )  # fmt: skip
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        stop.set()
        await serving


async def _until(there: Any, otherwise: str) -> None:
    end_s = time.monotonic() + WAIT_S
    while not await there():
        if time.monotonic() > end_s:
            raise TimeoutError(otherwise)
        await asyncio.sleep(0.1)


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def _view(subject: str, start: datetime, end: datetime) -> str:
    return f"/subjects/{subject}?from={_ms(start)}&to={_ms(end)}"


def take(name: str, address: str) -> None:
    """A picture in both languages, by the clock of Shanghai."""
    from pictures import chromium, shoot  # beside this file; the tests need neither
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = chromium(playwright)
        for language, locale in (("en", "en-GB"), ("zh", "zh-CN")):
            shoot(
                browser, address, f"{name}-{language}", language=locale, scheme="light", zone="Asia/Shanghai",
                ready="main h1" if "/alerts/" in address else "canvas", size={"width": 1280, "height": 900}, most_bytes=MOST_BYTES,
            )  # fmt: skip
        browser.close()


def _say(*what: object) -> None:
    print(*what, sep="\n")  # noqa: T201 - a script


async def main() -> None:
    """Plays all, stops where the documents do, says what they quote and takes their pictures."""
    if sys.argv[1:2] == ["--write"]:
        write(Path(sys.argv[2]), pasts())
        return
    hour = timedelta(hours=1)
    with tempfile.TemporaryDirectory(prefix="groundswell-cases-") as scratch:
        async with weekend(Path(scratch)) as week, pages(week) as page:

            async def picture(name: str, address: str) -> None:
                await asyncio.to_thread(take, name, page + address)

            async def asked(subject: str) -> None:
                answer = await week.why(subject)
                _say(*sentences(answer, "en"), *sentences(answer, "zh"))

            await week.until(RUMOUR + 18 * MINUTE)
            await asked(DAIRY)
            await week.until(RUMOUR + 76 * MINUTE)
            _say(await week.counted(DAIRY, RUMOUR, hour))
            await picture("case-rumour", _view(DAIRY, RUMOUR - hour, RUMOUR + 76 * MINUTE))

            await week.until(OPENING + 30 * MINUTE)
            await asked(SOLAR)
            await week.until(OPENING + POSTED_MIN * MINUTE)
            for start in (NIGHT - hour, NIGHT, OPENING - 6 * hour, OPENING - hour, OPENING):
                _say(start, await week.counted(SOLAR, start, hour))
            await picture("case-opening", _view(SOLAR, NIGHT - 15 * hour, OPENING + hour))

            await week.until(DEFAULT - 2 * MINUTE)
            await asked(ESTATES)
            _say(await week.counted(ESTATES, DEFAULT - 30 * hour, 30 * hour))
            await week.until(DEFAULT + 24 * MINUTE)
            told = [event["data"] for event in await week.sent()]
            episode = next(
                one["episode_id"]
                for one in told
                if one["subject"]["id"] == ESTATES and one["rule"]["id"] == "negative-surge"
            )
            await picture("case-default-alert", f"/alerts/{episode}")
            await week.until(DEFAULT + 130 * MINUTE)
            await picture("case-default", _view(ESTATES, DEFAULT - hour, DEFAULT + 130 * MINUTE))
            for event in await week.sent():
                data = event["data"]
                _say(
                    f"{event['type']} {data['rule']['id']} {data['severity']} {data['episode_id']}",
                    data["summary"]["en"],
                    data["summary"]["zh"],
                )
                _say(
                    f"   {data['started_at']} {data['detected_at']} {data['resolved_at']} {data['observed']} {data['expected']}"
                )


if __name__ == "__main__":
    asyncio.run(main())

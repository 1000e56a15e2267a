"""Back-test, shadow and import-history as commands beside a running aggregate, on real Kafka and Redis."""

import asyncio
import random
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
import pytest

from groundswell import times
from groundswell.clients.connect import acknowledged, close_producer, open_producer, open_redis
from groundswell.keys import HOUR_MS, MINUTE_MS, Keys
from groundswell.records import AlertEvent, Row, ScoredBatch, ScoredDocument
from stream.baselines import Baseline, History
from stream.topology import ALERTS, BASELINES, SCORED
from tests.stages import Site, site, until

LOUD, FAINT, NEW = "XNAS:AAPL", "XNAS:MSFT", "XNYS:BAC"
MINUTES = 420
START_MS = time.time_ns() // 1_000_000 // MINUTE_MS * MINUTE_MS - (MINUTES + 20) * MINUTE_MS


@pytest.fixture
async def here(kafka_address: str, redis_url: str, topic_prefix: str, tmp_path: Path) -> Site:
    return await site(kafka_address, redis_url, topic_prefix, tmp_path, single_partition=False, idle_s=1.0)


def talk(subject: str, surge: range, a_minute: int) -> list[ScoredDocument]:
    chance, found = random.Random(subject), []
    for minute in range(MINUTES):
        heavy = minute in surge
        for _ in range(a_minute if heavy else int(chance.random() < 0.3)):
            at_ms = START_MS + minute * MINUTE_MS + chance.randrange(60_000)
            found.append(said(subject, at_ms, len(found), negative=heavy or chance.random() < 0.4))
    return sorted(found, key=lambda one: one.published_at)


def said(subject: str, at_ms: int, number: int, *, negative: bool) -> ScoredDocument:
    return ScoredDocument(
        index=0, id=f"{subject}{at_ms}-{number}", story=f"s{at_ms}-{number}", published_at=at_ms, ingested_at=at_ms + 500,
        author=f"a{number}",
        source=f"w{number % 3}", excerpt=f"words {number}", rows=(Row(subject, "negative" if negative else "neutral", 0.9),),
    )  # fmt: skip


async def push(here: Site, documents: Sequence[ScoredDocument], offset: int = 0) -> None:
    producer = await open_producer(here.settings)
    try:
        name = here.topology.name(SCORED)
        await acknowledged([
            await producer.send(
                name, msgspec.json.encode(ScoredBatch(partition=0, offset=offset + i, documents=[one])),
                partition=here.topology.scored_partition(one.rows[0].subject),
            )
            for i, one in enumerate(documents)
        ])  # fmt: skip
    finally:
        await close_producer(producer)


async def command(here: Site, *arguments: str) -> bytes:
    """Standard output of `groundswell ARGUMENTS --json`."""
    return await ended(await begin(here, *arguments))


async def begin(here: Site, *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "groundswell", *arguments, "--json", cwd=here.logs, stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=here.environment(),
    )  # fmt: skip


async def ended(process: asyncio.subprocess.Process) -> bytes:
    """What it said that nobody has read yet, once it has ended well."""
    out, err = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode == 0, err.decode()
    return out


async def offsets(here: Site) -> tuple[bytes | None, int, int]:
    """What somebody who meddles would change: the generation, and what is on the topics that aggregate writes."""
    client = await open_redis(here.settings)
    try:
        generation = await client.get(Keys(here.topology.prefix).generation)
    finally:
        await client.aclose()
    histories = [one for one in await here.values(BASELINES, Baseline) if isinstance(one, History)]
    return generation, len(histories), len(await here.read(ALERTS))


async def told(here: Site) -> list[AlertEvent]:
    return await here.values(ALERTS, AlertEvent)


async def test_what_an_installation_has_told_is_what_a_backtest_of_it_finds(here: Site) -> None:
    documents = talk(LOUD, range(300, 310), 9) + talk(FAINT, range(350, 362), 2)
    await push(here, sorted(documents, key=lambda one: one.published_at))
    async with here.stage("aggregate"):
        await here.until_read("aggregate", len(documents))

        async def resolved() -> bool:
            return any(one.type == "alert.resolved" for one in await told(here))

        await until(resolved, "the surge to be over")
        live = {one.data.episode_id for one in await told(here)}
        before = await offsets(here)
        found = msgspec.json.decode(await command(here, "backtest", "--from", times.rfc3339(START_MS)))
        assert {one["id"] for one in found["settings"][0]["episodes"]} == live
        keen = msgspec.json.decode(
            await command(here, "backtest", "--from", times.rfc3339(START_MS), "--sensitivity", "900", "--against", "0.001",
                          "--subject", FAINT)
        )  # fmt: skip
        assert keen["subjects"] == 1
        assert [one["fired"] for one in keen["settings"]] == [1, 0]
        assert await offsets(here) == before, "it only reads"


async def test_a_shadow_lists_what_another_sensitivity_would_have_told(here: Site) -> None:
    documents = talk(FAINT, range(0), 0)
    await push(here, documents)
    async with here.stage("aggregate"), AsyncExitStack() as at_the_end:
        await here.until_read("aggregate", len(documents))
        shadow = await begin(here, "shadow", "--sensitivity", "900")
        at_the_end.callback(lambda: shadow.kill() if shadow.returncode is None else None)
        assert shadow.stderr is not None
        begun = await asyncio.wait_for(shadow.stderr.readline(), 60)  # what comes before is nobody's
        assert b"runs beside" in begun
        at_ms = time.time_ns() // 1_000_000
        # In one minute, which is still open: what lies in two may wait for the end of the second.
        faint = [said(FAINT, at_ms + i, 1_000 + i, negative=True) for i in range(9)]
        await push(here, faint, len(documents))
        assert shadow.stdout is not None
        line = await asyncio.wait_for(shadow.stdout.readline(), 120)
        shadow.terminate()
        *lines, end = [msgspec.json.decode(one) for one in (line + await ended(shadow)).splitlines()]
        assert [one["subject"] for one in end["at_the_end"]["only_shadow"]] == [FAINT]
        assert [one["subject"] for one in lines] == [FAINT]
        assert end["at_the_end"]["only_live"] == []
        assert await told(here) == []


async def test_an_imported_history_ends_the_learning_and_is_taken_once(here: Site, tmp_path: Path) -> None:
    documents = talk(LOUD, range(0), 0)
    await push(here, documents)
    file, chance = tmp_path / "counts.csv", random.Random(1)
    hours = [START_MS // HOUR_MS * HOUR_MS - hour * HOUR_MS for hour in range(1, 72)]
    lines = [f"{subject},{times.rfc3339(at_ms)},{chance.randrange(9)},{9 + chance.randrange(9)}"
             for subject in (LOUD, NEW) for at_ms in hours]  # fmt: skip
    file.write_text("\n".join(["subject,hour,negative,mentions", *lines]))
    async with here.stage("aggregate"):
        await here.until_read("aggregate", len(documents))
        before = await offsets(here)
        dry = msgspec.json.decode(await command(here, "import-history", str(file), "--dry-run"))
        assert dry["changed"] == 2
        assert await offsets(here) == before, "nothing was changed yet"
        done = msgspec.json.decode(await command(here, "import-history", str(file)))
        assert done["complete"]
        named = {one["subject"]: one for one in done["subjects"]}
        assert named[NEW]["before"] == "not known"
        assert named[NEW]["now"].startswith("knows ")
        assert named[LOUD]["now"].startswith("knows 3.")
        counted = await here.until_read("aggregate", len(documents))
        assert counted.applied == len(documents)
        again = msgspec.json.decode(await command(here, "import-history", str(file)))
        assert again["changed"] == 0
        assert await told(here) == []

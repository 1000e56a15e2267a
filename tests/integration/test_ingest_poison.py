"""Messages that `groundswell ingest` cannot bear, on real Kafka: each becomes a dead letter and its neighbours count, once.

A message that kills is only believed to be the cause after three processes have died of it, and each takes seconds to start.
"""

import asyncio
import json
import sys
from pathlib import Path

import pytest

from groundswell.clock import SystemClock
from groundswell.records import DeadLetter, Document, Source
from stream.dead_letters import read, send_again
from stream.topology import DEAD_LETTERS, DOCUMENTS, NEWS
from tests import stages
from tests.stages import Site, site

POISONED = Path(__file__).with_name("poisoned_ingest.py")
COUNT = 400


@pytest.fixture
async def here(kafka_address: str, redis_url: str, topic_prefix: str, tmp_path: Path) -> Site:
    return await site(kafka_address, redis_url, topic_prefix, tmp_path)


def said(number: int, word: str = "") -> bytes:
    return json.dumps({"id": f"d{number}", "text": f"Notice {number} of the harbour {word}", "source": "Wire"}).encode()


async def lives(here: Site, documents: int, **environment: str) -> int:
    """Start ingest again whenever it ends, until it has read so many; how often it was started."""
    started = 0

    async def keep() -> None:
        nonlocal started
        with (here.logs / "poisoned.log").open("ab") as output:
            while True:
                process = await asyncio.create_subprocess_exec(
                    sys.executable, str(POISONED), cwd=here.logs, stdout=output, stderr=output,
                    env=here.environment() | {"PYTHONPATH": str(POISONED.parents[2])} | environment,
                )  # fmt: skip
                started += 1
                try:
                    await process.wait()
                except asyncio.CancelledError:
                    process.kill()
                    await process.wait()
                    raise

    keeping = asyncio.create_task(keep())
    try:
        await here.until_read("ingest", documents)
        await asyncio.sleep(2.5)  # until it is committed
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
    return started


async def ids(here: Site) -> set[str]:
    return {one.id for documents in await here.values(DOCUMENTS, list[Document]) for one in documents}


async def test_messages_that_raise_or_kill_are_refused_and_all_others_go_through(here: Site) -> None:
    words = {17: "raises", 18: "raises", 160: "kills", 350: "raises"}
    await here.push(NEWS, [said(number, words.get(number, "")) for number in range(COUNT)], key=b"feed")
    started = await lives(here, COUNT)
    assert started == 4, "a text that kills may do so three times"
    counts = (await here.books()).stages["ingest"]
    assert (counts.read, counts.applied, counts.dead_lettered, counts.balanced) == (COUNT, COUNT - 4, 4, True)
    letters = {letter.src: letter for letter in await here.values(DEAD_LETTERS, DeadLetter)}
    assert {src.offset: (one.reason, one.payload, one.key) for src, one in letters.items()} == {
        number: ("poison", said(number, word), b"feed") for number, word in words.items()
    }
    assert "ended 3 times at this record" in letters[Source(0, 160)].message
    assert await ids(here) == {f"d{n}" for n in range(COUNT) if n not in words}

    # Mended: sent again, each goes through.
    await send_again(
        here.settings, here.topology, SystemClock(), await read(here.settings, here.topology), lambda _: None
    )
    async with here.stage("ingest"):
        await here.until_read("ingest", COUNT + 4)
    assert await ids(here) == {f"d{n}" for n in range(COUNT)}


@pytest.mark.usefixtures("long_form")
async def test_a_message_on_which_it_hangs_without_giving_a_turn_to_anybody_is_refused(
    here: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages, "WAIT_S", 240.0)  # four starts, and three times the shortest `stuck_s`
    await here.push(NEWS, [said(number, "hangs" if number == 3 else "") for number in range(6)])
    started = await lives(here, 6, GROUNDSWELL_STUCK_S="10", GROUNDSWELL_DRAIN_S="0.5")
    assert started == 4
    (letter,) = {(one.src, one.reason) for one in await here.values(DEAD_LETTERS, DeadLetter)}
    assert letter == (Source(0, 3), "poison")
    said_last = (here.logs / "poisoned.log").read_text(encoding="utf-8")
    assert "Timeout" in said_last, "the watchdog says where it stood"
    assert "in take" in said_last
    assert (await here.books()).stages["ingest"].applied == 5

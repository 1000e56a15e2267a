"""Documents that `groundswell tag` cannot bear, on real Kafka: each becomes a dead letter and its neighbours count, once.

A text that kills is only believed to be the cause after several processes have died of it, and each takes seconds to start.
"""

import asyncio
import sys
from pathlib import Path

import msgspec
import pytest

from groundswell.clock import SystemClock
from groundswell.records import DeadLetter, Document, Source, Tagged
from stream.dead_letters import read, send_again
from stream.topology import DEAD_LETTERS, DOCUMENTS, TAGGED
from tests.stages import Site, site

POISONED = Path(__file__).with_name("poisoned_tag.py")
COUNT = 200
NOW_MS = 1_770_000_000_000


@pytest.fixture
async def here(kafka_address: str, redis_url: str, topic_prefix: str, tmp_path: Path) -> Site:
    return await site(kafka_address, redis_url, topic_prefix, tmp_path)


def said(number: int, word: str = "") -> bytes:
    text = f"Notice {number * 7919} of the harbour {word}"
    return msgspec.json.encode([Document(id=f"d{number}", text=text, published_at=NOW_MS, ingested_at=NOW_MS)])


async def lives(here: Site, documents: int, **environment: str) -> int:
    """Start tag again whenever it ends, until it has read so many; how often it was started."""
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
                    process.terminate()
                    await process.wait()
                    raise

    keeping = asyncio.create_task(keep())
    try:
        await here.until_read("tag", documents)
        await asyncio.sleep(1.5)  # until it is committed
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
    return started


async def test_texts_that_raise_or_kill_are_refused_and_all_others_are_tagged_and_counted_once(here: Site) -> None:
    words = {17: "raises", 18: "raises", 60: "kills", 150: "raises"}
    await here.push(DOCUMENTS, [said(number, words.get(number, "")) for number in range(COUNT)], key=b"feed")
    started = await lives(here, COUNT)
    assert started == 4, "a text that kills may do so three times"
    counts = (await here.books()).stages["tag"]
    assert (counts.read, counts.applied, counts.dead_lettered, counts.balanced) == (COUNT, COUNT - 4, 4, True)
    letters = {letter.src: letter for letter in await here.values(DEAD_LETTERS, DeadLetter)}
    assert {src.offset: (one.reason, one.payload, one.key) for src, one in letters.items()} == {
        number: ("poison", said(number, word), b"feed") for number, word in words.items()
    }
    assert "ended 3 times at this record" in letters[Source(0, 60)].message
    assert {one.id for one in await here.values(TAGGED, Tagged)} == {f"d{n}" for n in range(COUNT) if n not in words}

    # Mended: the common model bears them all. Sent again twice, each counts once.
    for _ in range(2):
        await send_again(
            here.settings, here.topology, SystemClock(), await read(here.settings, here.topology), lambda _: None
        )
    async with here.stage("tag"):
        counts = await here.until_read("tag", COUNT + 8)
    assert (counts.applied, counts.duplicate, counts.dead_lettered) == (COUNT, 4, 4)


@pytest.mark.usefixtures("long_form")
async def test_a_text_on_which_the_model_hangs_is_refused_and_the_others_go_on(here: Site) -> None:
    await here.push(DOCUMENTS, [said(number, "hangs" if number == 3 else "") for number in range(6)])
    started = await lives(here, 6, GROUNDSWELL_STUCK_S="10", GROUNDSWELL_DRAIN_S="0.5")
    assert started == 4
    (letter,) = {(one.src, one.reason) for one in await here.values(DEAD_LETTERS, DeadLetter)}
    assert letter == (Source(0, 3), "poison")
    assert "has been at offset 3 for 1" in (here.logs / "poisoned.log").read_text(encoding="utf-8")
    assert (await here.books()).stages["tag"].applied == 5

"""Dead letters on real Kafka: listed, shown byte for byte, and sent again after the cause is mended; each counts once."""

import asyncio
import base64
import json
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from groundswell import times
from groundswell.clock import SystemClock
from groundswell.records import DeadLetter, Document, Source
from stream.dead_letters import place, read, send_again
from stream.topology import DEAD_LETTERS, DOCUMENTS, NEWS
from tests.stages import Site, site


@pytest.fixture
async def here(kafka_address: str, redis_url: str, topic_prefix: str, tmp_path: Path) -> Site:
    return await site(kafka_address, redis_url, topic_prefix, tmp_path)


async def command(here: Site, *arguments: str) -> tuple[int, bytes]:
    """`groundswell dead-letters ...`: exit status and what it printed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "groundswell", "dead-letters", *arguments, cwd=here.logs, env=here.environment(),
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    printed, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, printed


async def as_json(here: Site, *arguments: str) -> Any:
    status, printed = await command(here, *arguments, "--json")
    assert status == 0
    return json.loads(printed)


async def test_what_was_refused_is_sent_again_as_it_came_and_counts_once_however_often(here: Site) -> None:
    ahead = times.rfc3339(time.time_ns() // 1_000_000 + 600_000)  # a feed whose clock runs ten minutes ahead
    early = b'{"text" : "Harbour Tin says \\u6e2f\\u6e7e", "id":"e1",  "published_at":"%s"}' % ahead.encode()
    good = b'{"text":"Harbour Tin, report 2","id":"g1"}'
    await here.push(NEWS, [b"[" + good + b", " + early + b"]", b"not json", b" " + early + b"\n"], key=b"feed")
    async with here.stage("ingest") as ingest, here.stage("tag"):
        assert (await here.until_read("ingest", 4)).dead_lettered == 3
        await ingest.terminated()  # in order, or the next one would read them again and find nothing wrong
    news = here.topology.name(NEWS)
    listed = await as_json(here, "list")
    assert sorted((one["where"], one["reason"], bool(one.get("replayed_at"))) for one in listed) == [
        (f"{news}/0/0/1", "from_the_future", False),
        (f"{news}/0/1/0", "not_json", False),
        (f"{news}/0/2/0", "from_the_future", False),
    ]
    assert {base64.b64decode(one["key"]) for one in listed} == {b"feed"}
    assert await command(here, "show", f"{news}/0/0/1", "--raw") == (0, early)
    assert await command(here, "show", f"{news}/0/2/0", "--raw") == (0, b" " + early + b"\n")
    assert (await command(here, "show", f"{news}/0/9/0"))[0] == 2

    mended = {"GROUNDSWELL_FUTURE_S": "3600"}
    async with here.stage("ingest", **mended), here.stage("tag"):
        sent = await as_json(here, "replay", "--reason", "from_the_future")
        assert sorted(sent["sent"]) == [f"{news}/0/0/1", f"{news}/0/2/0"]
        await here.until_read("ingest", 6)
        assert (await as_json(here, "replay", "--reason", "from_the_future"))["sent"] == []
        assert len((await as_json(here, "replay", "--reason", "from_the_future", "--again"))["sent"]) == 2
        ingest = await here.until_read("ingest", 8)
        tag = await here.until_read("tag", 5)
    assert (ingest.applied, ingest.dead_lettered) == (5, 3)
    assert (tag.applied, tag.duplicate) == (
        2,
        3,
    )  # the good one and the early one, which was pushed twice and sent again thrice
    resent = [record for record in await here.read(NEWS) if record.offset > 2]
    assert [(record.key, record.value) for record in resent[:2]] == [(b"feed", early), (b"feed", b" " + early + b"\n")]
    again = {one["where"]: bool(one.get("replayed_at")) for one in await as_json(here, "--limit", "9")}
    assert again == {f"{news}/0/0/1": True, f"{news}/0/1/0": False, f"{news}/0/2/0": True}
    assert b"No dead letters" not in (await command(here, "list"))[1]


async def test_a_letter_that_was_cut_is_sent_whole_from_the_topic_it_came_from(here: Site) -> None:
    long = b'{"text":"' + b"long " * 20_000 + b'"}'
    await here.push(NEWS, [b'[{"text":"a"},' + long + b"]"])
    async with here.stage("ingest"):
        await here.until_read("ingest", 2)
    (letter,) = await read(here.settings, here.topology)
    assert (letter.reason, letter.truncated, len(letter.payload)) == ("text_too_long", True, 65_536)
    result = await send_again(here.settings, here.topology, SystemClock(), [letter], lambda _done: None)
    assert [place(one) for one in result.sent] == [f"{here.topology.name(NEWS)}/0/0/1"]
    assert (await here.read(NEWS))[-1].value == long


async def test_a_letter_whose_original_is_gone_is_named_and_the_others_are_sent(here: Site) -> None:
    name = here.topology.name(DOCUMENTS)
    gone = DeadLetter(
        reason="poison", stage="tag", message="m", topic=name, src=Source(0, 5), at=1, payload=b"[", truncated=True
    )
    kept = DeadLetter(
        reason="poison", stage="tag", message="m", topic=name, src=Source(0, 6), at=2, payload=b"[]", key=b"k"
    )
    await here.push(DOCUMENTS, [msgspec.json.encode([Document(id="d", text="t", published_at=1, ingested_at=1)])])
    await here.push(DEAD_LETTERS, [msgspec.json.encode(gone), msgspec.json.encode(kept), msgspec.json.encode(kept)])
    letters = await read(here.settings, here.topology)
    assert letters == [gone, kept]
    status, printed = await command(here, "replay", "--reason", "poison", "--json")
    assert status == 1
    found = json.loads(printed)
    assert found["sent"] == [f"{name}/0/6/0"]
    assert [one["where"] for one in found["not_sent"]] == [f"{name}/0/5/0"]
    assert (await here.read(DOCUMENTS))[-1].value == b"[]"

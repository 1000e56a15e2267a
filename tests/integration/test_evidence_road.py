"""From pushed documents to evidence that others verify, on processes of their own with the broker and the Redis that we bring."""

import asyncio
import json
import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from groundswell import settings as all_settings
from groundswell.clients.connect import close_producer, open_producer
from groundswell.commands.stack import Stack, stack
from groundswell.keys import MINUTE_MS, Keys
from groundswell.pusher import Pusher
from groundswell.records import AlertView
from groundswell.settings import Settings
from stream.topology import COMMENTS

WAIT_S = 90.0
STAGES = ("ingest", "tag", "aggregate")
QUIET, SURGE, CALM = 300, 15, 120  # minutes
START_MS = 1_709_596_800_000  # 2024-03-05 00:00 UTC
SYLLABLES = ["ka", "lo", "mi", "ren", "tu", "sha", "vo", "pel", "dri", "nas", "quo", "bex"]


def documents() -> Iterator[dict[str, Any]]:
    """Hours of quiet talk of Apple, a surge, and calm again; each text in words of its own."""
    chance = random.Random(7)
    for minute in range(QUIET + SURGE + CALM):
        heavy = QUIET <= minute < QUIET + SURGE
        for number in range(9 if heavy else int(chance.random() < 0.4)):
            said = " ".join("".join(chance.choices(SYLLABLES, k=3)) for _ in range(12))
            word = "probe" if heavy or chance.random() < 0.3 else "shop"
            yield {
                "id": f"d{minute}-{number}", "text": f"Apple {word}: {said}", "symbols": ["AAPL"], "author": f"a{minute}-{number}",
                "source": f"forum{number % 3}", "published_at": START_MS + minute * MINUTE_MS + number * 6_000,
            }  # fmt: skip


async def push(found: Stack) -> None:
    producer = await open_producer(found.settings)
    pusher = Pusher(producer, found.topology.name(COMMENTS), b"road", batch=50)
    try:
        for one in documents():
            await pusher.add(one)
        await pusher.settle()
    finally:
        await close_producer(producer)


async def over(found: Stack) -> AlertView:
    """The episode, once it has ended."""
    keys = Keys(found.topology.prefix)
    async with asyncio.timeout(WAIT_S):
        while True:
            for name in await found.redis.zrange(keys.alerts, 0, -1):
                view = msgspec.json.decode(await found.redis.get(keys.alert(name.decode())), type=AlertView)
                if view.subject == "XNAS:AAPL" and view.state == "resolved":
                    return view
            await asyncio.sleep(0.2)


async def test_what_was_told_is_decided_again_and_verified_where_nothing_runs(tmp_path: Path) -> None:
    settings = Settings(state_dir=str(tmp_path), model="scripted", clock="event", drain_s=2.0, log="json")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(all_settings.PREFIX)}

    async def ran(*arguments: str, **environment: str) -> tuple[int, str]:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "groundswell", *arguments, cwd=tmp_path, env=clean | environment,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        said, _ = await asyncio.wait_for(process.communicate(), WAIT_S)
        return int(process.returncode or 0), said.decode()

    async with stack(settings, stages=STAGES, single=True) as found:
        await found.ready(STAGES)
        await push(found)
        view = await over(found)
        here = all_settings.environment(found.settings)
        replayed = await ran("evidence", "replay", view.episode, "--json", **here)
        exported = await ran("evidence", "export", view.episode, "-o", "evidence.json", "--json", **here)
        key = json.loads((await ran("evidence", "key", "--json", **here))[1])["key"]
        shown = await ran("evidence", "show", view.event.id, "--lang", "zh", **here)
        why = await ran("why", "Apple", "--json", **here)
        slip = await ran("why", "Aple", **here)
    again = json.loads(replayed[1])
    assert (replayed[0], again["identical"]) == (0, True), replayed
    told = [line["id"] for line in view.timeline if "id" in line]
    assert [one["event"] for one in again["transitions"]] == told
    assert {one["type"] for one in again["transitions"]} >= {"alert.firing", "alert.resolved"}
    assert json.loads(exported[1]) == {
        "file": "evidence.json", "episode": view.episode, "transitions": len(told), "key": key
    }  # fmt: skip
    assert "证据" in shown[1]
    said = json.loads(why[1])
    assert (why[0], said["subject"], said["why"]["decision"]) == (0, "XNAS:AAPL", "below_threshold")
    assert said["why"]["more"] >= 1
    assert slip[0] == 2
    assert "XNAS:AAPL" in slip[1]

    # Nothing runs any more.
    assert (await ran("evidence", "verify", "evidence.json", "--key", key))[0] == 0
    assert (await ran("evidence", "replay", "evidence.json"))[0] == 0
    file = tmp_path / "evidence.json"
    file.write_bytes(file.read_bytes().replace(b'"severity":"critical"', b'"severity":"notice"'))
    status, refused = await ran("evidence", "verify", "evidence.json", "--key", key)
    assert status == 1
    assert "not what was signed" in refused
    assert "severity: 'notice' was frozen" in refused

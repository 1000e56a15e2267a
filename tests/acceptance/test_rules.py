"""A rule of a user's own on running processes: in force within seconds without a restart, told to an endpoint, ended when removed.

The page's process is killed in between: alerts do not need it, and it is there again afterwards.
A rule is looked at when a minute of the clock closes, and its alert ends some minutes later: a minute and a half of waiting.
"""

import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from alerts.guard import Allowed
from alerts.people import endpoints
from alerts.receiver import Receiver
from groundswell import settings as all_settings
from groundswell.asked import AskedEndpoint
from groundswell.clients.connect import acknowledged, close_producer, open_producer
from groundswell.clock import SystemClock
from groundswell.commands.stack import STAGES, Stack, stack
from groundswell.control import write
from groundswell.records import InboundDocument
from groundswell.secrets import SecretBox
from groundswell.settings import Settings
from stream.topology import NEWS

IN_FORCE_S = 5.0
WAIT_S = 150.0  # a rule is looked at when a minute of the clock closes, and the machine may be busy
TEXTS = (
    "Apple recalls a charger after reports of fires",
    "Regulators in Brussels open a case on the App Store of Apple",
    "Suppliers say that Apple cuts its orders for the autumn",
    "A court in Texas finds that Apple copied a sensor of a watch",
    "Shares of Apple slip before the results, traders wait",
    "Workers at a shop of Apple in Glasgow vote on a strike",
    "Why Apple lost the bid for film rights this week",
)
FILE = """
[[rule]]
id = "apple-talk"
name = { en = "Talk of Apple", zh = "苹果声量" }
severity = "notice"
subjects = ["XNAS:AAPL"]
all = [ { metric = "count", of = "mentions", window = "15m", threshold = 4 } ]
"""


async def ran(found: Stack, *arguments: str) -> Any:
    """What one command says, as JSON; it must succeed."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(all_settings.PREFIX)}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "groundswell", *arguments, "--json", env=clean | all_settings.environment(found.settings),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    said, wrong = await asyncio.wait_for(process.communicate(), WAIT_S)
    assert process.returncode == 0, wrong.decode()
    return json.loads(said)


async def push(found: Stack, texts: Iterator[str], *minutes_ago: float) -> None:
    now_ms = SystemClock().now_ms()
    producer = await open_producer(found.settings)
    try:
        documents = [
            InboundDocument(
                id=f"d{now_ms}-{number}", text=next(texts), symbols=["AAPL"],
                published_at=round(now_ms - minutes * 60_000), source=f"wire{number}",
            )
            for number, minutes in enumerate(minutes_ago)
        ]  # fmt: skip
        name = found.topology.name(NEWS)
        await acknowledged([await producer.send(name, msgspec.json.encode(one), key=b"feed") for one in documents])
    finally:
        await close_producer(producer)


async def subscribe(found: Stack, receiver: Receiver, url: str) -> None:
    asked = AskedEndpoint(url=url, name="desk", channel="webhook", severity="notice")
    box = SecretBox(found.settings.secret_key)
    endpoint, receiver.secret = await endpoints.made(asked, box, Allowed.of(found.settings), SystemClock().now_ms())
    producer = await open_producer(found.settings)
    try:
        await write(producer, found.topology, endpoint)
    finally:
        await close_producer(producer)


async def heard(receiver: Receiver, kind: str) -> dict[str, Any]:
    async with asyncio.timeout(WAIT_S):
        while True:
            found = [one.event for one in receiver.received if one.event["type"] == kind]
            if found:
                return found[-1]
            await asyncio.sleep(0.1)


async def shown(port: int, episode: str) -> dict[str, Any]:
    """What the page says of it, as soon as it is there again."""
    async with asyncio.timeout(WAIT_S), aiohttp.ClientSession() as session:
        while True:
            with contextlib.suppress(aiohttp.ClientError):
                async with session.get(f"http://127.0.0.1:{port}/api/v1/alerts/{episode}") as answer:
                    if answer.status == 200:
                        found: dict[str, Any] = await answer.json()
                        return found
            await asyncio.sleep(0.2)


async def test_a_rule_is_in_force_within_five_seconds_and_its_alert_reaches_an_endpoint(
    tmp_path: Path, record_property: Any, unused_tcp_port: int
) -> None:
    receiver, texts, port = Receiver(), iter(TEXTS), unused_tcp_port
    url = await receiver.start()
    file = tmp_path / "desk.toml"
    file.write_text(FILE, encoding="utf-8")
    try:
        settings = Settings(
            state_dir=str(tmp_path), model="scripted", deliver_http=True, deliver_allow=[url.split("/")[2]], drain_s=2.0,
            port=port, log="json", lateness_s=1.0, idle_s=2.0,
        )  # fmt: skip
        async with stack(settings) as found:
            await found.ready(STAGES)
            await subscribe(found, receiver, url)
            await push(found, texts, 20, 19)  # before the rule: the window of a quarter of an hour is past them
            (checked,) = await ran(found, "rules", "check", str(file))
            started_s = time.monotonic()
            applied = await ran(found, "rules", "apply", str(file), "--wait", "30")
            in_force_s = time.monotonic() - started_s
            found.processes["dashboard"].kill()
            await push(found, texts, 4, 4, 4, 3.5)
            event = await heard(receiver, "alert.firing")
            page = await shown(port, event["data"]["episode_id"])
            listed = await ran(found, "rules", "list")
            removed = await ran(found, "rules", "remove", "apple-talk")
            await push(found, texts, 0)
            over = await heard(receiver, "alert.resolved")
            after = await ran(found, "rules", "list")
    finally:
        await receiver.stop()
    record_property("in_force_s", in_force_s)
    print(f"in force after {in_force_s:.1f} s")
    assert (checked["id"], checked["subjects"], checked["bounded"]) == ("apple-talk", 1, False)
    assert (applied["in_force"], applied["rules"]) == (True, ["apple-talk"])
    assert in_force_s < IN_FORCE_S + 4.0, "the command itself takes a few seconds on a busy machine"
    data = event["data"]
    assert data["rule"] == {
        "id": "apple-talk", "version": checked["version"], "name": {"en": "Talk of Apple", "zh": "苹果声量"}, "bounded": False,
    }  # fmt: skip
    assert (data["severity"], data["subject"]["id"], data["observed"]["mentions"]) == ("notice", "XNAS:AAPL", 4)
    (row,) = listed["rules"]
    assert (row["id"], row["matched_24h"], row["last"][0]["subject"]) == ("apple-talk", 1, "XNAS:AAPL")
    assert (listed["processes"], listed["in_force_in"]) == (1, 1)
    assert removed["in_force"]
    assert (over["data"]["episode_id"], over["data"]["rule"]["id"]) == (data["episode_id"], "apple-talk")
    assert after["rules"] == []
    assert found.ended["dashboard"] == 1
    assert (page["episode"], page["state"]) == (data["episode_id"], "firing")

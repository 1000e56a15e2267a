"""Feedback on the embedded broker: said on one set of pages, followed by another, exported as rows with the text that is kept."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from dashboard.control.pen import Pen
from groundswell import feedback, feedback_rows
from groundswell.cli import cli
from groundswell.clients.connect import acknowledged, close_producer, open_producer
from groundswell.clock import SystemClock
from groundswell.feedback import Remarks
from groundswell.records import Feedback, Mention
from groundswell.running.embedded import Services
from groundswell.settings import Settings
from stream.topology import FEEDBACK, TAGGED, Topology
from tests import tagged_pasts

TOPOLOGY = Topology()


@pytest.fixture(scope="module")
def services() -> Iterator[Services]:
    with tagged_pasts.embedded_services({TOPOLOGY.name(FEEDBACK): 1, TOPOLOGY.name(TAGGED): 4}) as found:
        yield found


@pytest.fixture
def settings(services: Services) -> Settings:
    return Settings(kafka=services.kafka, redis=services.redis)


def word(number: int, **more: Any) -> Feedback:
    given: dict[str, Any] = {
        "id": f"fb_{number}", "at": tagged_pasts.AT + number, "by": "lin", "kind": "wrong_label", "episode": "ep_1", "label": "neutral",
        "document": f"d{number}", "source": "wirepress.example", "published_at": tagged_pasts.AT - number * 1_000, "subject": "XTST:HLVN",
        "excerpt": "Something of Halvorn Motors.", "names": ["Halvorn Motors"],
    }  # fmt: skip
    return Feedback(**given | more)


async def written(settings: Settings, words: list[Feedback]) -> None:
    pen = Pen(settings, TOPOLOGY, SystemClock())
    for one in words:
        await pen.remark(one)
    await pen.close()


async def tagged(settings: Settings, count: int) -> None:
    producer = await open_producer(settings)
    documents = [tagged_pasts.document(place, mentions=[Mention("XTST:HLVN", 0, 14)]) for place in range(count)]
    sends = [
        await producer.send(TOPOLOGY.name(TAGGED), msgspec.json.encode(one), key=one.id.encode()) for one in documents
    ]
    await acknowledged(sends)
    await close_producer(producer)


async def test_what_one_says_others_follow_from_the_newest_on(settings: Settings) -> None:
    await written(settings, [word(number, kind="comment", label="", text=f"word {number}") for number in range(30)])
    producer = await open_producer(settings)
    await acknowledged([await producer.send(TOPOLOGY.name(FEEDBACK), b"no word of ours", partition=0)])
    await close_producer(producer)
    stop, heard = asyncio.Event(), asyncio.Event()
    remarks = Remarks(lambda _: heard.set())
    following = asyncio.create_task(feedback.follow(settings, TOPOLOGY, remarks, stop, kept=11))
    async with asyncio.timeout(20):
        while len(remarks) < 10:
            heard.clear()
            await heard.wait()
        await written(settings, [word(99, kind="comment", label="", text="a new one")])
        while "fb_99" not in [one.id for one in remarks.of("ep_1")]:
            heard.clear()
            await heard.wait()
    stop.set()
    await following
    assert [one.id for one in remarks.of("ep_1")][:2] == ["fb_20", "fb_21"], (
        "of what was there, the newest; a foreign record is passed by"
    )


async def test_rows_hold_whole_texts_where_they_are_kept_and_the_sentence_where_not(
    settings: Settings, tmp_path: Path
) -> None:
    await tagged(settings, 40)
    await written(settings, [word(number) for number in (3, 17, 500)])
    votes = feedback.labels(await feedback.read(settings, TOPOLOGY))
    found = await feedback_rows.texts(settings, TOPOLOGY, votes)
    assert sorted(name for _, name in found) == ["d17", "d3"]
    out = tmp_path / "rows.jsonl"
    environment = {"GROUNDSWELL_KAFKA": settings.kafka, "GROUNDSWELL_REDIS": settings.redis}
    said = await asyncio.to_thread(CliRunner(env=environment).invoke, cli, ["feedback", "export", "--out", str(out)])
    assert said.exit_code == 0, said.output
    assert "Rows: 3; 2 of whole texts, 1 of the deciding sentence alone." in said.output
    rows = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
    assert sorted((row["from"], row["entity"], row["label"]) for row in rows) == [
        ("excerpt", "Halvorn Motors", "neutral"),
        ("text", "Halvorn Motors", "neutral"),
        ("text", "Halvorn Motors", "neutral"),
    ]


async def test_verdicts_are_listed_and_exported(settings: Settings) -> None:
    await written(
        settings,
        [
            word(700, kind="not_a_surge", label="", onset=60_000),
            word(701, kind="comment", label="", text="\u202ereversed"),
        ],
    )
    environment = {"GROUNDSWELL_KAFKA": settings.kafka, "GROUNDSWELL_REDIS": settings.redis}
    listed = await asyncio.to_thread(CliRunner(env=environment).invoke, cli, ["feedback", "list"])
    assert listed.exit_code == 0, listed.output
    assert "not_a_surge" in listed.output
    assert "\u202e" not in listed.output
    told = await asyncio.to_thread(CliRunner(env=environment).invoke, cli, ["feedback", "export", "--surges"])
    (line,) = [json.loads(line) for line in told.output.splitlines() if line.startswith("{")]
    assert (line["episode"], line["vote"], line["onset"]) == ("ep_1", "not_a_surge", "1970-01-01T00:01:00Z")

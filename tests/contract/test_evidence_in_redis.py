"""From rows to Redis to evidence, on a real one and on fakeredis: what was told is decided again, what was not is explained."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
import redis.asyncio

from groundswell import times
from groundswell.clock import ManualClock
from groundswell.commands.evidence import _view, transitions
from groundswell.commands.why import Answer, answer, resolved
from groundswell.commands.why_words import sentences
from groundswell.errors import BadSetting, NoSuchSubject
from groundswell.evidence_export import Exported, sealed, signing_keys, verified
from groundswell.keys import HOUR_MS, MINUTE_MS, Keys
from groundswell.records import AlertEvent
from groundswell.running.embedded import _fakeredis
from groundswell.secrets import new_key
from stream.aggregate import AggregateWork
from stream.detection import evidence
from stream.relay import empty
from stream.store import Store
from stream.topology import ALERTS, Topology
from tests.unit.test_detect import DIRECTORY, MONDAY_MS, OTHER, POLICY, SUBJECT, SURGE_MS, Stream, one_each

TOPOLOGY, KEYS = Topology("ns", single=True), Keys("ns")


@dataclass(frozen=True)
class Record:
    partition: int
    offset: int
    value: bytes
    key: bytes | None = None


class Broker:
    """Acknowledges all; keeps what was sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes]] = []

    async def send(self, topic: str, value: bytes, **_: Any) -> "asyncio.Future[None]":
        self.sent.append((topic, value))
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    @property
    def told(self) -> list[AlertEvent]:
        return [
            msgspec.json.decode(value, type=AlertEvent) for topic, value in self.sent if topic == TOPOLOGY.name(ALERTS)
        ]


@pytest.fixture(scope="module")
def fake_url() -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with _fakeredis(port):
        yield f"redis://127.0.0.1:{port}/0"


@pytest.fixture(params=["redis", "fakeredis"])
async def client(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    url = request.getfixturevalue("redis_url" if request.param == "redis" else "fake_url")
    connection = redis.asyncio.Redis.from_url(url)
    await connection.flushdb()
    yield connection
    await connection.aclose()


async def counted(client: Any, stream: Stream) -> Broker:
    """Aggregate and the relay have done their work on these rows."""
    broker = Broker()
    work = AggregateWork(
        TOPOLOGY, Store(client, KEYS, "only"), broker, DIRECTORY, POLICY, ManualClock(SURGE_MS), idle_s=60.0,  # type: ignore[arg-type]
    )  # fmt: skip
    await work.assigned(0)
    records = [Record(0, i, msgspec.json.encode(one)) for i, one in enumerate(one_each(stream.in_order()))]
    for at in range(0, len(records), 50):
        await work.process(0, records[at : at + 50])
    while await empty(client, KEYS, TOPOLOGY, broker, 0, "only"):  # type: ignore[arg-type]
        pass
    return broker


async def asked(client: Any, subject: str = SUBJECT, at_ms: int | None = None) -> Answer:
    return await answer(client, TOPOLOGY, DIRECTORY, POLICY, subject, at_ms)


async def test_every_transition_that_was_told_is_found_and_decided_again_from_what_redis_and_a_file_hold(
    client: Any,
) -> None:
    calm = SURGE_MS + 20 * MINUTE_MS
    broker = await counted(client, Stream().quiet().surge(minutes=20).quiet(minutes=120, start_ms=calm, seed=2))
    told = broker.told
    assert [told[0].type, told[-1].type] == ["alert.firing", "alert.resolved"]
    view = await _view(client, KEYS, told[0].data.episode_id)
    assert view is not None
    found = transitions(view)
    assert [one.event for one in found] == [one.id for one in told]
    assert [evidence.replay(one.evidence) for one in found] == [None] * len(told)
    for event in told:
        by_event = await _view(client, KEYS, event.id)
        assert by_event is not None
        assert by_event.episode == event.data.episode_id
    assert await _view(client, KEYS, "gw_none") is None

    exported = Exported(
        installation="ns", exported_at="2026-11-22T09:00:00Z", episode=view.episode, subject=view.subject, transitions=found
    )  # fmt: skip
    file = sealed(exported, signing_keys(new_key())[0])
    read, _ = verified(file)
    assert [evidence.replay(one.evidence) for one in read.transitions] == [None] * len(told)


async def test_the_number_that_why_names_is_the_number_that_fires_and_asking_writes_nothing(client: Any) -> None:
    def quiet() -> Stream:
        return Stream().quiet()

    await counted(client, quiet())
    before = {key: await client.dump(key) for key in await client.keys("*")}
    found = await asked(client)
    assert {key: await client.dump(key) for key in await client.keys("*")} == before
    why = found.why
    assert why is not None
    assert (why.decision, why.exact, found.fired) == ("below_threshold", True, "")
    assert why.more is not None
    assert any(f"{why.more} more negative" in line and "would fire" in line for line in sentences(found, "en"))
    assert any(f"再多 {why.more} 条负面" in line for line in sentences(found, "zh"))
    for more, fires in ((why.more - 1, False), (why.more, True)):
        await client.flushdb()
        stream, at_ms = quiet(), why.start_ms + 30_000
        for i in range(more):
            stream.say(at_ms + i)
        stream.tick(at_ms + 5 * MINUTE_MS, start_ms=at_ms + 2 * MINUTE_MS)
        told = (await counted(client, stream)).told
        assert [event.type for event in told][:1] == (["alert.firing"] if fires else [])


async def test_of_the_past_it_says_whether_it_fired_or_that_it_judges_by_what_is_known_now(client: Any) -> None:
    calm = SURGE_MS + 15 * MINUTE_MS
    broker = await counted(client, Stream().quiet().surge(minutes=15).quiet(minutes=240, start_ms=calm, seed=2))
    episode, end_ms = broker.told[0].data.episode_id, times.parse_ms(broker.told[-1].timestamp)
    during = await asked(client, at_ms=SURGE_MS + 10 * MINUTE_MS)
    assert during.fired == episode
    assert any(episode in line for line in sentences(during, "zh"))
    for at_ms in (SURGE_MS - 2 * HOUR_MS, end_ms + 30 * MINUTE_MS):
        found = await asked(client, at_ms=at_ms)
        assert found.fired == ""
        assert found.why is not None
        assert (found.why.exact, found.why.decision) == (False, "below_threshold")
        assert "Judged by what is known now" in sentences(found, "en")[-1]
        assert "按现在" in sentences(found, "zh")[-1]
        assert f"the minute from {times.rfc3339(at_ms // MINUTE_MS * MINUTE_MS)}" in sentences(found, "en")[0]
    with pytest.raises(BadSetting, match="has come to"):
        await asked(client, at_ms=end_ms + 24 * HOUR_MS)
    with pytest.raises(BadSetting, match="kept no longer"):
        await asked(client, at_ms=MONDAY_MS - 10 * 24 * HOUR_MS)


@pytest.mark.parametrize(
    ("given", "gate", "words"),
    [
        ({"author": "one-man"}, "held_few_voices", ("too few authors", "作者与媒体太少")),
        ({"story": "one-story"}, "held_few_stories", ("too few different stories", "不同事由太少")),
    ],
)
async def test_the_gate_that_said_no_is_named_in_both_languages(
    client: Any, given: dict[str, str], gate: str, words: tuple[str, str]
) -> None:
    await counted(client, Stream().quiet().surge(minutes=5, **given))
    found = await asked(client)
    assert found.why is not None
    assert found.why.decision == gate
    assert words[0] in "\n".join(sentences(found, "en"))
    assert words[1] in "\n".join(sentences(found, "zh"))


async def test_who_was_never_mentioned_has_nothing_to_explain(client: Any) -> None:
    assert (await asked(client)).why is None, "not even the first row has come"
    await counted(client, Stream().quiet(minutes=60))
    found = await asked(client, OTHER)
    assert found.why is None
    assert "Nobody has mentioned it" in sentences(found, "en")[-1]
    assert "尚无" in sentences(found, "zh")[-1]


def test_a_subject_is_found_by_id_symbol_and_name_and_a_slip_is_told_what_is_near() -> None:
    assert {resolved(DIRECTORY, name) for name in ("XNAS:AAPL", "AAPL", "$aapl", "Apple", "苹果")} == {SUBJECT}
    assert resolved(DIRECTORY, "topic:fraud") == "topic:fraud"
    with pytest.raises(NoSuchSubject) as refused:
        resolved(DIRECTORY, "Aple")
    assert SUBJECT in refused.value.remedy
    with pytest.raises(NoSuchSubject, match="no subject that is counted"):
        resolved(DIRECTORY, "\x1b[31mqqqqqqqqqqqqq")

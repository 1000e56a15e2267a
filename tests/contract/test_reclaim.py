"""Claims after a loss, on a real and on the embedded Redis: none is made while they are gone; what comes back decides as before."""

import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import redis.asyncio

from groundswell.clock import ManualClock
from groundswell.embedded import _fakeredis
from groundswell.errors import ClaimsLost
from groundswell.keys import Keys
from groundswell.records import Document, Source, Tagged
from groundswell.settings import Settings
from stream import reclaim
from stream.claims import Claim, claim, remember, retell
from stream.topology import Topology

NOW_MS = 1_700_000_000_000
KEYS = Keys("ns")
LONG = "Harbour Tin faces a fraud probe after the default of its trading arm and the lawsuit of a lender in the north."


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


def said(name: str, text: str = LONG, at_ms: int = NOW_MS) -> Document:
    return Document(id=name, text=text, source="wire", author=name, published_at=at_ms, ingested_at=at_ms)


def tagged(document: Document, offset: int, story: str, *, echo: bool) -> Tagged:
    return Tagged(
        id=document.id, src=Source(0, offset), story=story, echo=echo, text=document.text, source=document.source, author=document.author,
        published_at=document.published_at, ingested_at=document.ingested_at, tagged_at=document.ingested_at, label="negative",
        negative=0.9, neutral=0.05, positive=0.05,
    )  # fmt: skip


async def test_nothing_is_claimed_while_claims_are_lost(client: Any) -> None:
    with pytest.raises(ClaimsLost):
        await claim(client, KEYS, [(Source(0, 1), said("a"))], whole=True)
    assert [key async for key in client.scan_iter()] == []
    await client.set(KEYS.claims, reclaim.HALF)
    (answer,) = await claim(client, KEYS, [(Source(0, 1), said("a"))], whole=True)
    assert answer.claim is Claim.NEW


async def test_what_was_written_is_a_duplicate_again_and_its_copy_an_echo(client: Any) -> None:
    first, copy = said("a"), said("b", LONG + " Read more.")
    answers = await claim(client, KEYS, [(Source(0, 1), first), (Source(0, 2), copy)])
    assert [answer.echo for answer in answers] == [False, True]
    story = answers[0].story
    written = [tagged(first, 1, story, echo=False), tagged(copy, 2, story, echo=True)]
    await client.flushdb()
    await remember(client, KEYS, written)
    await retell(client, KEYS, [first], NOW_MS)
    again = [
        (Source(0, 1), first),
        (Source(3, 9), first),
        (Source(0, 2), copy),
        (Source(4, 4), said("c", LONG + " So it goes.")),
    ]
    answers = await claim(client, KEYS, again)
    assert [answer.claim for answer in answers] == [Claim.AGAIN, Claim.DUPLICATE, Claim.AGAIN, Claim.NEW]
    assert [answer.story for answer in answers] == [story] * 4
    assert [answer.echo for answer in answers] == [False, False, True, True]


async def test_a_story_is_told_again_only_for_as_long_as_it_would_have_been(client: Any) -> None:
    day_ms = 86_400_000
    await retell(client, KEYS, [said("old", at_ms=NOW_MS - day_ms - 1)], NOW_MS)
    assert [key async for key in client.scan_iter()] == []
    await retell(client, KEYS, [said("young", at_ms=NOW_MS - day_ms // 2)], NOW_MS)
    lives_s = {await client.ttl(key) async for key in client.scan_iter()}
    assert lives_s <= {43_199, 43_200}
    assert lives_s


async def test_claims_of_the_last_seconds_are_written_again_when_the_mark_is_gone(client: Any) -> None:
    clock = ManualClock(NOW_MS)
    keeper = reclaim.Reclaim(Settings(), Topology("ns"), client, clock)
    await client.set(KEYS.claims, reclaim.WHOLE)
    await keeper.look()
    read = [(Source(0, number), said(f"d{number}", f"{number} {LONG} {number}")) for number in range(3)]
    for one in read:
        keeper.note([one], await claim(client, KEYS, [one], whole=True))
        clock.advance(6)
    await client.flushdb()
    await client.set(
        f"{KEYS.claims}:by", "another process", ex=30
    )  # reads back from tagged; this one only tells what it knows
    await keeper.look()
    twins = [(Source(7, number), document) for number, (_, document) in enumerate(read)]
    answers = await claim(client, KEYS, twins)
    assert [answer.claim for answer in answers] == [Claim.NEW, Claim.DUPLICATE, Claim.DUPLICATE], (
        "ten seconds are remembered"
    )

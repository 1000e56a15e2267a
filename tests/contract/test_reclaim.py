"""Claims after a loss, on a real and on the embedded Redis: none is made while they are gone; what comes back decides as before."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from functools import partial
from typing import Any

import msgspec
import pytest
import redis.asyncio

from groundswell.clock import ManualClock
from groundswell.errors import ClaimsLost
from groundswell.keys import Keys
from groundswell.records import Document, Source, Tagged
from groundswell.running.embedded import _fakeredis
from groundswell.settings import Settings
from stream import generation
from stream.claims import Claim, Claimed, claim, digest, remember, retell
from stream.reclaim import Mark, Reclaim
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


async def keeper_of(client: Any, clock: ManualClock) -> Reclaim:
    """One that found everything whole."""
    await whole(client, "first")
    keeper = Reclaim(Settings(), Topology("ns"), client, clock)
    await keeper.look()
    return keeper


async def whole(client: Any, loss: str) -> None:
    """As if another process had read back what was lost, and this one reads nothing back itself."""
    await client.set(KEYS.claims, msgspec.json.encode(Mark(await generation.life(client), loss, whole=True)))


async def busy(client: Any) -> None:
    """Another process reads back."""
    await client.set(f"{KEYS.claims}:by", "another", ex=30)


async def claimed(client: Any, keeper: Reclaim, read: Sequence[tuple[Source, Document]]) -> list[Claimed]:
    return await claim(client, KEYS, read, sure=partial(keeper.sure, keeper.standing))


async def test_nothing_is_claimed_while_claims_are_lost(client: Any) -> None:
    keeper = Reclaim(Settings(), Topology("ns"), client, ManualClock(NOW_MS))
    read = [(Source(0, 1), said("a"))]
    with pytest.raises(ClaimsLost):
        await claimed(client, keeper, read)
    assert [key async for key in client.scan_iter()] == []
    await whole(client, "first")
    with pytest.raises(ClaimsLost):  # it has not said again what it knows
        await claimed(client, keeper, read)
    await keeper.look()
    assert [one.claim for one in await claimed(client, keeper, read)] == [Claim.NEW]


async def test_what_was_claimed_before_a_loss_is_not_written_after_it(client: Any) -> None:
    keeper = await keeper_of(client, ManualClock(NOW_MS))
    before = keeper.standing
    await claimed(client, keeper, [(Source(0, 1), said("a"))])
    await keeper.stands(before)
    await client.flushdb()
    with pytest.raises(ClaimsLost):
        await keeper.stands(before)
    await whole(client, "second")
    await keeper.look()
    with pytest.raises(ClaimsLost):  # another may have claimed it between
        await keeper.stands(before)
    assert keeper.standing is not None
    await keeper.stands(keeper.standing)


async def test_what_is_under_way_is_said_again_however_long_it_takes(client: Any) -> None:
    clock = ManualClock(NOW_MS)
    keeper = await keeper_of(client, clock)
    await claimed(client, keeper, [(Source(0, 1), said("a"))])
    clock.advance(600)
    keeper.wrote([])
    await client.flushdb()
    await whole(client, "second")
    await keeper.look()
    twin, copy = (Source(7, 1), said("a")), (Source(7, 2), said("b", LONG + " Read more."))
    answers = await claimed(client, keeper, [twin, copy])
    assert [(one.claim, one.echo) for one in answers] == [(Claim.DUPLICATE, False), (Claim.NEW, True)]


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
    keeper = await keeper_of(client, clock)
    read = [(Source(0, number), said(f"d{number}", f"{number} {LONG} {number}")) for number in range(3)]
    for one in read:
        await claimed(client, keeper, [one])
        keeper.wrote([one[0]])
        clock.advance(6)
    keeper.wrote([])
    await client.flushdb()
    await busy(client)
    await keeper.look()
    twins = [(Source(7, number), document) for number, (_, document) in enumerate(read)]
    answers = await claim(client, KEYS, twins)
    assert [answer.claim for answer in answers] == [Claim.NEW, Claim.NEW, Claim.DUPLICATE], "ten seconds are remembered"


async def test_what_was_given_up_is_not_said_again(client: Any) -> None:
    keeper = await keeper_of(client, ManualClock(NOW_MS))
    read = [(Source(0, number), said(f"d{number}")) for number in range(3)]
    await claimed(client, keeper, read)
    keeper.wrote([read[0][0]])
    keeper.forget([read[0][0], read[1][0]])
    await client.flushdb()
    await busy(client)
    await keeper.look()
    answers = await claim(client, KEYS, [(Source(7, number), document) for number, (_, document) in enumerate(read)])
    assert [answer.claim for answer in answers] == [Claim.NEW, Claim.NEW, Claim.DUPLICATE]


async def test_a_redis_that_is_emptied_while_it_is_read_back_is_read_back_from_the_beginning_at_once(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [f"Word{n} of {n * 7919 % 1009} things that nobody said before, number {n * 31}" for n in range(1_500)]
    documents = [said(f"d{n}", text) for n, text in enumerate(texts)]
    log = [msgspec.json.encode(tagged(one, n, digest(one), echo=False)) for n, one in enumerate(documents)]
    batches, emptied = [log[:500], log[500:1_000], log[1_000:]], asyncio.Event()
    given: list[int] = []

    @contextlib.asynccontextmanager
    async def reader(*_: Any) -> AsyncIterator[None]:
        yield None

    async def bounds(_: Any) -> tuple[dict[int, int], dict[int, int]]:
        return {0: 0}, {0: len(log)}

    async def since(_: Any, at_ms: dict[int, int], ends: dict[int, int]) -> dict[int, int]:
        return dict.fromkeys(at_ms, 0)

    async def read(_: Any, starts: dict[int, int], ends: dict[int, int], take: Any) -> None:
        if starts == ends or starts[0] == ends[0]:
            return
        for number, batch in enumerate(batches):
            if number == 1 and not emptied.is_set():
                emptied.set()
                await client.flushdb()
            given.append(number)
            await take(batch)

    for name, fake in (("reader", reader), ("bounds", bounds), ("since", since), ("read", read)):
        monkeypatch.setattr(f"stream.reclaim.readback.{name}", fake)
    keeper = Reclaim(Settings(), Topology("ns"), client, ManualClock(NOW_MS))
    with pytest.raises(ClaimsLost):
        await keeper.look()
    assert given == [0, 1], "the rest would be read for nothing"
    await keeper.look()
    assert keeper.standing is not None
    again = await claimed(client, keeper, [(Source(1, n), one) for n, one in enumerate(documents[:3])])
    assert [one.claim for one in again] == [Claim.DUPLICATE] * 3

"""The generation in Redis: all agree on one, each loss is noticed once, and an operator can ask for another."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis.asyncio
from redis.exceptions import ConnectionError as RedisConnectionError

from groundswell.keys import Keys
from stream import generation
from stream.generation import Generation

KEYS = Keys("ns")
WAIT_S = 5.0


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[Any]:
    connection = redis.asyncio.Redis.from_url(redis_url)
    yield connection
    await connection.aclose()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generation, "LOOK_S", 0.01)


async def test_all_who_find_none_agree_on_one(client: Any) -> None:
    found = await asyncio.gather(*(generation.current(client, KEYS) for _ in range(20)))
    assert len({one.id for one in found}) == 1
    await client.flushdb()
    assert (await generation.current(client, KEYS)).id != found[0].id


async def test_an_operator_s_is_another_and_says_from_when(client: Any) -> None:
    before = await generation.current(client, KEYS)
    made = await generation.begin(client, KEYS, 1_700_000_000_000)
    assert await generation.current(client, KEYS) == made
    assert (made.id != before.id, made.from_ms) == (True, 1_700_000_000_000)


@pytest.mark.usefixtures("quick")
async def test_a_loss_is_noticed_once_and_tried_again_until_it_is_dealt_with(client: Any) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()
    failures = 2

    async def changed(found: Generation) -> None:
        nonlocal failures
        if not heard.empty() or failures == 0:
            heard.put_nowait(found.id)
            return
        failures -= 1
        raise RedisConnectionError("away")

    watching = asyncio.create_task(generation.watch(client, KEYS, changed))
    async with asyncio.timeout(WAIT_S):
        first = await heard.get()
        await client.flushdb()
        second = await heard.get()
    await asyncio.sleep(0.1)
    watching.cancel()
    assert failures == 0
    assert first != second
    assert heard.empty(), "told once"
    assert second == (await generation.current(client, KEYS)).id

"""What a request carries is read to a bound, in bytes and in time: F8."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from dashboard.entry import body
from groundswell.clients.connect import MAX_MESSAGE_BYTES
from tests.pages import JSON, open_site


async def test_a_body_that_never_ends_is_refused_after_half_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "WHOLE_S", 0.05)

    async def endless() -> AsyncIterator[bytes]:
        yield b'{"text": "'
        await asyncio.Event().wait()

    async with open_site() as site:
        answer = await site.http.post("/api/v1/documents", content=endless(), headers=JSON)
        assert site.pen.sent == []
    assert answer.status_code == 408
    assert answer.json()["reason"] == "body_too_slow"
    assert "several requests" in answer.json()["remedy"]


async def test_of_a_body_of_gigabytes_no_more_is_read_than_one_message_may_have() -> None:
    given = 0

    async def gigabytes() -> AsyncIterator[bytes]:
        nonlocal given
        for _ in range(32_768):
            given += 65_536
            yield b" " * 65_536

    async with open_site() as site:
        answer = await site.http.post("/api/v1/documents", content=gigabytes(), headers=JSON)
    assert answer.status_code == 413
    assert given <= MAX_MESSAGE_BYTES + 2 * 65_536

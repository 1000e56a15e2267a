"""What push sends: arrays in order, and nothing that the broker must refuse."""

import asyncio
from typing import Any

import msgspec
import pytest

from groundswell.errors import MessageTooLarge
from groundswell.pusher import Pusher


class Broker:
    """Acknowledges everything at once."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes, bytes | None]] = []

    async def send(self, topic: str, value: bytes, key: bytes | None = None) -> "asyncio.Future[Any]":
        self.sent.append((topic, value, key))
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done


async def test_documents_leave_in_order_in_arrays_under_one_key() -> None:
    broker = Broker()
    pusher = Pusher(broker, "news", b"file", batch=3)
    for number in range(8):
        await pusher.add({"text": str(number)})
    await pusher.settle()
    arrays = [msgspec.json.decode(value) for _, value, _ in broker.sent]
    assert [[one["text"] for one in array] for array in arrays] == [["0", "1", "2"], ["3", "4", "5"], ["6", "7"]]
    assert {(topic, key) for topic, _, key in broker.sent} == {("news", b"file")}
    assert pusher.sent == 8


async def test_a_line_that_is_no_document_is_passed_on_alone_and_in_its_place() -> None:
    broker = Broker()
    pusher = Pusher(broker, "news", None, batch=10)
    await pusher.add({"text": "before"})
    await pusher.add(b"not json")
    await pusher.add({"text": "after"})
    await pusher.settle()
    assert [value for _, value, _ in broker.sent] == [b'{"text":"before"}', b"not json", b'{"text":"after"}']


async def test_json_is_sent_byte_for_byte_also_within_an_array() -> None:
    broker = Broker()
    pusher = Pusher(broker, "news", None, batch=2)
    for raw in (b'{"text" : "\\u8dcc\\u505c", "published_at":1.70e12}', b'{"text":"b","text":"c"}', b'{ "text":"d"}'):
        await pusher.add_json(raw)
    await pusher.settle()
    assert [value for _, value, _ in broker.sent] == [
        b'[{"text" : "\\u8dcc\\u505c", "published_at":1.70e12},{"text":"b","text":"c"}]', b'{ "text":"d"}',
    ]  # fmt: skip


@pytest.mark.parametrize("document", [{"text": "x" * 1_100_000}, b"x" * 1_100_000])
async def test_what_the_broker_would_refuse_is_refused_here_and_the_others_go(document: dict[str, str] | bytes) -> None:
    broker = Broker()
    pusher = Pusher(broker, "news", None)
    await pusher.add({"text": "before"})
    with pytest.raises(MessageTooLarge, match="bytes"):
        await pusher.add(document)
    await pusher.add({"text": "after"})
    await pusher.settle()
    assert b"before" in b"".join(value for _, value, _ in broker.sent)
    assert b"after" in b"".join(value for _, value, _ in broker.sent)
    assert pusher.sent == 2

"""The log in pages that neither skip nor repeat, and what a try's end means in words."""

import fakeredis
import msgspec
import pytest

from alerts.people import delivery_log
from alerts.people.delivery_log import in_words
from alerts.words import WORDS
from groundswell.decisions import Delivery
from groundswell.errors import WrongShape
from groundswell.keys import Keys
from groundswell.records import DeliveryOutcome

KEYS = Keys()


def row(number: int, endpoint: str = "hook_a", **more) -> DeliveryOutcome:
    told = {
        "event": f"gw_{number}",
        "episode": "ep_1",
        "endpoint": endpoint,
        "attempt": 1,
        "outcome": "sent",
        "at": 1_000 + number,
    }
    return DeliveryOutcome(**told | more)


@pytest.fixture
async def redis():
    client = fakeredis.FakeAsyncRedis()
    yield client
    await client.aclose()


async def write(redis, *rows: DeliveryOutcome) -> None:
    for one in rows:
        await redis.lpush(f"{KEYS.delivery}:log:{one.endpoint}", msgspec.json.encode(one))


async def read(redis, endpoints, limit):
    found, cursor = [], ""
    for _ in range(100):
        rows, cursor = await delivery_log.page(redis, KEYS, endpoints, cursor=cursor, limit=limit)
        found += rows
        if not cursor:
            return found
    raise AssertionError("no end")


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("same", [1, 4, 50])
async def test_pages_hold_every_row_once_newest_first_even_where_many_share_a_moment(redis, limit, same):
    made = [
        row(number, endpoint, at=1_000 + number // same) for number in range(23) for endpoint in ("hook_a", "hook_b")
    ]
    await write(redis, *made)
    found = await read(redis, ["hook_a", "hook_b"], limit)
    assert [one.at for one in found] == sorted((one.at for one in made), reverse=True)
    assert sorted((one.endpoint, one.event) for one in found) == sorted((one.endpoint, one.event) for one in made)


async def test_what_is_written_meanwhile_moves_nothing(redis):
    await write(redis, *(row(number) for number in range(6)))
    first, cursor = await delivery_log.page(redis, KEYS, ["hook_a"], limit=3)
    await write(redis, row(50), row(51))
    second, end = await delivery_log.page(redis, KEYS, ["hook_a"], cursor=cursor, limit=3)
    assert [one.event for one in first + second] == [f"gw_{number}" for number in (5, 4, 3, 2, 1, 0)]
    assert end == ""


@pytest.mark.parametrize("cursor", ["x", "1-", "-1", "1-2-3", "９-1", "1" * 30])
async def test_a_cursor_of_nobody_is_refused(redis, cursor):
    with pytest.raises(WrongShape) as refused:
        await delivery_log.page(redis, KEYS, ["hook_a"], cursor=cursor)
    assert "next" in refused.value.remedy


async def test_the_tries_of_an_event_or_an_episode_come_in_their_order(redis):
    await write(redis, row(1, attempt=1, outcome="retry", status=500), row(1, attempt=2, at=5_000), row(2, "hook_b"))
    assert [one.attempt for one in await delivery_log.of_event(redis, KEYS, ["hook_a", "hook_b"], "gw_1")] == [1, 2]
    assert len(await delivery_log.of_event(redis, KEYS, ["hook_a", "hook_b"], "ep_1")) == 3


@pytest.mark.parametrize(
    ("one", "says"),
    [
        (row(1, status=204, latency_ms=12), ["answered 204 in 12 ms", "delivered"]),
        (
            row(1, outcome="retry", status=401, reason="http_401", answer="bad signature"),
            ["401", "tried again", "bad signature", "secret"],
        ),
        (row(1, outcome="retry", reason="timed_out", latency_ms=15_000), ["no answer (timed_out)", "answer first"]),
        (row(1, outcome="refused", status=410, reason="endpoint_gone"), ["410", "endpoint_gone", "not tried again"]),
        (row(1, outcome="given_up", reason="unreachable"), ["given up", "Nobody listens"]),
        (
            row(1, outcome="disabled", attempt=0, reason="endpoint_gone"),
            ["not tried", "endpoint_gone", "endpoints enable hook_a"],
        ),
        (row(1, status=250, reason="recipients_refused 1"), ["250", "recipients_refused 1", "delivered"]),
        (row(1, outcome="a_word_of_tomorrow", status=200), ["a_word_of_tomorrow"]),
    ],
)
def test_an_answer_is_said_in_words_with_what_to_do(one, says):
    words = delivery_log.in_words(one)
    assert all(part in words for part in says), words


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("outcome", list(Delivery))
def test_every_outcome_has_its_words_in_both_languages(outcome, lang):
    assert WORDS[lang][f"outcome.{outcome.value}"]
    said = in_words(row(1, outcome=outcome.value, status=500, reason="http_500"), lang)
    assert WORDS[lang][f"outcome.{outcome.value}"] in said or outcome is Delivery.DISABLED


def test_there_are_no_words_for_an_outcome_that_is_none():
    for words in WORDS.values():
        assert {key.partition(".")[2] for key in words if key.startswith("outcome.")} == set(Delivery)


def test_a_chinese_desk_reads_the_log_in_chinese():
    assert in_words(row(1, status=204, latency_ms=12), "zh") == "对方在 12 毫秒内返回 204，已送达。"
    assert in_words(row(1, outcome="retry", reason="timed_out", latency_ms=15_000), "zh") == (
        "等待 15000 毫秒，对方没有应答（timed_out），会自动重试。接收端应先应答，再处理。"
    )
    plainly = row(1, status=200, reason="as_plain_text refused_by_service 11246", latency_ms=90)
    assert in_words(plainly, "zh") == (
        "对方在 90 毫秒内返回 200：原有格式被拒（refused_by_service 11246），已改用纯文本送达。"
    )

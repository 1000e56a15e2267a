"""Rules on a real and on the embedded Redis: applied while rows flow, kept through restarts, evaluated as if nothing had happened."""

import random
from functools import partial
from typing import Any

import msgspec
import pytest
import redis.asyncio

from groundswell.clock import ManualClock
from groundswell.control import ControlView
from groundswell.keys import Keys
from groundswell.records import NEGATIVE, AlertEvent, Row, RuleSet, ScoredBatch, ScoredDocument, Watchlist
from stream.aggregate import AggregateWork
from stream.relay import decode_outgoing
from stream.rulebook.rule_watch import Kept
from stream.store import Store
from stream.topology import Topology
from tests.contract import test_aggregate as road
from tests.contract import test_rebuild as rebuilding
from tests.contract.test_aggregate import DIRECTORY, MINUTE_MS, NOON_MS, POLICY, SUBJECT, Producer, Record

client, fake_url = road.client, road.fake_url  # fixtures
HOUR_MS = 3_600_000


def rule(rule_id: str = "mine", **changes: Any) -> dict[str, Any]:
    counted = {"metric": "count", "window": "15m", "threshold": 5}
    return {"id": rule_id, "name": {"en": "Mine", "zh": "我的"}, "subjects": ["*"], "all": [counted], **changes}


def put(view: ControlView, *rules: dict[str, Any], name: str = "rules_mine") -> None:
    view.apply(name, msgspec.json.encode(RuleSet(id=name, rules=list(rules), by="ana", at=NOON_MS)))


def work(redis_client: Any, view: ControlView) -> AggregateWork:
    return AggregateWork(
        Topology("ns"), Store(redis_client, Keys("ns"), "only"), Producer(), DIRECTORY, POLICY, ManualClock(NOON_MS),  # type: ignore[arg-type]
        idle_s=60.0, view=view,
    )  # fmt: skip


class Rows:
    """Records of one partition, one document each."""

    def __init__(self) -> None:
        self.offset = 0

    def __call__(self, *times_ms: int, **changes: Any) -> list[Record]:
        found = []
        for at_ms in times_ms:
            document = ScoredDocument(
                index=0, id=f"d{self.offset}", story=f"s{self.offset}", published_at=at_ms, ingested_at=at_ms, author=f"a{self.offset}",
                rows=(Row(SUBJECT, NEGATIVE, 0.9),), **changes,
            )  # fmt: skip
            batch = ScoredBatch(partition=0, offset=self.offset, documents=[document])
            found.append(Record(0, self.offset, msgspec.json.encode(batch)))
            self.offset += 1
        return found


async def told(redis_client: Any) -> list[AlertEvent]:
    return [decode_outgoing(entry).event for entry in await redis_client.lrange("ns:{s0}:out", 0, -1)]


async def test_a_rule_is_in_force_from_the_next_batch_on_and_its_alert_waits_in_the_outbox(client: Any) -> None:
    view, rows = ControlView(), Rows()
    aggregate = work(client, view)
    await aggregate.assigned(0)
    await aggregate.process(0, rows(*(NOON_MS + i for i in range(5)), NOON_MS + 3 * MINUTE_MS))
    assert await told(client) == []
    put(view, rule())
    await aggregate.process(0, rows(NOON_MS + 5 * MINUTE_MS))
    (event,) = await told(client)
    assert (event.type, event.data.rule.id, event.data.subject.id) == ("alert.firing", "mine", SUBJECT)
    assert event.data.observed.negatives == 5  # as of the step that closed
    kept = msgspec.json.decode(await client.get("ns:{s0}:rules"), type=Kept)
    assert [one.subject for one in kept.matches["mine"]] == [SUBJECT]
    assert aggregate.in_force().revision == aggregate.parts[0].rules.force.revision != ""


async def test_a_rule_that_is_removed_ends_its_episode_and_an_unreadable_one_harms_nobody(client: Any) -> None:
    view, rows = ControlView(), Rows()
    aggregate = work(client, view)
    put(view, rule())
    put(view, {"id": "broken", "metric": "x"}, rule("other", subjects=["XSHG:*"]), name="rules_foreign")
    await aggregate.assigned(0)
    await aggregate.process(0, rows(*(NOON_MS + i for i in range(5)), NOON_MS + 2 * MINUTE_MS))
    view.apply("rules_mine", None)
    await aggregate.process(0, rows(NOON_MS + 4 * MINUTE_MS))
    assert [(one.type, one.data.rule.id) for one in await told(client)] == [
        ("alert.firing", "mine"),
        ("alert.resolved", "mine"),
    ]


@pytest.mark.parametrize("every", [1, 3])
async def test_restarts_and_cuts_change_no_alert(client: Any, every: int) -> None:
    view = ControlView()
    day = {"metric": "count", "window": "24h", "threshold": 12}
    once_more = {"metric": "episodes", "of": "this-rule", "within": "7d", "threshold": 2}
    short = {"metric": "count", "window": "5m", "threshold": 3}
    put(
        view,
        rule(),
        rule("day", all=[day]),
        rule("fraud", all=[short, once_more], topics=["fraud"]),
        rule("held", **{"for": "3m"}),
    )

    async def run(cut: bool) -> list[bytes]:
        await client.flushdb()
        rows, aggregate, bodies = Rows(), work(client, view), []
        await aggregate.assigned(0)
        flow = []
        for hour in (0, 4, 9, 14):
            at_ms = NOON_MS + hour * HOUR_MS
            flow += rows(*(at_ms + i for i in range(3)), topics=("fraud",))
            flow += rows(
                *(at_ms + MINUTE_MS + i for i in range(2 if hour else 4)),
                at_ms - 20 * MINUTE_MS,
                at_ms + 30 * MINUTE_MS,
            )
        for at in range(0, len(flow), every if cut else len(flow)):
            if cut:
                aggregate = work(client, view)
                await aggregate.assigned(0)
            await aggregate.process(0, flow[at : at + (every if cut else len(flow))])
        bodies = await client.lrange("ns:{s0}:out", 0, -1)
        return list(bodies)

    whole, pieces = await run(cut=False), await run(cut=True)
    assert whole == pieces
    firing = [decode_outgoing(one).event for one in whole]
    assert {one.data.rule.id for one in firing if one.type == "alert.firing"} == {"mine", "day", "fraud", "held"}


async def test_a_rule_over_a_day_that_comes_late_counts_what_memory_has_forgotten(client: Any) -> None:
    view, rows = ControlView(), Rows()
    aggregate = work(client, view)
    await aggregate.assigned(0)
    await aggregate.process(0, rows(*(NOON_MS + i for i in range(5))))
    await aggregate.process(0, rows(NOON_MS + 20 * HOUR_MS))
    put(view, rule(all=[{"metric": "count", "window": "24h", "threshold": 7}]))
    await aggregate.process(0, rows(NOON_MS + 20 * HOUR_MS + 5 * MINUTE_MS, NOON_MS + 20 * HOUR_MS + 9 * MINUTE_MS))
    (event,) = await told(client)
    assert event.data.observed.negatives == 7


async def test_a_watchlist_that_changes_changes_what_a_rule_is_about(client: Any) -> None:
    view, rows = ControlView(), Rows()
    put(view, rule(subjects=["XSHG:*"], watchlist="mine"))
    aggregate = work(client, view)
    await aggregate.assigned(0)
    await aggregate.process(0, rows(*(NOON_MS + i for i in range(5)), NOON_MS + 2 * MINUTE_MS))
    assert await told(client) == []
    watchlist = Watchlist(id="watchlist_mine", name="mine", subjects=["XNAS:*"], by="ana", at=NOON_MS)
    view.apply("watchlist_mine", msgspec.json.encode(watchlist))
    await aggregate.process(0, rows(NOON_MS + 4 * MINUTE_MS))
    assert [one.data.subject.id for one in await told(client)] == [SUBJECT]


async def test_a_lost_redis_costs_rules_nothing(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What rules count, remember and tell is what an undisturbed run does, each alert once."""
    view, steps = ControlView(), rebuilding.story(1)
    some = {"metric": "count", "of": "mentions", "window": "1h", "threshold": 12}
    again = {"metric": "episodes", "of": "this-rule", "within": "7d", "threshold": 2}
    surges = {"metric": "episodes", "of": "negative-surge", "within": "7d", "threshold": 2}
    two = {"metric": "count", "window": "5m", "threshold": 2}
    put(
        view, rule(all=[some]), rule("again", all=[two, again]), rule("surges", all=[surges]),
        rule("wire", all=[{"metric": "share", "window": "30m", "threshold": 0.5}], sources=["w1"], **{"for": "2m"}),
    )  # fmt: skip
    monkeypatch.setattr(rebuilding, "AggregateWork", partial(AggregateWork, view=view))
    async with redis.asyncio.Redis.from_url(redis_url) as found:
        calm = await rebuilding.live(found, steps)
        wanted, left = calm.world.told, msgspec.json.decode(await found.get("ns:{s0}:rules"), type=Kept)
        chance = random.Random(7)
        moments = [sorted(chance.sample(range(50, len(steps)), size)) for size in (3, 2, 3)]
        broken = await rebuilding.live(found, steps, flush=moments[0], crash=moments[1], checkpoint=moments[2])
        kept = msgspec.json.decode(await found.get("ns:{s0}:rules"), type=Kept)
    alerts = calm.world.topics[rebuilding.TOPOLOGY.name(rebuilding.ALERTS)]
    by_rule = {msgspec.json.decode(value, type=AlertEvent).data.rule.id for _, value in alerts}
    assert by_rule >= {"mine", "again", "wire", "negative-surge"}
    assert sorted(broken.world.told) == sorted(wanted), f"told at {moments}"
    assert (kept.standings, kept.surges, kept.matches) == (left.standings, left.surges, left.matches)

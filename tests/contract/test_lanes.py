"""The lanes on a real Redis and on the embedded one: the same answers; no delivery lost, doubled or out of order."""

import contextlib
import random
import socket
import threading
from collections.abc import AsyncIterator, Iterator

import pytest
from redis.asyncio import Redis

from alerts.lanes import LANE_MOST, Item, Lanes, Told, Wait, books, deliveries
from groundswell.errors import Fenced, UnfitRedis
from groundswell.keys import Keys
from groundswell.records import DeliveryOutcome

KEYS = Keys("test")
NOW = 1_700_000_000_000
CLAIM_MS = 20_000


@contextlib.contextmanager
def embedded() -> Iterator[str]:
    from fakeredis import TcpFakeServer

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = TcpFakeServer(("127.0.0.1", port), server_type="redis")
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        server.shutdown()
        server.server_close()


@contextlib.asynccontextmanager
async def client(url: str) -> AsyncIterator[Redis]:
    redis = Redis.from_url(url)
    try:
        yield redis
    finally:
        await redis.aclose()


@pytest.fixture(params=["real", "embedded"])
async def redis(request: pytest.FixtureRequest) -> AsyncIterator[Redis]:
    if request.param == "real":
        async with client(request.getfixturevalue("redis_url")) as found:
            yield found
        return
    with embedded() as url:
        async with client(url) as found:
            yield found


@pytest.fixture
async def lanes(redis: Redis) -> Lanes:
    made = Lanes(redis, KEYS, "me")
    assert await made.hold(60_000)
    return made


async def take_in(
    lanes: Lanes, offset: int, sequence: int, *endpoints: str, episode="ep_1", kind="alert.firing", **more
):
    place = more.pop("place", (0, offset))
    return await lanes.accept(
        place,
        episode=episode,
        sequence=sequence,
        event=f"gw_{episode}_{sequence}",
        type=kind,
        body=f'{{"n":{sequence}}}\r\n"贵"'.encode(),
        now_ms=NOW,
        body_ms=60_000,
        endpoints=endpoints,
        **more,
    )


def row(endpoint: str, item: Item, outcome: str = "sent") -> DeliveryOutcome:
    return DeliveryOutcome(
        event=item.event, episode=item.episode, endpoint=endpoint, attempt=item.attempt, outcome=outcome, at=NOW
    )


async def drain(lanes: Lanes, endpoint: str, now: int = NOW) -> list[str]:
    sent = []
    while isinstance(item := await lanes.claim(endpoint, now, CLAIM_MS), Item):
        sent.append(item.event)
        assert await lanes.finish(endpoint, item, row(endpoint, item), now)
    return sent


async def test_an_accepted_event_is_due_with_its_exact_bytes(lanes):
    assert await take_in(lanes, 0, 1, "risk") == "applied"
    item = await lanes.claim("risk", NOW, CLAIM_MS)
    assert item == Item(
        episode="ep_1",
        event="gw_ep_1_1",
        type="alert.firing",
        attempt=1,
        fence="1",
        body='{"n":1}\r\n"贵"'.encode(),
    )


async def test_a_redelivered_offset_is_ignored_and_a_repeated_event_is_a_duplicate(lanes, redis):
    assert await take_in(lanes, 5, 1, "risk") == "applied"
    assert await take_in(lanes, 5, 1, "risk") == "seen"
    assert await take_in(lanes, 4, 9, "risk") == "seen"
    assert await take_in(lanes, 6, 1, "risk") == "duplicate"
    assert await lanes.refuse((0, 7), NOW) == "dead_lettered"
    assert await lanes.refuse((0, 7), NOW) == "seen"
    assert await lanes.planned() == {0: 7}
    counts = await books(redis, KEYS)
    assert (counts.read, counts.applied, counts.duplicate, counts.dead_lettered) == (3, 1, 1, 1)
    assert counts.balanced
    assert await drain(lanes, "risk") == ["gw_ep_1_1"]


async def test_one_lane_is_in_order_and_waits_for_its_retry_while_others_pass(lanes):
    await take_in(lanes, 0, 1, "risk")
    await take_in(lanes, 1, 2, "risk", kind="alert.updated")
    first = await lanes.claim("risk", NOW, CLAIM_MS)
    assert await lanes.claim("risk", NOW, CLAIM_MS) == Wait(NOW + CLAIM_MS)
    await lanes.finish("risk", first, row("risk", first, "retry"), NOW, again_ms=NOW + 5_000)
    await take_in(lanes, 2, 1, "risk", episode="ep_2")
    assert await drain(lanes, "risk") == ["gw_ep_2_1"]
    assert await lanes.claim("risk", NOW + 4_999, CLAIM_MS) == Wait(NOW + 5_000)
    again = await lanes.claim("risk", NOW + 5_000, CLAIM_MS)
    assert (again.event, again.attempt) == ("gw_ep_1_1", 2)
    assert await lanes.finish("risk", again, row("risk", again), NOW + 5_000)
    last = await lanes.claim("risk", NOW + 5_000, CLAIM_MS)
    assert (last.event, last.attempt) == ("gw_ep_1_2", 1)


async def test_a_claim_that_outlived_itself_cannot_finish(lanes, redis):
    await take_in(lanes, 0, 1, "risk")
    old = await lanes.claim("risk", NOW, CLAIM_MS)
    new = await lanes.claim("risk", NOW + CLAIM_MS, CLAIM_MS)
    assert new.event == old.event
    assert not await lanes.finish("risk", old, row("risk", old), NOW)
    assert await lanes.finish("risk", new, row("risk", new), NOW)
    assert [found.attempt for found in await deliveries(redis, KEYS)] == [2]
    assert await lanes.waiting() == {"risk": 0}


async def test_who_takes_over_goes_on_at_once_and_the_other_is_fenced(lanes, redis):
    await take_in(lanes, 0, 1, "risk")
    left = await lanes.claim("risk", NOW, CLAIM_MS)
    other = Lanes(redis, KEYS, "other")
    assert not await other.hold(60_000)
    with pytest.raises(Fenced):
        await other.claim("risk", NOW, CLAIM_MS)
    await lanes.let_go()
    assert await other.hold(60_000)
    with pytest.raises(Fenced):
        await lanes.finish("risk", left, row("risk", left), NOW)
    with pytest.raises(Fenced):
        await take_in(lanes, 1, 2, "risk")
    taken = await other.claim("risk", NOW, CLAIM_MS, first=True)
    assert (taken.event, taken.attempt) == (left.event, 2)


async def test_a_lease_that_ran_out_can_be_taken(redis):
    one, two = Lanes(redis, KEYS, "one"), Lanes(redis, KEYS, "two")
    assert await one.hold(60_000)
    await redis.pexpire(f"{KEYS.delivery}:lease", 1)
    while await redis.exists(f"{KEYS.delivery}:lease"):
        pass
    assert await two.hold(60_000)
    assert not await one.hold(60_000)


async def test_a_full_lane_drops_updates_and_never_firing_or_resolved(lanes):
    await take_in(lanes, 0, 0, "risk")
    for number in range(1, LANE_MOST + 5):
        await take_in(lanes, number, number, "risk", kind="alert.updated")
    await take_in(lanes, 900, 900, "risk", kind="alert.resolved")
    assert await lanes.waiting() == {"risk": LANE_MOST}
    sent = await drain(lanes, "risk")
    assert (sent[0], sent[-1], len(sent)) == ("gw_ep_1_0", "gw_ep_1_900", LANE_MOST)
    assert "gw_ep_1_1" not in sent
    assert "gw_ep_1_104" in sent


async def test_a_foreign_key_is_named_and_nothing_is_written(lanes, redis):
    await redis.set(f"{KEYS.delivery}:lane:risk:ep_1", "foreign")
    with pytest.raises(UnfitRedis, match="lane:risk:ep_1"):
        await take_in(lanes, 0, 1, "ops", "risk")
    assert await lanes.planned() == {}
    assert await lanes.waiting() == {}
    assert (await books(redis, KEYS)).read == 0


async def test_what_is_held_back_is_found_again_and_told_without_an_offset(lanes, redis):
    await take_in(lanes, 0, 1, held_until_ms=NOW + 1000)
    assert await lanes.held(NOW) == []
    assert await lanes.held(NOW + 1000) == await lanes.held() == ["ep_1"]
    assert await lanes.told("ep_1") == Told(1, "gw_ep_1_1", {})
    assert await lanes.body("gw_ep_1_1")
    assert await take_in(lanes, 0, 1, "risk", place=None) == "applied"
    assert await lanes.held() == []
    assert (await lanes.told("ep_1")).by_endpoint == {"risk": 1}
    assert (await books(redis, KEYS)).read == 1
    assert await drain(lanes, "risk") == ["gw_ep_1_1"]


async def test_a_removed_endpoint_leaves_nothing_and_a_gone_one_its_log(lanes, redis):
    for name in ("removed", "gone"):
        await take_in(lanes, 0 if name == "removed" else 1, 1, name, episode=f"ep_{name}")
        item = await lanes.claim(name, NOW, CLAIM_MS)
        await lanes.finish(name, item, row(name, item, "retry"), NOW, again_ms=NOW)
    assert await lanes.close_endpoint("removed") == 1
    assert await lanes.close_endpoint("gone", gone_at_ms=NOW) == 1
    assert await lanes.gone() == {"gone"}
    assert [found.endpoint for found in await deliveries(redis, KEYS)] == ["gone"]
    assert isinstance(await lanes.claim("gone", NOW, CLAIM_MS), Wait)
    assert [key async for key in redis.scan_iter(match="*:removed*")] == []


async def test_other_topics_begin_at_their_own_offsets_and_finished_events_stay_finished(lanes):
    await lanes.begin("first", [("risk", "gw_old")])
    await take_in(lanes, 41, 1, "risk")
    await lanes.begin("second")
    assert await lanes.incarnation() == "second"
    assert await lanes.planned() == {}
    assert await lanes.was_done("gw_old", ["risk", "ops"]) == {"risk"}
    assert await take_in(lanes, 0, 1, "risk") == "duplicate"


async def scenario(redis: Redis, seed: int) -> list[object]:
    """A random life of three endpoints, with kills; all answers in order."""
    rng = random.Random(seed)
    lanes, answers, offset, now = Lanes(redis, KEYS, "t0"), [], 0, NOW
    await lanes.hold(600_000)
    first = dict.fromkeys("abc", True)
    for step in range(120):
        now += rng.randrange(3_000)
        endpoint = rng.choice("abc")
        match rng.randrange(10):
            case 0 | 1 | 2:
                offset += rng.randrange(2)
                episode = f"ep_{rng.randrange(3)}"
                kind = rng.choice(["alert.firing", "alert.updated"])
                answers.append(await take_in(lanes, offset, step, *rng.sample("abc", 2), episode=episode, kind=kind))
            case 3:
                await lanes.let_go()
                lanes = Lanes(redis, KEYS, f"t{step}")
                answers.append(await lanes.hold(600_000))
                first = dict.fromkeys("abc", True)
            case _:
                found = await lanes.claim(endpoint, now, CLAIM_MS, first=first[endpoint])
                first[endpoint] = False
                answers.append(found)
                if isinstance(found, Item) and rng.random() < 0.8:
                    again = None if rng.random() < 0.6 else now + rng.randrange(5_000)
                    answers.append(await lanes.finish(endpoint, found, row(endpoint, found), now, again))
    answers += [await lanes.waiting(), await lanes.planned(), await books(redis, KEYS)]
    return answers


@pytest.mark.parametrize("seed", range(5))
async def test_both_kinds_of_redis_answer_alike(redis_url, seed):
    with embedded() as url:
        async with client(redis_url) as real, client(url) as fake:
            answered = await scenario(real, seed)
            assert answered == await scenario(fake, seed)
            assert sum(isinstance(answer, Item) for answer in answered) > 20


@pytest.mark.parametrize("seed", range(5))
async def test_whatever_fails_each_episode_arrives_whole_and_in_order(redis, seed):
    """Kills, redelivered offsets and failing tries: first arrivals of an episode are all there and in order."""
    rng = random.Random(seed)
    arrived: dict[str, list[int]] = {}
    pushed: dict[str, list[int]] = {}
    lanes, offset, now = Lanes(redis, KEYS, "t0"), 0, NOW
    await lanes.hold(600_000)
    first = True
    for step in range(60):
        now += 1_000
        if rng.random() < 0.5:
            episode = f"ep_{rng.randrange(3)}"
            for _ in range(rng.choice([1, 1, 2])):  # read twice after a lost commit
                fate = await take_in(lanes, offset, step, "risk", episode=episode)
                if fate == "applied":
                    pushed.setdefault(episode, []).append(step)
            offset += 1
        if rng.random() < 0.15:
            await lanes.let_go()
            lanes, first = Lanes(redis, KEYS, f"t{step}"), True
            await lanes.hold(600_000)
        found = await lanes.claim("risk", now, CLAIM_MS, first=first)
        first = False
        if isinstance(found, Item):
            if rng.random() < 0.7:
                seen = arrived.setdefault(found.episode, [])
                number = int(found.event.rpartition("_")[2])
                seen.append(number) if number not in seen else None
                if rng.random() < 0.8:  # else killed between the answer and the note
                    await lanes.finish("risk", found, row("risk", found), now)
            else:
                await lanes.finish("risk", found, row("risk", found, "retry"), now, again_ms=now + 500)
    for _ in range(3):
        now += CLAIM_MS
        for event in await drain(lanes, "risk", now):
            episode, _, number = event.removeprefix("gw_").rpartition("_")
            seen = arrived.setdefault(episode, [])
            seen.append(int(number)) if int(number) not in seen else None
    assert arrived == pushed

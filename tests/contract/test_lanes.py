"""The lanes on a real Redis and on the embedded one: the same answers; no delivery lost, doubled or out of order."""

import contextlib
import random
import socket
import threading
from collections.abc import AsyncIterator, Iterator

import pytest
from redis.asyncio import Redis

from alerts.case import Head, Told
from alerts.health import Health, State
from alerts.lanes import (
    ALL,
    LANE_MOST,
    Accept,
    Addressed,
    Claim,
    Finish,
    Item,
    Known,
    Lanes,
    Wait,
    books,
    deliveries,
    health,
)
from alerts.say import Say
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


HEAD = Head(written_ms=NOW, fired_ms=NOW)
NEVER = float("inf")


def told(endpoint: str, event: str, say: Say = Say.FIRING, *, lane: str = "", sequence: int = 1, **more) -> Addressed:
    return Addressed(endpoint=endpoint, told=Told(sequence, say, NOW), event=event, say=say, lane=lane, **more)


async def take_in(
    lanes: Lanes, offset: int, sequence: int, *endpoints: str, episode="ep_1", say=Say.FIRING, lane="", **more
) -> str:
    place, name = more.pop("place", (0, offset)), f"gw_{episode}_{sequence}"
    urgent, now = more.pop("urgent", False), more.pop("now", NOW)
    tellings = [
        told(endpoint, name, say, lane=lane or episode, sequence=sequence, urgent=urgent) for endpoint in endpoints
    ]
    given = {"look_ms": NEVER} | more
    planned = Accept(
        place=place,
        now_ms=now,
        episode=episode,
        sequence=sequence,
        head=HEAD,
        body=b"newest",
        bodies={name: f'{{"n":{sequence}}}\r\n"贵"'.encode()},
        tellings=tellings,
        **given,
    )
    ((fate, _),) = await lanes.accept(planned)
    return fate


async def claim(lanes: Lanes, endpoint: str, now: int = NOW, **more) -> Claim | Wait:
    found = await lanes.claim(endpoint, now, CLAIM_MS, **more)
    return found if isinstance(found, Wait) else found[0]


def row(endpoint: str, item: Item, attempt: int, outcome: str = "sent", at: int = NOW) -> DeliveryOutcome:
    return DeliveryOutcome(
        event=item.event, episode=item.episode, endpoint=endpoint, attempt=attempt, outcome=outcome, at=at
    )


async def end(lanes: Lanes, endpoint: str, one: Claim, now: int = NOW, *, again: int | None = None, **more) -> bool:
    outcome = "sent" if again is None else "retry"
    rows = [row(endpoint, item, one.attempt, outcome, now) for item in one.items]
    pop = len(one.items) if again is None else 0
    given = {"following_ms": now} | more
    return (await lanes.finish([Finish(endpoint=endpoint, claim=one, rows=rows, pop=pop, again_ms=again, **given)]))[0]


async def drain(lanes: Lanes, endpoint: str, now: int = NOW, **more) -> list[str]:
    sent = []
    while isinstance(one := await claim(lanes, endpoint, now, **more), Claim):
        sent += [item.event for item in one.items]
        assert await end(lanes, endpoint, one, now)
    return sent


async def test_an_accepted_event_is_due_with_its_exact_bytes(lanes):
    assert await take_in(lanes, 0, 1, "risk") == "applied"
    item = Item(
        event="gw_ep_1_1",
        say=Say.FIRING,
        episode="ep_1",
        planned_ms=NOW,
        replayed=False,
        body='{"n":1}\r\n"贵"'.encode(),
    )
    assert await claim(lanes, "risk") == Claim(lane="ep_1", fence="1", attempt=1, items=[item])


async def test_a_redelivered_offset_is_ignored_and_a_repeated_event_is_a_duplicate(lanes, redis):
    assert await take_in(lanes, 5, 1, "risk") == "applied"
    assert await take_in(lanes, 5, 1, "risk") == "seen"
    assert await take_in(lanes, 4, 9, "risk") == "seen"
    assert await take_in(lanes, 6, 1, "risk") == "duplicate"
    refused = Accept(place=(0, 7), now_ms=NOW, refused=True)
    assert [fate for fate, _ in await lanes.accept(refused, refused)] == ["dead_lettered", "seen"]
    assert await lanes.planned() == {0: 7}
    counts = await books(redis, KEYS)
    assert (counts.read, counts.applied, counts.duplicate, counts.dead_lettered) == (3, 1, 1, 1)
    assert counts.balanced
    assert await drain(lanes, "risk") == ["gw_ep_1_1"]


async def test_one_lane_is_in_order_and_waits_for_its_retry_while_others_pass(lanes):
    await take_in(lanes, 0, 1, "risk")
    await take_in(lanes, 1, 2, "risk", say=Say.UPDATED)
    first = await claim(lanes, "risk")
    assert await claim(lanes, "risk") == Wait(NOW + CLAIM_MS)
    await end(lanes, "risk", first, again=NOW + 5_000)
    await take_in(lanes, 2, 1, "risk", episode="ep_2")
    assert await drain(lanes, "risk") == ["gw_ep_2_1"]
    assert await claim(lanes, "risk", NOW + 4_999) == Wait(NOW + 5_000)
    again = await claim(lanes, "risk", NOW + 5_000)
    assert (again.items[0].event, again.attempt) == ("gw_ep_1_1", 2)
    assert await end(lanes, "risk", again, NOW + 5_000)
    last = await claim(lanes, "risk", NOW + 5_000)
    assert (last.items[0].event, last.attempt) == ("gw_ep_1_2", 1)


async def test_several_lanes_are_claimed_at_once_and_one_can_be_asked_for_first(lanes):
    for number in range(4):
        await take_in(lanes, number, 1, "risk", episode=f"ep_{number}", now=NOW + number)
    found = await lanes.claim("risk", NOW + 9, CLAIM_MS, lanes=2)
    assert [one.lane for one in found] == ["ep_0", "ep_1"]
    assert (await claim(lanes, "risk", NOW + 9, wanted="ep_3")).lane == "ep_3"
    assert (await claim(lanes, "risk", NOW + 9, wanted="ep_3")).lane == "ep_2"


async def test_a_claim_that_outlived_itself_cannot_finish(lanes, redis):
    await take_in(lanes, 0, 1, "risk")
    old = await claim(lanes, "risk")
    new = await claim(lanes, "risk", NOW + CLAIM_MS)
    assert new.items == old.items
    assert not await end(lanes, "risk", old)
    assert await end(lanes, "risk", new)
    assert [found.attempt for found in await deliveries(redis, KEYS)] == [2]
    assert await lanes.waiting() == {"risk": 0}


async def test_who_takes_over_goes_on_at_once_and_the_other_is_fenced(lanes, redis):
    await take_in(lanes, 0, 1, "risk")
    left = await claim(lanes, "risk")
    other = Lanes(redis, KEYS, "other")
    assert not await other.hold(60_000)
    with pytest.raises(Fenced):
        await claim(other, "risk")
    await lanes.let_go()
    assert await other.hold(60_000)
    with pytest.raises(Fenced):
        await end(lanes, "risk", left)
    with pytest.raises(Fenced):
        await take_in(lanes, 1, 2, "risk")
    taken = await claim(other, "risk", first=True)
    assert (taken.items[0].event, taken.attempt) == (left.items[0].event, 2)


async def test_a_lease_that_ran_out_can_be_taken(redis):
    one, two = Lanes(redis, KEYS, "one"), Lanes(redis, KEYS, "two")
    assert await one.hold(60_000)
    await redis.pexpire(f"{KEYS.delivery}:lease", 1)
    while await redis.exists(f"{KEYS.delivery}:lease"):
        pass
    assert not await one.keep(60_000)
    assert await two.hold(60_000)
    assert await two.keep(60_000)
    assert not await one.hold(60_000)


async def test_scripts_are_loaded_again_after_redis_was_restarted(lanes, redis):
    await take_in(lanes, 0, 1, "risk")
    await redis.script_flush()
    assert await take_in(lanes, 1, 2, "risk") == "applied"


async def test_a_full_lane_drops_updates_and_never_firing_or_resolved(lanes):
    await take_in(lanes, 0, 0, "risk")
    for number in range(1, LANE_MOST + 5):
        await take_in(lanes, number, number, "risk", say=Say.UPDATED)
    await take_in(lanes, 900, 900, "risk", say=Say.RESOLVED)
    assert await lanes.waiting() == {"risk": LANE_MOST}
    sent = await drain(lanes, "risk")
    assert (sent[0], sent[-1], len(sent)) == ("gw_ep_1_0", "gw_ep_1_900", LANE_MOST)
    assert "gw_ep_1_1" not in sent
    assert "gw_ep_1_104" in sent


async def test_a_repeat_that_waits_gives_way_to_a_newer_one_and_not_while_it_is_on_its_way(lanes):
    await take_in(lanes, 0, 1, "risk", say=Say.REPEAT)
    under_way = await claim(lanes, "risk")
    for number in (2, 3, 4):
        await take_in(lanes, number, number, "risk", say=Say.REPEAT)
    assert await lanes.waiting() == {"risk": 2}
    assert await end(lanes, "risk", under_way)
    assert await drain(lanes, "risk") == ["gw_ep_1_4"]


async def test_a_message_takes_all_that_waits_and_the_rest_stays_in_order(lanes):
    for number in range(5):
        await take_in(lanes, number, 1, "chat", episode=f"ep_{number}", lane=ALL)
    one = await claim(lanes, "chat", items=3)
    assert [item.episode for item in one.items] == ["ep_0", "ep_1", "ep_2"]
    await take_in(lanes, 9, 2, "chat", episode="ep_1", lane=ALL, say=Say.RESOLVED)
    # The first was too old, the others failed.
    rows = [row("chat", one.items[0], 1, "given_up"), row("chat", one.items[1], 1, "retry")]
    assert await lanes.finish([Finish(endpoint="chat", claim=one, rows=rows, pop=1, again_ms=NOW + 9)]) == [True]
    assert await lanes.waiting() == {"chat": 5}
    again = await claim(lanes, "chat", NOW + 9, items=20)
    assert [item.event for item in again.items] == ["gw_ep_1_1", "gw_ep_2_1", "gw_ep_3_1", "gw_ep_4_1", "gw_ep_1_2"]
    assert again.attempt == 2


async def test_after_a_message_a_chat_rests_and_what_is_urgent_only_keeps_its_distance(lanes):
    await take_in(lanes, 0, 1, "chat", lane=ALL)
    one = await claim(lanes, "chat", items=20)
    await end(lanes, "chat", one, rest_ms=NOW + 60_000, spaced_ms=NOW + 3_000, following_ms=NOW + 60_000)
    await take_in(lanes, 1, 1, "chat", episode="ep_2", lane=ALL)
    assert await claim(lanes, "chat", NOW + 10_000) == Wait(NOW + 60_000)
    await take_in(lanes, 2, 1, "chat", episode="ep_3", lane=ALL, urgent=True)
    assert await claim(lanes, "chat", NOW + 2_999) == Wait(NOW + 3_000)
    both = await claim(lanes, "chat", NOW + 3_000, items=20)
    assert [item.episode for item in both.items] == ["ep_2", "ep_3"]


async def test_what_is_urgent_does_not_cut_short_the_back_off_of_a_failed_message(lanes):
    await take_in(lanes, 0, 1, "chat", lane=ALL)
    await end(lanes, "chat", await claim(lanes, "chat"), again=NOW + 30_000)
    await take_in(lanes, 1, 1, "chat", episode="ep_2", lane=ALL, urgent=True)
    assert await claim(lanes, "chat", NOW + 10) == Wait(NOW + 30_000)


async def test_how_an_endpoint_fares_is_kept_and_when_it_heals_all_lanes_are_due(lanes, redis):
    for number in range(3):
        await take_in(lanes, number, 1, "risk", episode=f"ep_{number}")
    for one in await lanes.claim("risk", NOW, CLAIM_MS, lanes=2):
        await end(lanes, "risk", one, again=NOW + 60_000, health=Health(state=State.DEGRADED, failures=5))
    assert (await health(redis, KEYS))["risk"] == Health(state=State.DEGRADED, failures=5)
    third = await claim(lanes, "risk")
    await end(lanes, "risk", third, health=Health(last_sent_ms=NOW), heal=True)
    assert (await lanes.health())["risk"].state is State.HEALTHY
    assert sorted(await drain(lanes, "risk")) == ["gw_ep_0_1", "gw_ep_1_1"]
    await take_in(lanes, 9, 2, "risk", episode="ep_0")
    await end(lanes, "risk", await claim(lanes, "risk"), again=NOW + 60_000)
    await lanes.enable("risk", Health(), NOW + 1)
    assert await drain(lanes, "risk", NOW + 1) == ["gw_ep_0_2"]


async def test_a_foreign_key_is_named_and_nothing_is_written(lanes, redis):
    await redis.set(f"{KEYS.delivery}:lane:risk:ep_1", "foreign")
    with pytest.raises(UnfitRedis, match="lane:risk:ep_1"):
        await take_in(lanes, 0, 1, "ops", "risk")
    assert await lanes.planned() == {}
    assert await lanes.waiting() == {}
    assert (await books(redis, KEYS)).read == 0
    await redis.set(f"{KEYS.delivery}:tries:ops", "foreign")
    with pytest.raises(UnfitRedis, match="tries:ops"):
        await claim(lanes, "ops")


async def test_a_foreign_log_stops_the_note_and_the_delivery_is_tried_again(lanes, redis):
    await take_in(lanes, 0, 1, "risk")
    one = await claim(lanes, "risk")
    await redis.set(f"{KEYS.delivery}:log:risk", "foreign")
    with pytest.raises(UnfitRedis, match="log:risk"):
        await end(lanes, "risk", one)
    assert await lanes.waiting() == {"risk": 1}
    assert (await claim(lanes, "risk", NOW + CLAIM_MS)).items == one.items


async def test_an_open_episode_is_looked_at_when_its_time_comes_and_told_without_an_offset(lanes, redis):
    await take_in(lanes, 0, 1, look_ms=NOW + 1_000)
    await take_in(lanes, 1, 1, episode="ep_2")
    assert await lanes.open(NOW) == []
    assert await lanes.open(NOW + 1_000) == ["ep_1"]
    assert await lanes.open() == ["ep_1", "ep_2"]
    assert (await lanes.known(["ep_1"]))["ep_1"] == Known(1, HEAD, b"newest", {})
    assert await take_in(lanes, 0, 1, "risk", place=None) == "applied"
    assert await lanes.open(NOW + 1_000) == []
    assert ((await lanes.known(["ep_1"]))["ep_1"]).told == {"risk": Told(1, Say.FIRING, NOW)}
    assert (await books(redis, KEYS)).read == 2
    assert await drain(lanes, "risk") == ["gw_ep_1_1"]
    assert await take_in(lanes, 0, 0, "risk", place=None) == "duplicate"


async def test_of_a_closed_episode_only_its_sequence_is_kept(lanes):
    await take_in(lanes, 0, 1, "risk")
    await take_in(lanes, 1, 2, "risk", say=Say.RESOLVED, look_ms=None, close=True)
    assert await lanes.open() == []
    assert (await lanes.known(["ep_1"]))["ep_1"] == Known(2)
    assert await take_in(lanes, 2, 2, "risk") == "duplicate"
    assert await drain(lanes, "risk") == ["gw_ep_1_1", "gw_ep_1_2"]


async def test_a_replay_notes_what_was_told_only_where_nothing_was(lanes):
    await take_in(lanes, 0, 5, "risk")
    body = {"gw_old": b"{}"}
    for endpoint in ("risk", "new"):
        await lanes.push("ep_1", NOW, body, [told(endpoint, "gw_old", lane="ep_1", sequence=1, replayed=True)])
    await lanes.push("ep_over", NOW, body, [told("new", "gw_old", lane="ep_over", replayed=True)])
    heard = ((await lanes.known(["ep_1"]))["ep_1"]).told
    assert (heard["risk"].sequence, heard["new"].sequence) == (5, 1)
    assert ((await lanes.known(["ep_over"]))["ep_over"]).told == {}
    again = await claim(lanes, "new")
    assert (again.items[0].event, again.items[0].replayed) == ("gw_old", True)


async def test_a_removed_endpoint_leaves_nothing(lanes, redis):
    for number, name in enumerate(("removed", "other")):
        await take_in(lanes, number, 1, name, episode=f"ep_{name}")
        await end(lanes, name, await claim(lanes, name), again=NOW, health=Health(failures=1))
    await lanes.log(
        row("logged", Item(event="gw_t", say=Say.TEST, episode="ep", planned_ms=0, replayed=False, body=b""), 0)
    )
    assert await lanes.kept() == {"removed", "other", "logged"}
    assert await lanes.drop("logged") == 0
    assert await lanes.drop("removed") == 1
    assert await lanes.kept() == {"other"}
    assert [found.endpoint for found in await deliveries(redis, KEYS)] == ["other"]
    assert isinstance(await claim(lanes, "removed"), Wait)
    assert list(await health(redis, KEYS)) == ["other"]
    assert [key async for key in redis.scan_iter(match="*:removed*")] == []
    assert [key async for key in redis.scan_iter(match="*:logged*")] == []


async def test_other_topics_begin_at_their_own_offsets_and_finished_events_stay_finished(lanes):
    assert not await lanes.rebuilt()
    item = Item(event="gw_old", say=Say.FIRING, episode="ep", planned_ms=0, replayed=False, body=b"")
    await lanes.remember([row("risk", item, 1)])
    await lanes.begin("first")
    await take_in(lanes, 41, 1, "risk")
    await lanes.begin("second")
    assert await lanes.incarnation() == "second"
    assert await lanes.planned() == {}
    assert await lanes.rebuilt()
    assert await lanes.done("gw_old") == {"risk": NOW}
    assert await take_in(lanes, 0, 1, "risk") == "duplicate"


async def scenario(redis: Redis, seed: int) -> list[object]:
    """A random life of three endpoints, one of them a chat, with kills; all answers in order."""
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
                say = rng.choice([Say.FIRING, Say.UPDATED, Say.REPEAT])
                wanted = [ALL] if rng.random() < 0.5 else [episode]
                ends = ["c"] if wanted == [ALL] else rng.sample("ab", rng.randrange(1, 3))
                answers.append(
                    await take_in(lanes, offset, step, *ends, episode=episode, say=say, lane=wanted[0],
                                  urgent=rng.random() < 0.3, now=now, look_ms=now + rng.randrange(9_000))
                )  # fmt: skip
                answers.append(await lanes.open(now))
            case 3:
                await lanes.let_go()
                lanes = Lanes(redis, KEYS, f"t{step}")
                answers.append(await lanes.hold(600_000))
                first = dict.fromkeys("abc", True)
            case _:
                found = await lanes.claim(
                    endpoint,
                    now,
                    CLAIM_MS,
                    first=first[endpoint],
                    lanes=rng.randrange(1, 3),
                    items=3 if endpoint == "c" else 1,
                )
                first[endpoint] = False
                answers.append(found)
                for one in () if isinstance(found, Wait) else found:
                    if rng.random() < 0.8:
                        again = None if rng.random() < 0.6 else now + rng.randrange(5_000)
                        rest = {"rest_ms": now + 9_000, "spaced_ms": now + 500} if endpoint == "c" else {}
                        answers.append(
                            await end(lanes, endpoint, one, now, again=again, heal=rng.random() < 0.2, **rest)
                        )
    answers += [await lanes.waiting(), await lanes.planned(), await books(redis, KEYS)]
    return answers


@pytest.mark.parametrize("seed", range(5))
async def test_both_kinds_of_redis_answer_alike(redis_url, seed):
    with embedded() as url:
        async with client(redis_url) as real, client(url) as fake:
            answered = await scenario(real, seed)
            assert answered == await scenario(fake, seed)
            assert sum(isinstance(answer, list) and bool(answer) for answer in answered) > 15


@pytest.mark.parametrize("seed", range(5))
async def test_whatever_fails_each_episode_arrives_whole_and_in_order(redis, seed):
    """Kills, redelivered offsets and failing tries: first arrivals of an episode are all there and in order."""
    rng = random.Random(seed)
    arrived: dict[str, list[int]] = {}
    pushed: dict[str, list[int]] = {}
    lanes, offset, now = Lanes(redis, KEYS, "t0"), 0, NOW
    await lanes.hold(600_000)
    first = True

    def arrives(event: str) -> None:
        episode, _, number = event.removeprefix("gw_").rpartition("_")
        seen = arrived.setdefault(episode, [])
        seen.append(int(number)) if int(number) not in seen else None

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
        found = await lanes.claim("risk", now, CLAIM_MS, first=first, lanes=2)
        first = False
        for one in () if isinstance(found, Wait) else found:
            if rng.random() < 0.7:
                arrives(one.items[0].event)
                if rng.random() < 0.8:  # else killed between the answer and the note
                    await end(lanes, "risk", one, now)
            else:
                await end(lanes, "risk", one, now, again=now + 500)
    for _ in range(3):
        now += CLAIM_MS
        for event in await drain(lanes, "risk", now):
            arrives(event)
    assert arrived == pushed

"""The past of a file in a running aggregate, on a real and on the embedded Redis: what it learns, when it leaves well alone, and shadow.

Stands on the world of test_rebuild.py: a broker in memory, one scored partition with two subjects.
"""

from collections import Counter
from typing import Any

import msgspec
import numpy as np
import pytest

from groundswell.clock import ManualClock
from groundswell.decisions import SubjectState
from groundswell.keys import HOUR_MS, MINUTE_MS
from groundswell.records import AlertEvent, ScoredBatch
from stream import baselines, generation
from stream.baselines import Closed
from stream.detection import surge
from stream.detection.detect import Transition
from stream.live import rows
from stream.past import history
from stream.past.backtest import Counted, Play
from stream.past.past_file import PastFile
from stream.past.shadow import Ledger, Shadow
from stream.rebuild import Plan, plan
from stream.store import Store
from stream.topology import ALERTS, BASELINES
from tests.contract.test_rebuild import (
    DIRECTORY,
    KEYS,
    NOON_MS,
    OTHER,
    POLICY,
    SUBJECT,
    TOPOLOGY,
    Aggregate,
    World,
    client,
    fake_url,
    live,
    record,
    story,
)

__all__ = ["client", "fake_url"]  # fixtures
DAYS = 3
FIRST_MS = NOON_MS - DAYS * 24 * HOUR_MS


def past(days: int = DAYS, subject: str = SUBJECT, until_ms: int = NOON_MS, a_day: float = 200.0) -> PastFile:
    """Counts of quiet days up to noon."""
    chance, found = np.random.default_rng(days), PastFile("counts")
    for minute_ms in range(until_ms - days * 24 * HOUR_MS, until_ms, MINUTE_MS):
        negative, rest = (int(chance.poisson(a_day / 1440)) for _ in range(2))
        if negative + rest:
            found.lanes[0].append(Counted(subject, minute_ms, negative, negative + rest, negative + rest))
            found.reach(minute_ms)
    found.subjects.add(subject)
    found.documents = len(found.lanes[0])
    return found


async def imported(one: Aggregate, file: PastFile) -> list[str]:
    """What `groundswell import-history` does. Returns the subjects that were written."""
    known = await history.standing(one.client, KEYS, TOPOLOGY, sorted(file.subjects))
    new = [
        each for each in history.learn(file, known, POLICY, DIRECTORY)
        if history.says_more(each.row, known[each.subject].row if each.subject in known else None)
    ]  # fmt: skip
    for each in new:
        made = history.record(each, TOPOLOGY, "only", 60, one.clock.now_ms())
        made = msgspec.structs.replace(made, partition=0)  # in this world there is one
        await one.world.send(TOPOLOGY.name(BASELINES), baselines.encode(made), key=made.key)
    if new:
        await generation.begin(one.client, KEYS)
        await one.work.lost(await generation.current(one.client, KEYS))
        one.at = None
        await one.read()
        await one.tick()
    return [each.subject for each in new]


@pytest.fixture(autouse=True)
def _one_partition(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(TOPOLOGY), "scored_partition", lambda _self, _subject: 0)


async def begun(client: Any) -> Aggregate:
    await client.flushdb()
    await generation.begin(client, KEYS)
    one = Aggregate(World(), client, ManualClock(NOON_MS))
    await one.read()
    return one


def seen_days(one: Aggregate, subject: str = SUBJECT) -> float:
    at = one.part.detector.subjects.index(subject)
    return float(surge.seen(one.part.detector.state)[1][at]) / 86_400


async def test_a_new_installation_does_not_start_blind(client: Any) -> None:
    one = await begun(client)
    assert await imported(one, past()) == [SUBJECT]
    steps = [step for step in story(0) if step.at_s < 600]
    for step in steps:
        if step.documents:
            one.world.log.append(record(len(one.world.log), step))
    await one.read()
    assert one.part.detector.standing(SUBJECT) != SubjectState.LEARNING
    assert one.part.detector.standing(OTHER) == SubjectState.LEARNING, "the file says nothing of it"
    assert seen_days(one) == pytest.approx(DAYS, abs=0.02)
    [known] = history.learn(past(), {}, POLICY, DIRECTORY)
    usual = surge.level(one.part.detector.state, POLICY.settings)[one.part.detector.subjects.index(SUBJECT)]
    assert usual == pytest.approx(surge.level(known.row, POLICY.settings)[0], rel=0.1)
    assert one.world.told == []


async def test_a_learning_subject_shows_how_far_it_is(client: Any) -> None:
    one = await begun(client)
    for step in [step for step in story(0) if step.at_s < 600 and step.documents]:
        one.world.log.append(record(len(one.world.log), step))
    await one.read()
    shown = {row.subject: row for row in rows(one.part.window, one.part.detector, DIRECTORY)}
    assert shown[OTHER].state == "learning"
    assert shown[OTHER].learned_s > 0
    assert shown[OTHER].learned_negatives < 20


async def test_a_running_installation_keeps_what_it_has_learned_above_the_past(client: Any) -> None:
    steps = story(3)
    one = await live(client, steps)
    own_days, told, subjects = seen_days(one), list(one.world.told), list(one.part.detector.subjects)
    assert await imported(one, past()) == [SUBJECT]
    assert not one.part.warming
    assert seen_days(one) == pytest.approx(own_days + DAYS, abs=0.01)
    assert set(one.part.detector.subjects) == set(subjects)
    await one.relay()
    assert one.world.told == told, "no alert is made of the past"


async def test_the_same_file_twice_changes_nothing(client: Any) -> None:
    one = await live(client, story(3))
    await imported(one, past())
    before, topic = one.part.detector.state.to_bytes(), list(one.world.topics[TOPOLOGY.name(BASELINES)])
    assert await imported(one, past()) == []
    assert one.part.detector.state.to_bytes() == before
    assert one.world.topics[TOPOLOGY.name(BASELINES)] == topic
    await generation.begin(client, KEYS)  # counted anew for another reason: the history is on its topic still
    await one.work.lost(await generation.current(client, KEYS))
    one.at = None
    await one.read()
    await one.tick()
    assert one.part.detector.state.to_bytes() == before


async def test_who_has_learned_longer_than_the_file_is_left_alone(client: Any) -> None:
    one = await live(client, story(3))
    before = one.part.detector.state.to_bytes()
    first_ms = (await history.standing(client, KEYS, TOPOLOGY, [SUBJECT]))[SUBJECT].first_ms
    short = past(days=1, until_ms=first_ms - 22 * HOUR_MS)
    assert await imported(one, PastFile("counts", {0: short.lanes[0][-60:]}, documents=60, first_ms=first_ms - HOUR_MS * 23,
                                        last_ms=first_ms - 22 * HOUR_MS, subjects={SUBJECT})) == []  # fmt: skip
    assert one.part.detector.state.to_bytes() == before


async def test_what_was_counted_live_is_not_taken_from_the_file_again(client: Any) -> None:
    one = await live(client, story(3))
    own_days = seen_days(one)
    over = past(days=DAYS + 1, until_ms=NOON_MS + 24 * HOUR_MS)  # the last day of it is lived through already
    assert await imported(one, over) == [SUBJECT]
    assert seen_days(one) == pytest.approx(own_days + DAYS, abs=0.05)


def test_learned_beneath_is_nearly_as_if_learned_in_one_go() -> None:
    whole = history.learn(past(days=6), {}, POLICY, DIRECTORY)[0]
    file = past(days=6)
    middle_ms = NOON_MS - 3 * 24 * HOUR_MS
    halves = [[one for one in file.lanes[0] if (one.minute_ms < middle_ms) == early] for early in (True, False)]
    first, second = (
        history.learn(PastFile("counts", {0: half}, first_ms=half[0].minute_ms, last_ms=half[-1].minute_ms, subjects={SUBJECT}),
                      {}, POLICY, DIRECTORY)[0]
        for half in halves
    )  # fmt: skip
    joined = history.laid(first.row, second.row, SUBJECT, DIRECTORY, POLICY.settings)
    assert surge.seen(joined)[0] == surge.seen(whole.row)[0]
    assert surge.seen(joined)[1] == pytest.approx(surge.seen(whole.row)[1], rel=0.01)
    assert surge.level(joined, POLICY.settings) == pytest.approx(surge.level(whole.row, POLICY.settings), rel=0.1)
    slot = surge.local_slots("UTC", NOON_MS // 1000)
    nothing = np.zeros(1)
    expected = [surge.tick(row, slot, nothing, nothing, nothing, POLICY.settings)[1] for row in (joined, whole.row)]
    assert expected[0].expected == pytest.approx(expected[1].expected, rel=0.15)
    assert expected[0].phi60 == pytest.approx(expected[1].phi60, rel=0.3)


def test_hours_say_nothing_of_how_minutes_vary() -> None:
    file = past()
    plain = history.learn(file, {}, POLICY, DIRECTORY)[0].row
    file.hourly = True
    coarse = history.learn(file, {}, POLICY, DIRECTORY)[0].row
    slot, nothing = surge.local_slots("UTC", NOON_MS // 1000), np.zeros(1)
    phi = [surge.tick(row, slot, nothing, nothing, nothing, POLICY.settings)[1] for row in (plain, coarse)]
    assert phi[0].phi15 < 0.3
    assert phi[1].phi15 == pytest.approx(0.3)
    assert phi[0].phi60 == phi[1].phi60


def test_progress_is_said_in_words() -> None:
    settings = surge.Settings()
    assert history.in_words(None, settings) == "not known"
    assert history.progress(12, 7 * 3600 + 59, settings) == "learning: 12 of 20 negatives, 7 of 24 h"
    whole = history.learn(past(), {}, POLICY, DIRECTORY)[0]
    assert history.in_words(whole.row, settings).startswith("knows 3.0 days, ")


def test_an_import_silences_what_it_would_have_found_in_the_past() -> None:
    made = history.record(history.learn(past(), {}, POLICY, DIRECTORY)[0], TOPOLOGY, "only", 60, 5)
    kept = baselines.gather([baselines.encode(made)], "only")
    found = plan(kept, made.partition, 0, 50, 0, 777, None, None)
    assert isinstance(found, Plan)
    assert found.rebuild.silent_before_ms == 777
    assert plan(baselines.Kept(), 0, 0, 50, 0, 777, None, None).rebuild.silent_before_ms == 0  # type: ignore[union-attr]


# -- what is played from the topics is what was lived -----------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 3])
async def test_the_past_of_an_installation_played_again_tells_the_same_alerts(client: Any, seed: int) -> None:
    one = await live(client, story(seed))
    told: list[Transition] = []
    play = Play([POLICY], DIRECTORY, lambda _number, each: told.append(each))
    lane = play.lane(0)
    closed = sorted(
        (each for each in one.world.baselines if isinstance(each, Closed)),
        key=lambda each: (each.offset, each.start_ms),
    )
    for each in one.world.log:
        while closed and closed[0].offset <= each.offset:
            lane.put([closed.pop(0)])
        lane.put([msgspec.json.decode(each.value, type=ScoredBatch)])
    lane.put(closed)
    lane.over = True
    play.turn()
    play.close_until(one.part.window.closed_ms)
    assert Counter(each.event.id for each in told) == Counter(one.world.told)
    assert play.detectors[0].state is not None
    assert play.detectors[0].state.to_bytes() == one.part.detector.state.to_bytes(), "to the bit"


async def dump(client: Any) -> dict[bytes, bytes]:
    return {key: await client.dump(key) async for key in client.scan_iter()}


async def test_a_shadow_of_the_same_setting_differs_in_nothing_and_writes_nothing(client: Any, request: Any) -> None:
    if "fakeredis" in request.node.name:
        pytest.skip("It has no DUMP.")
    steps = story(3)
    one = await live(client, steps[: len(steps) // 4])
    ledger, clock_s = Ledger(one.clock.now_ms()), 0.0
    shadow = Shadow(POLICY, DIRECTORY, lambda event: ledger.hear("shadow", event, clock_s), 60.0)
    before = await dump(client)
    offset = await shadow.take_up(Store(client, KEYS, "only"), KEYS, 0, clock_s)
    assert await dump(client) == before
    assert offset == one.at
    known = len(one.world.told)
    for step in steps[len(steps) // 4 :]:
        one.clock.advance(NOON_MS / 1000 + step.at_s - one.clock.now_ms() / 1000)
        clock_s = one.clock.monotonic_s()
        if step.documents:
            made = record(len(one.world.log), step)
            one.world.log.append(made)
            await one.read()
            shadow.take(0, [msgspec.json.decode(made.value, type=ScoredBatch)], clock_s)
        else:
            await one.tick()
            shadow.idle(0, one.clock.now_ms(), clock_s)
    await one.relay()
    assert len(one.world.told) > known
    for _, value in one.world.topics[TOPOLOGY.name(ALERTS)]:
        ledger.hear("live", msgspec.json.decode(value, type=AlertEvent), clock_s)
    found = ledger.summary()
    assert found["both"] >= 1
    assert found["only_shadow"] == []
    assert found["only_live"] == []

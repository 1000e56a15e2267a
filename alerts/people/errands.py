"""Asks deliver to do something once (a test, a replay, another try) and waits for what came of it, with a deadline.

An errand is an object on the control topic: deliver may be away for a moment. What comes of it is read from the delivery
log, by what is new there since the errand was written, so that no two clocks are compared.
"""

import uuid
from typing import Literal

from alerts.lanes import errand_key, waiting_key
from alerts.people import delivery_log
from alerts.pipeline import derived
from groundswell.asked import Result
from groundswell.clients.connect import RedisClient
from groundswell.clock import Clock
from groundswell.decisions import Delivery, Stage
from groundswell.keys import Keys
from groundswell.records import DeliveryOutcome, Errand
from groundswell.running.beat import beats

LOOK_S = 0.25
READ_MOST = {"test": 50, "enable": 1, "replay": 1_000}  # rows of the log, which holds a thousand
TRIES_SHOWN = 50
QUIET_S = 1.0  # what ended in the lane may be in the log a moment later
ARRIVED = frozenset({Delivery.SENT.value, Delivery.GROUPED.value})
KEPT_MS = 3_600_000  # deliver does not begin an errand that is older

Task = Literal["test", "replay", "enable"]
Seen = frozenset[tuple[str, int, int]]  # event, attempt, moment


def new(task: Task, endpoint: str, by: str, now_ms: int, *, since: int = 0, everything: bool = False) -> Errand:
    return Errand(
        id=f"err_{uuid.uuid4().hex[:20]}", task=task, endpoint=endpoint, by=by, at=now_ms, since=since, all=everything
    )


async def seen(redis: RedisClient, keys: Keys, errand: Errand) -> Seen:
    """The tries that the log holds before an errand is written."""
    return frozenset((row.event, row.attempt, row.at) for row in await _newest(redis, keys, errand))


async def outcome(
    redis: RedisClient, keys: Keys, clock: Clock, errand: Errand, before: Seen, deadline_s: float
) -> Result:
    """Wait until the errand is done or the deadline comes. Raises errors of Redis."""
    end_s = clock.monotonic_s() + deadline_s
    changed_s, rows = clock.monotonic_s(), list[DeliveryOutcome]()
    while True:
        found = [row for row in await _newest(redis, keys, errand) if (row.event, row.attempt, row.at) not in before]
        if len(found) != len(rows):
            changed_s = clock.monotonic_s()
        rows = found
        result = await _known(redis, keys, errand, rows[::-1], clock.monotonic_s() - changed_s)
        if result is not None:
            return result
        if clock.monotonic_s() >= end_s:
            return await _late(redis, keys, errand, rows[::-1], deadline_s)
        await clock.sleep(LOOK_S)


async def _newest(redis: RedisClient, keys: Keys, errand: Errand) -> list[DeliveryOutcome]:
    return await delivery_log.newest(redis, keys, errand.endpoint, READ_MOST[errand.task])


async def _known(
    redis: RedisClient, keys: Keys, errand: Errand, rows: list[DeliveryOutcome], still_s: float
) -> Result | None:
    """The outcome, or None while it is not known."""
    if errand.task == "test":
        event = derived("endpoint.test", errand.id)
        tried = [row for row in rows if row.event == event]
        return (
            _result(errand, tried, delivery_log.in_words(tried[-1]), well=tried[-1].outcome == Delivery.SENT)
            if tried
            else None
        )
    if not await redis.exists(errand_key(keys, errand.id)):
        return None
    if errand.task == "enable":
        return _result(errand, rows, "It is tried again from now on.", well=True)
    if still_s < QUIET_S or int(await redis.hget(waiting_key(keys), errand.endpoint) or 0):
        return None
    rows = [row for row in rows if not row.test]
    sent = len({row.event for row in rows if row.outcome in ARRIVED})
    missed = len({row.event for row in rows}) - sent
    if not rows:
        return _result(errand, rows, "Nothing to send: it has had all of it. With --all it gets that again.", well=True)
    return _result(errand, rows, f"{sent} sent, {missed} not." if missed else f"{sent} sent.", well=not missed)


def _result(errand: Errand, rows: list[DeliveryOutcome], says: str, *, well: bool, done: bool = True) -> Result:
    return Result(
        errand=errand.id, endpoint=errand.endpoint, done=done, well=well, says=says, tries=rows[-TRIES_SHOWN:]
    )


async def _late(
    redis: RedisClient, keys: Keys, errand: Errand, rows: list[DeliveryOutcome], deadline_s: float
) -> Result:
    """Why nothing is known yet: said, not guessed."""
    if not deadline_s:
        return _result(errand, rows, "Asked; deliver does it.", well=True, done=False)
    if rows:
        says = f"{len(rows)} tries so far, more are under way. `groundswell deliveries list --endpoint {errand.endpoint}` shows them."
    elif not any(beat.stage == Stage.DELIVER for beat in await beats(redis, keys)):
        says = "No deliver process says that it lives: start `groundswell deliver`; it does this within the hour."
    else:
        says = f"Nothing was tried within {deadline_s:g} s. `groundswell health` says how deliver fares."
    return _result(errand, rows, says, well=False, done=False)

"""What one try is to say, and what its end means for the lane, the log and the endpoint's health. Pure; slot.py acts on it."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
from msgspec import structs

from alerts.channels.contract import Limits, Telling
from alerts.health import Health, State, failed, missed, sent, told_missed
from alerts.lanes import Claim, Finish, Item
from alerts.pipeline import derived
from alerts.retry import STEPS_S, short_wait_s, wait_s
from alerts.say import Say
from alerts.send import Outcome
from alerts.wording.clean import clean
from groundswell.decisions import Delivery
from groundswell.records import AlertEvent, DeliveryOutcome

GROUP_S = 60.0  # after a message, what is not urgent waits so long for company
ITEMS_MOST = 20  # in one message
ANSWER_CHARS = 1_024
NOT_ITS_FAULT = frozenset({"rate_limited", "aborted_by_receiver", "no_mail_server"})
BEGINS = frozenset({Say.FIRING, Say.ESCALATED})
PASSING = frozenset(
    {Say.FIRING, Say.ESCALATED, Say.UPDATED, Say.REPEAT}
)  # a newer word about the episode replaces these

_event = msgspec.json.Decoder(AlertEvent).decode


@dataclass(frozen=True)
class Pace:
    """How fast to go: the retry schedule, its jitter, and how long a chat rests after a message."""

    rng: random.Random
    steps_s: Sequence[float] = STEPS_S
    group_s: float = GROUP_S


@dataclass(frozen=True)
class Batch:
    """The items of a claim: the first ones may be `over` (too old to be sent), the others are live.

    `tellings` are what is said; of the live items those in `grouped` are said by a newer one of their episode. `events`: by the id
    under which an item names it; one that expired has none.
    """

    over: list[Item]
    live: list[Item]
    tellings: list[Telling]
    grouped: frozenset[int] = frozenset()
    events: Mapping[str, AlertEvent] = field(default_factory=dict)

    def message_id(self, endpoint: str) -> str:
        """One event goes out under its own id; several under one that is the same whenever they are the same."""
        ids = sorted({telling.event.id for telling in self.tellings})
        return ids[0] if len(ids) == 1 else derived(endpoint, *ids)


@dataclass(frozen=True)
class Ending:
    """What follows from one try. Nothing may be tried at the endpoint before `not_before_ms`."""

    finish: Finish
    health: Health
    outcome: Delivery
    not_before_ms: int = 0


def batch_of(claim: Claim, limits: Limits, now: int) -> Batch:
    """What to say of what was claimed. What stayed longer than the channel's patience is news to nobody."""
    count = 0
    for item in claim.items:
        if item.body and now - item.planned_ms <= limits.gives_up_s * 1000:
            break
        count += 1
    over, live = claim.items[:count], claim.items[count:]
    kept = _merged(live) if limits.many else [(place, item.say) for place, item in enumerate(live)]
    events = {item.event: _event(item.body) for item in claim.items if item.body}
    tellings = [Telling(events[live[place].event], say, live[place].body) for place, say in kept]
    return Batch(over, live, tellings, frozenset(range(len(live))) - {place for place, _ in kept}, events)


def _merged(live: Sequence[Item]) -> list[tuple[int, Say]]:
    """Which items are said, and as what: of words about one episode that follow each other the newest stands for all.

    A beginning stays a beginning, told with what is true now; its end, and who has seen it, are words of their own.
    """
    said: dict[int, Say] = {}
    last: dict[str, int] = {}  # episode -> its newest word among `said`
    for place, item in enumerate(live):
        if not item.body:
            continue
        before, say = last.get(item.episode), item.say
        if before is not None and said[before] in PASSING:
            begins = said[before] in BEGINS
            if begins and say in PASSING:
                say = said[before]
            if not begins or item.say in PASSING:
                del said[before]
        said[place] = say
        last[item.episode] = place
    return list(said.items())


def ending(
    endpoint: str, claim: Claim, batch: Batch, outcome: Outcome | None, health: Health, limits: Limits, pace: Pace, now: int,
    *, probe: bool,
) -> Ending:  # fmt: skip
    """What follows. `outcome` is None when all was too old to be tried; `probe`: the endpoint was degraded as it began."""
    health = missed(health, len(batch.over), now) if batch.over else health
    if outcome is None:
        rows = _rows(endpoint, claim, batch, None, Delivery.GIVEN_UP, now)
        done = Finish(endpoint=endpoint, claim=claim, rows=rows, pop=len(batch.over), following_ms=now, health=health)
        return Ending(done, health, Delivery.GIVEN_UP)
    verdict, before = outcome.verdict, health
    found, again_ms, not_before = verdict.outcome, None, 0
    if found is Delivery.SENT:
        health = sent(told_missed(health) if limits.many else health, now)
        health = structs.replace(health, skew_s=outcome.skew_s)
    elif verdict.reason.partition(" ")[0] not in NOT_ITS_FAULT:
        health = failed(health, found, verdict.reason, claim.lane, now, probe=probe)
        if health.state is State.DEGRADED and (probe or before.state is State.HEALTHY):
            wait = wait_s(min(health.probes + 1, len(pace.steps_s) - 1), pace.rng, verdict.asked_s, pace.steps_s) or 0.0
            if limits.many:
                wait = short_wait_s(health.probes + 1, pace.rng, verdict.asked_s, pace.steps_s)
            health = structs.replace(health, probe_ms=now + round(wait * 1000))
    if found is Delivery.SECRET_UNREADABLE:
        again_ms = now
    elif found is Delivery.RETRY:
        patience = short_wait_s if limits.many else wait_s
        wait_for = patience(claim.attempt, pace.rng, verdict.asked_s, pace.steps_s)
        if wait_for is None:
            found, health = Delivery.GIVEN_UP, missed(health, len(batch.live), now)
        else:
            again_ms = now + round(wait_for * 1000)
            if health.state is State.DEGRADED and health.lane == claim.lane:
                again_ms = health.probe_ms
            if verdict.reason == "rate_limited":
                not_before = again_ms
    spaced = now + round(spacing_s(limits) * 1000)
    rest = now + round(max(pace.group_s, spacing_s(limits)) * 1000)
    told = limits.many and found is Delivery.SENT
    # More waits than one message holds: that does not wait for company.
    following = (spaced if len(claim.items) >= ITEMS_MOST else rest) if told else now
    rows = _rows(endpoint, claim, batch, outcome, found, now)
    if health.state is State.DISABLED and before.state is not State.DISABLED:
        # Without an event: it says of the endpoint, also after a lost Redis, that nothing is tried any more.
        rows.append(
            DeliveryOutcome(
                event="",
                episode="",
                endpoint=endpoint,
                attempt=0,
                outcome=Delivery.DISABLED.value,
                reason=health.reason,
                at=now,
            )
        )
    finish = Finish(
        endpoint=endpoint,
        claim=claim,
        rows=rows,
        pop=len(claim.items) if again_ms is None else len(batch.over),
        again_ms=again_ms,
        rest_ms=rest if told else None,
        spaced_ms=spaced,
        following_ms=following,
        health=health,
        heal=health.state is State.HEALTHY and before.state is not State.HEALTHY,
    )
    return Ending(finish, health, found, max(not_before, spaced if spacing_s(limits) else 0))


def spacing_s(limits: Limits) -> float:
    """At least so long between two requests, so that a minute holds no more than the service bears."""
    return max(limits.spacing_s, 60 / limits.per_minute if limits.per_minute else 0.0)


def _rows(
    endpoint: str, claim: Claim, batch: Batch, outcome: Outcome | None, found: Delivery, now: int
) -> list[DeliveryOutcome]:
    """One row an item, in order."""
    rows = []
    for item in batch.over:
        over = Delivery.GIVEN_UP if item.body else Delivery.EXPIRED
        rows.append(_row(endpoint, item, claim, batch, over, "waited_too_long", None, now))
    if outcome is not None:
        for place, item in enumerate(batch.live):
            told = Delivery.GROUPED if place in batch.grouped and found is Delivery.SENT else found
            rows.append(_row(endpoint, item, claim, batch, told, outcome.verdict.reason, outcome, now))
    return rows


def _row(
    endpoint: str, item: Item, claim: Claim, batch: Batch, found: Delivery, reason: str, outcome: Outcome | None, now: int
) -> DeliveryOutcome:  # fmt: skip
    event = batch.events.get(item.event)
    return DeliveryOutcome(
        event=item.event,
        episode=item.episode,
        endpoint=endpoint,
        attempt=claim.attempt,
        outcome=found.value,
        status=outcome.status if outcome else 0,
        reason=reason,
        at=now,
        latency_ms=outcome.latency_ms if outcome else 0,
        type=event.type if event is not None else "",
        test=event is not None and event.data.test,
        answer=clean(outcome.head.decode(errors="replace"), ANSWER_CHARS) if outcome and outcome.head else "",
    )

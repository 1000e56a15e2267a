"""What people do while alerts go out: acknowledge, silence, add and change endpoints, ask for a test. One code path for all.

The command line (groundswell/commands/desk.py) and the pages' process each make one `Desk`. It writes objects to the control
topic and nothing else; deliver acts on them. endpoints.py, wants.py and errands.py have the parts.
"""

import asyncio
import uuid
from collections.abc import Mapping
from typing import Protocol

import msgspec

from alerts import lanes, market_day, matchers
from alerts.guard import Allowed, LookUps
from alerts.health import Health, State
from alerts.people import delivery_log, endpoints, errands, wants
from alerts.stages import covered
from alerts.wording import preview
from groundswell.asked import (
    AskedAcknowledgement,
    AskedAddress,
    AskedEndpoint,
    AskedReplay,
    AskedRotation,
    AskedSilence,
    EndpointChange,
    Judged,
    Listed,
    Result,
    Sample,
)
from groundswell.clients.connect import RedisClient
from groundswell.clock import Clock
from groundswell.control import ControlView
from groundswell.errors import (
    NoAcknowledgement,
    NoSecretKey,
    NoSuchEndpoint,
    NoSuchEpisode,
    NoSuchSilence,
    TooManyEndpoints,
    WrongShape,
)
from groundswell.keys import Keys
from groundswell.records import Acknowledgement, AlertData, ControlObject, DeliveryOutcome, Endpoint, Silence
from groundswell.secrets import SecretBox
from groundswell.settings import Settings
from groundswell.text import safe
from groundswell.times import parse_ms

ENDPOINTS_MOST = 200  # as many as deliver serves (slots.py)
MATCHERS_MOST = 20
SAID_KEPT_MS = 90 * 86_400_000  # as long as the topic keeps the alerts that it was said of
FORGOTTEN_AT_ONCE = 50  # so that nobody's acknowledgement waits for a year's


class Pen(Protocol):
    """Writes one object to the control topic, or takes one away. Raises BrokerAway or ProduceFailed."""

    async def write(self, thing: ControlObject) -> None: ...

    async def erase(self, object_id: str) -> None: ...


class Desk:
    """`view` is the control topic as read so far; a snapshot on the command line, followed in the pages' process."""

    def __init__(
        self, settings: Settings, clock: Clock, view: ControlView, pen: Pen, redis: RedisClient, keys: Keys,
        *, look_ups: LookUps | None = None,
    ) -> None:  # fmt: skip
        self._settings, self._clock, self._view, self._pen = settings, clock, view, pen
        self._redis, self._keys, self._look_ups = redis, keys, look_ups
        self._one_by_one = asyncio.Lock()  # a change is read, made and written; two at once would lose one

    # -- who has seen what -------------------------------------------------------------------------------------

    async def acknowledge(self, episode: str, asked: AskedAcknowledgement, *, by: str) -> Acknowledgement:
        """Somebody has seen an episode. `by` where the request names nobody. Raises NoSuchEpisode, BrokerAway."""
        if not await self._redis.exists(self._keys.alert(episode)):
            raise NoSuchEpisode
        ack = Acknowledgement(
            id=episode,
            by=_who(asked.by, by),
            at=self._clock.now_ms(),
            note=safe(asked.note, wants.NOTE_CHARS),
            assigned=safe(asked.assigned, wants.NAME_CHARS),
        )
        await self._forget_what_is_long_over()
        await self._write(ack)
        return ack

    async def unacknowledge(self, episode: str) -> None:
        """Take it back: repeats and escalation go on. Raises NoAcknowledgement, BrokerAway."""
        if episode not in self._view.acks:
            raise NoAcknowledgement
        await self._erase(episode)

    # -- silences ----------------------------------------------------------------------------------------------

    def silences(self, *, over_too: bool = False) -> list[Silence]:
        """Those that hold now, the one that ends first before the others."""
        now = self._clock.now_ms()
        found = [one for one in self._view.silences.values() if over_too or one.until > now]
        return sorted(found, key=lambda one: (one.until, one.id))

    async def silence(self, asked: AskedSilence, *, by: str) -> Silence:
        """No messages about these for a time. Raises WrongShape, BrokerAway."""
        now = self._clock.now_ms()
        subjects = wants.subjects(asked.subjects)
        conditions = [one.strip() for one in asked.matchers if one.strip()]
        if not subjects and not conditions and not asked.all:
            raise WrongShape(
                "This would silence every alert.",
                remedy='Say which: --subject XNAS:AAPL or --match "topic in fraud,default"; or --all if you mean it.',
            )
        if len(conditions) > MATCHERS_MOST:
            raise WrongShape(f"{len(conditions)} conditions are too many.", remedy=f"Give at most {MATCHERS_MOST}.")
        for condition in conditions:
            matchers.parse(condition)
        made = Silence(
            id=f"sil_{uuid.uuid4().hex[:20]}",
            subjects=subjects,
            until=wants.until_ms(asked.until, asked.span, now),
            by=_who(asked.by, by),
            at=now,
            reason=safe(asked.reason, wants.NOTE_CHARS),
            matchers=conditions,
        )
        await self._forget_what_is_long_over()
        await self._write(made)
        return made

    async def end_silence(self, silence_id: str) -> None:
        """End it now: what still fires is told. Raises NoSuchSilence, BrokerAway."""
        if silence_id not in self._view.silences:
            raise NoSuchSilence
        await self._erase(silence_id)

    # -- endpoints ---------------------------------------------------------------------------------------------

    async def endpoints(self) -> list[Listed]:
        """All endpoints, oldest first, and how they fare. Raises errors of Redis."""
        health = await lanes.health(self._redis, self._keys)
        waiting = await self._waiting()
        return [
            _listed(one, health, waiting, self._clock.now_ms())
            for one in sorted(self._view.endpoints.values(), key=lambda one: (one.created_at, one.id))
        ]

    async def endpoint(self, name: str) -> Listed:
        """One endpoint by its id, or by its name where only one has it. Raises NoSuchEndpoint."""
        wanted = self.find(name)
        return next(one for one in await self.endpoints() if one.id == wanted.id)

    def find(self, name: str) -> Endpoint:
        """By id, or by a name that only one endpoint has. Raises NoSuchEndpoint."""
        if name in self._view.endpoints:
            return self._view.endpoints[name]
        called = [one for one in self._view.endpoints.values() if one.name == name]
        if len(called) == 1:
            return called[0]
        said = safe(name, 60)
        raise NoSuchEndpoint(
            f"{len(called)} endpoints are called {said!r}." if called else f"There is no endpoint {said!r}."
        )

    async def judge(self, asked: AskedAddress) -> Judged:
        """What the address guard and the channel say of an address. Raises BadSetting."""
        return await endpoints.judged(asked, Allowed.of(self._settings), self._look_ups)

    def sample(self, name: str, errand: str) -> Sample:
        """What a test of this endpoint sends, in its channel's form. Raises NoSuchEndpoint."""
        return preview.sample(self.find(name), safe(errand, 40), self._clock.now_ms())

    async def add(self, asked: AskedEndpoint) -> tuple[Listed, str]:
        """A new endpoint and the secret made for it, told this once. Raises Refused, NoSecretKey, BrokerAway."""
        box, allowed = SecretBox(self._settings.secret_key), Allowed.of(self._settings)
        async with self._one_by_one:
            if len(self._view.endpoints) >= ENDPOINTS_MOST:
                raise TooManyEndpoints(f"There are {ENDPOINTS_MOST} endpoints already.")
            made, secret = await endpoints.made(asked, box, allowed, self._clock.now_ms(), self._look_ups)
            await self._write(made)
        # What was given need not be told, and of a pair of keys the receiver needs the public one only.
        told = "" if asked.secret or made.public_key else secret
        return _listed(made, {}, {}, self._clock.now_ms()), told

    async def change(self, name: str, change: EndpointChange) -> Listed:
        """Raises NoSuchEndpoint, Refused, NoSecretKey, BrokerAway."""
        box, allowed = SecretBox(self._settings.secret_key), Allowed.of(self._settings)
        async with self._one_by_one:
            changed = await endpoints.changed(self.find(name), change, box, allowed, self._look_ups)
            await self._write(changed)
        return await self.endpoint(changed.id)

    async def rotate(self, name: str, asked: AskedRotation) -> tuple[Listed, str]:
        """A new secret, told this once; a webhook's old one signs too for some hours. Raises NoSuchEndpoint, Refused, NoSecretKey."""
        async with self._one_by_one:
            changed, secret = endpoints.rotated(
                self.find(name), asked, SecretBox(self._settings.secret_key), self._clock.now_ms()
            )
            await self._write(changed)
        return await self.endpoint(changed.id), "" if asked.secret or changed.public_key else secret

    async def disable(self, name: str) -> Listed:
        """Nothing is sent there until it is enabled. Raises NoSuchEndpoint, BrokerAway."""
        return await self._switch(name, disabled=True)

    async def remove(self, name: str) -> str:
        """Forget an endpoint: its address and secret, what was asked of it, what waits for it and its delivery log, which deliver drops.

        Returns its id. Raises NoSuchEndpoint, BrokerAway.
        """
        found = self.find(name)
        await self._erase(found.id)
        await self._forget_idle_errands()
        return found.id

    async def reseal(self) -> tuple[list[str], list[str]]:
        """All endpoints sealed with the ring's first key: (ids rewritten, ids that no key opens). Raises NoSecretKey."""
        box = SecretBox(self._settings.secret_key)
        rewritten, unreadable = [], []
        async with self._one_by_one:
            for endpoint in sorted(self._view.endpoints.values(), key=lambda one: one.created_at):
                try:
                    anew = endpoints.resealed(endpoint, box)
                except NoSecretKey:
                    unreadable.append(endpoint.id)
                    continue
                if anew is not endpoint:
                    await self._write(anew)
                    rewritten.append(endpoint.id)
        return rewritten, unreadable

    # -- errands: deliver does them, once ----------------------------------------------------------------------

    async def test(self, name: str, *, by: str, wait_s: float) -> Result:
        """Send a test event and say what the receiver answered. Raises NoSuchEndpoint, BrokerAway."""
        return await self._do("test", name, by, wait_s)

    async def enable(self, name: str, *, by: str, wait_s: float) -> Result:
        """Try an endpoint again that was switched off, by people or by itself. Raises NoSuchEndpoint, BrokerAway."""
        await self._switch(name, disabled=False)
        return await self._do("enable", name, by, wait_s)

    async def replay(self, name: str, asked: AskedReplay, *, by: str, wait_s: float) -> Result:
        """Send again what was written since. Raises NoSuchEndpoint, WrongShape, BrokerAway."""
        since = wants.past_ms(asked.since, self._clock.now_ms())
        return await self._do("replay", name, _who(asked.by, by), wait_s, since=since, everything=asked.all)

    # -- what was tried ----------------------------------------------------------------------------------------

    async def deliveries(
        self, name: str = "", *, outcome: str = "", cursor: str = "", limit: int = 50
    ) -> tuple[list[DeliveryOutcome], str]:
        """Tries, of one outcome if one is named, newest first, and the cursor of the next page. Raises NoSuchEndpoint, WrongShape."""
        names = [self.find(name).id] if name else await self._logged()
        return await delivery_log.page(self._redis, self._keys, names, outcome=outcome, cursor=cursor, limit=limit)

    async def tries(self, event: str) -> list[DeliveryOutcome]:
        """All tries of one event or episode, oldest first."""
        return await delivery_log.of_event(self._redis, self._keys, await self._logged(), event)

    async def tried(self, episode: str, *, since_ms: int) -> tuple[list[DeliveryOutcome], bool]:
        """Tries of one episode since a moment, oldest first, and whether all of the logs was looked at: there is a bound."""
        return await delivery_log.of_episode(self._redis, self._keys, await self._logged(), episode, since_ms)

    # -- what keeps an alert back, as pages tell it --------------------------------------------------------------

    def silences_on(self, data: AlertData) -> list[Silence]:
        """Silences that were on this alert while it lasted, or are; of those that people ended nothing is known any more."""
        began, over = _when(data.started_at, 0), _when(data.resolved_at or "", self._clock.now_ms())
        found = [
            one for one in self._view.silences.values() if one.until > began and one.at <= over and covered(one, data)
        ]
        return sorted(found, key=lambda one: (one.at, one.id))

    def explains(self, market: AlertData, child: AlertData) -> bool:
        """Whether who was told of the one is not told of the other, since the whole market is talked down as much."""
        return (
            market.rule.bounded and child.rule.bounded and not child.test
            and market.subject.id in market_day.parents(child.subject.id) and market_day.explained(child, market.effect)
        )  # fmt: skip

    # -- within ------------------------------------------------------------------------------------------------

    async def _do(
        self, task: errands.Task, name: str, by: str, wait_s: float, *, since: int = 0, everything: bool = False
    ) -> Result:
        endpoint = self.find(name)
        await self._forget_idle_errands()
        errand = errands.new(
            task, endpoint.id, safe(by, wants.NAME_CHARS), self._clock.now_ms(), since=since, everything=everything
        )
        before = await errands.seen(self._redis, self._keys, errand)
        await self._write(errand)
        result = await errands.outcome(self._redis, self._keys, self._clock, errand, before, wait_s)
        if result.done:
            await self._erase(errand.id)
        return result

    async def _forget_idle_errands(self) -> None:
        """Those that deliver would not begin any more: too old, or their endpoint was removed."""
        oldest = self._clock.now_ms() - errands.KEPT_MS
        for one in list(self._view.errands.values()):
            if one.at < oldest or one.endpoint not in self._view.endpoints:
                await self._erase(one.id)

    async def _forget_what_is_long_over(self) -> None:
        """Acknowledgements and ended silences whose alerts nobody can look at any more: the control topic would grow for ever."""
        oldest = self._clock.now_ms() - SAID_KEPT_MS
        over = [one.id for one in self._view.acks.values() if one.at < oldest]
        over += [one.id for one in self._view.silences.values() if one.until < oldest]
        for object_id in over[:FORGOTTEN_AT_ONCE]:
            await self._erase(object_id)

    async def _switch(self, name: str, *, disabled: bool) -> Listed:
        async with self._one_by_one:
            found = self.find(name)
            if found.disabled != disabled:
                await self._write(msgspec.structs.replace(found, disabled=disabled))
        return await self.endpoint(found.id)

    async def _logged(self) -> list[str]:
        return [*self._view.endpoints, *await delivery_log.known(self._redis, self._keys)]

    async def _waiting(self) -> dict[str, int]:
        found = await self._redis.hgetall(lanes.waiting_key(self._keys))
        return {name.decode(): int(count) for name, count in found.items()}

    async def _write(self, thing: ControlObject) -> None:
        await self._pen.write(thing)
        # Who asks next shall see what was written; the topic says the same a moment later.
        self._view.apply(thing.id, msgspec.json.encode(thing))

    async def _erase(self, object_id: str) -> None:
        await self._pen.erase(object_id)
        self._view.apply(object_id, None)


def _listed(one: Endpoint, health: Mapping[str, Health], waiting: Mapping[str, int], now_ms: int) -> Listed:
    found = health.get(one.id, Health())  # who is not named was never tried, or is well
    return Listed(
        id=one.id, name=one.name, shown=one.shown, channel=one.channel, created_at=one.created_at, lang=one.lang,
        disabled=one.disabled, subjects=one.subjects, topics=one.topics, languages=one.languages, severity=one.severity,
        quiet=one.quiet, repeat_s=one.repeat_s, escalates_after_s=one.escalates_after_s, drills=one.drills,
        public_key=one.public_key, old_secret_until=one.old_until if one.old_until > now_ms else 0,
        state=State.DISABLED if one.disabled else found.state, state_since=found.since_ms, reason=found.reason,
        failures=found.failures, waiting=waiting.get(one.id, 0),
    )  # fmt: skip


def _when(text: str, otherwise: int) -> int:
    try:
        return parse_ms(text)
    except ValueError:
        return otherwise


def _who(named: str, otherwise: str) -> str:
    return safe(named, wants.NAME_CHARS) or safe(otherwise, wants.NAME_CHARS)

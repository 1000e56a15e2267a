"""One endpoint's own sender: claims what is due, tries it, and minds how the endpoint fares.

Its first try at a time is its own, up to three more come from a pool that all share, and only while its last try got
through: whoever is dead or slow holds nothing that others need. Read attempt.py for what one try says and what follows.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace

from msgspec import structs

from alerts.attempt import ANSWER_CHARS, ITEMS_MOST, Batch, Ending, Pace, batch_of, ending, spacing_s
from alerts.channels.contract import Address, ChannelSpec, Limits, Missed, Request, Verdict
from alerts.health import Health, State
from alerts.lanes import Claim, Lanes, Wait
from alerts.people.delivery_log import AS_PLAIN_TEXT
from alerts.record import Recorder
from alerts.send import Outcome, Sender
from alerts.wording.clean import clean
from groundswell.clock import Clock
from groundswell.control import ControlView
from groundswell.decisions import Delivery
from groundswell.errors import NoSecretKey, Refused
from groundswell.records import Channel, Endpoint
from groundswell.secrets import SecretBox
from groundswell.telemetry import ATTEMPTS, CLOCK_SKEW, DELIVERY_SECONDS, ENDPOINT_STATE, log, tell

REST_MOST_S = 30.0
TOGETHER = 4
# Tries under way and those whose end is being made lasting. Were the second kind without a bound, a busy machine would let them pile up
# until their claims end, and send them twice; a killed process sends so many twice at the most.
UNWRITTEN_MOST = 24
BEHIND, UNWRITTEN_BEHIND = (
    512,
    8,
)  # so many of all endpoints: the recorder is behind, and each endpoint may have this many
CLAIM_SPARE_S = 60.0
NOTED_MS = 10_000  # a success that changes nothing is noted so often


@dataclass
class Shared:
    """What all slots have in common. `extra` is how many more tries may begin beyond each endpoint's own."""

    lanes: Lanes
    view: ControlView
    sender: Sender
    box: SecretBox
    recorder: Recorder
    clock: Clock
    channel_of: Callable[[Channel], ChannelSpec]
    pace: Pace
    claim_ms: int
    extra: int = 64
    unwritten: int = 0  # tries under way, and those whose end is not lasting yet


class Slot:
    """Runs until cancelled, or told to stop; `health` is how the endpoint fares."""

    def __init__(self, name: str, shared: Shared, health: Health) -> None:
        self.name, self.health = name, health
        self._shared, self._noted = shared, health
        self._wake = asyncio.Event()
        self._sending = self._ending = 0
        self._not_before_ms = 0
        self._opened: tuple[Endpoint, Address] | None = None
        _show(name, health.state)

    def wake(self, probe: str = "") -> None:
        """Something waits. `probe` names a lane that is tried at once, though the endpoint be degraded."""
        if probe and self.health.state is State.DEGRADED:
            self.health = structs.replace(self.health, lane=probe, probe_ms=0)
        self._wake.set()

    async def enable(self) -> None:
        """Somebody says that it can be reached again: all that waits is tried now."""
        now = self._shared.clock.now_ms()
        health = Health(since_ms=now, last_sent_ms=self.health.last_sent_ms)
        await self._shared.lanes.enable(self.name, health, now)
        self._not_before_ms, self._noted = 0, health
        self._mind(health)
        self._wake.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`, then until each try under way has ended. Raises Fenced, UnfitRedis, errors of Redis."""
        first = True
        async with asyncio.TaskGroup() as tries:
            while not stop.is_set():
                self._wake.clear()
                rest_s = self._rest_s()
                if rest_s > 0:
                    await self._woken(rest_s)
                    continue
                found = await self._claim(first=first)
                first = False
                if isinstance(found, Wait):
                    wait_ms = 1000 * REST_MOST_S
                    if found.until_ms is not None:
                        wait_ms = found.until_ms - self._shared.clock.now_ms()
                    await self._woken(min(max(wait_ms / 1000, 0.001), REST_MOST_S))
                    continue
                for claim in found:
                    extra = self._sending > 0
                    self._shared.extra -= extra
                    self._sending += 1
                    tries.create_task(self._try(claim, extra=extra))

    def _rest_s(self) -> float:
        """How long nothing may begin; 0 when something may."""
        now = self._shared.clock.now_ms()
        if self.health.state is State.UNREADABLE and self._open() is not None:
            self._mind(Health(since_ms=now, last_sent_ms=self.health.last_sent_ms))
        if not self.health.reachable or self._room() < 1:
            return REST_MOST_S
        until = self._not_before_ms
        if self.health.state is State.DEGRADED:
            until = max(until, self.health.probe_ms)
        return min(max((until - now) / 1000, 0.0), REST_MOST_S)

    def _room(self) -> int:
        """How many tries may begin now."""
        limits, health = self._limits(), self.health
        well = health.state is State.HEALTHY and health.failures == 0 and health.last_sent_ms > 0
        if limits.many or spacing_s(limits) or not well:
            return 1 - self._sending - self._ending
        own = 1 if self._sending == 0 else 0
        unwritten = UNWRITTEN_MOST if self._shared.unwritten < BEHIND else UNWRITTEN_BEHIND
        return min(TOGETHER - self._sending, unwritten - self._ending, own + max(self._shared.extra, 0))

    async def _claim(self, *, first: bool) -> list[Claim] | Wait:
        shared = self._shared
        return await shared.lanes.claim(
            self.name,
            shared.clock.now_ms(),
            shared.claim_ms,
            first=first,
            lanes=self._room(),
            items=ITEMS_MOST if self._limits().many else 1,
            wanted=self.health.lane if self.health.state is State.DEGRADED else "",
        )

    async def _try(self, claim: Claim, *, extra: bool) -> None:
        shared, limits = self._shared, self._limits()
        probe = self.health.state is State.DEGRADED
        batch = batch_of(claim, limits, shared.clock.now_ms())
        self._ending += 1
        shared.unwritten += 1
        try:
            try:
                outcome = await self._send(batch) if batch.live else None
            finally:
                self._sending -= 1
                shared.extra += extra
            now = shared.clock.now_ms()
            found = ending(self.name, claim, batch, outcome, self.health, limits, shared.pace, now, probe=probe)
            self._not_before_ms = max(self._not_before_ms, found.not_before_ms)
            self._mind(found.health)
            self._wake.set()
            keep = self._worth_noting(now)
            await shared.recorder.note(found.finish if keep else structs.replace(found.finish, health=None))
            self._say(found, batch, now)
        finally:
            self._ending -= 1
            shared.unwritten -= 1
            self._wake.set()

    async def _send(self, batch: Batch) -> Outcome:
        shared, health = self._shared, self.health
        endpoint, address = shared.view.endpoints.get(self.name), self._open()
        if endpoint is None or address is None:
            return Outcome(Verdict(Delivery.SECRET_UNREADABLE, "sealed_with_another_key"))
        spec = shared.channel_of(endpoint.channel)
        before = Missed(health.missed, health.missed_since_ms, health.missed_until_ms) if health.missed else None
        try:
            request = spec.request(address, batch.message_id(self.name), batch.tellings, before, shared.clock.now_ms())
        except Refused as error:
            return Outcome(Verdict(Delivery.REFUSED, error.reason))
        if any(item.replayed for item in batch.live) and not spec.limits.many:
            request.headers["groundswell-replay"] = "1"
        outcome = await shared.sender.send(self.name, request, spec.verdict)
        if outcome.verdict.outcome is Delivery.REFUSED and request.plainly is not None:
            return await self._plainly(request.plainly, spec, outcome)
        return outcome

    async def _plainly(self, request: Request, spec: ChannelSpec, refused: Outcome) -> Outcome:
        """The service did not take the message as it was written: once more as plain text, before it is given up."""
        shared, why = self._shared, refused.verdict.reason
        answer = clean(refused.head.decode(errors="replace"), ANSWER_CHARS)
        log().warning("refused_as_written", endpoint_id=self.name, why=why, answer=answer)
        await shared.clock.sleep(spacing_s(spec.limits))
        again = await shared.sender.send(self.name, request, spec.verdict)
        if again.verdict.outcome is not Delivery.SENT:
            return again
        # Delivered, and the log says that it was not as it should look, and why.
        return replace(again, verdict=replace(again.verdict, reason=f"{AS_PLAIN_TEXT} {why}"), head=refused.head)

    def _open(self) -> Address | None:
        """Address and secrets in the clear, the newest first; None when their key is not here."""
        endpoint, now = self._shared.view.endpoints.get(self.name), self._shared.clock.now_ms()
        if endpoint is None:
            return None
        if self._opened is None or self._opened[0] is not endpoint:
            box = self._shared.box
            try:
                url, secret = box.open(endpoint.url, self.name, "url"), box.open(endpoint.secret, self.name, "secret")
                old = () if endpoint.old_secret is None else (box.open(endpoint.old_secret, self.name, "secret"),)
            except NoSecretKey:
                return None
            self._opened = endpoint, Address(url, (secret, *old), endpoint.lang, self.name)
        address = self._opened[1]
        if len(address.secrets) > 1 and now >= endpoint.old_until:
            return Address(address.url, address.secrets[:1], address.lang, address.endpoint)
        return address

    def _limits(self) -> Limits:
        endpoint = self._shared.view.endpoints.get(self.name)
        return self._shared.channel_of(endpoint.channel if endpoint is not None else "webhook").limits

    def _mind(self, health: Health) -> None:
        """How it fares now; a change of state is said."""
        before, self.health = self.health, health
        if before.skew_s != health.skew_s:
            CLOCK_SKEW.labels(self.name).set(health.skew_s)
            if health.skew_s:
                log().warning(
                    "clocks_differ",
                    endpoint_id=self.name,
                    skew_s=health.skew_s,
                    hint="Receivers refuse signatures that are minutes off: set this machine's clock, or theirs.",
                )
        if before.state is not health.state:
            _show(self.name, health.state)
            log().warning(
                "endpoint_state", endpoint_id=self.name, state=health.state, before=before.state, why=health.reason
            )

    def _worth_noting(self, now: int) -> bool:
        """Redis need not hear of each success of an endpoint that fares well."""
        same = structs.replace(self._noted, last_sent_ms=self.health.last_sent_ms) == self.health
        if same and now - self._noted.last_sent_ms < NOTED_MS:
            return False
        self._noted = self.health
        return True

    def _say(self, found: Ending, batch: Batch, now: int) -> None:
        channel = self._channel()
        for item, row in zip([*batch.over, *batch.live], found.finish.rows, strict=False):
            ATTEMPTS.labels(self.name, row.outcome).inc()
            if row.outcome == Delivery.SENT:
                DELIVERY_SECONDS.labels(channel).observe(max(now - item.planned_ms, 0) / 1000)
            tell(
                Delivery(row.outcome),
                kind="delivery",
                event_id=row.event,
                endpoint_id=self.name,
                attempt=row.attempt,
                status=row.status,
                why=row.reason,
                again_s=None if found.finish.again_ms is None else round((found.finish.again_ms - now) / 1000, 1),
            )

    def _channel(self) -> str:
        endpoint = self._shared.view.endpoints.get(self.name)
        return endpoint.channel if endpoint is not None else ""

    async def _woken(self, seconds: float) -> None:
        """Wait until something waits, at most so long."""
        waiting = {asyncio.ensure_future(self._wake.wait()), asyncio.ensure_future(self._shared.clock.sleep(seconds))}
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()


def _show(name: str, state: State) -> None:
    for each in State:
        ENDPOINT_STATE.labels(name, each).set(each is state)

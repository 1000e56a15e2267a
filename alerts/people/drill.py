"""Fire drills: a marked surge on a reserved subject goes the whole road, to each endpoint that takes part.

`groundswell drill` runs one by hand; with `drill_s` the leading deliver process runs one so often. A drill that brings
no alert in time is told by another path: straight into the lanes, without the broker between.
"""

import asyncio
from collections.abc import Callable, Iterable

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from alerts.people.drill_texts import CHINESE, ENGLISH
from groundswell import times
from groundswell.clients.connect import acknowledged
from groundswell.clock import Clock
from groundswell.errors import ProduceFailed
from groundswell.records import AlertEvent, InboundDocument
from groundswell.reserved import DRILLS
from groundswell.system_events import system_event
from groundswell.telemetry import DRILLS as COUNTED
from groundswell.telemetry import log
from stream.topology import COMMENTS, Topology

LATE_S = 300.0  # a quiet partition closes its steps by the clock, a minute or two behind; an alert after this is missed
LOOK_S = 1.0
SOURCE = "groundswell-drill"
MISSED = {"en": "Fire drill without an alert", "zh": "演练未触发预警"}

_encode = msgspec.json.Encoder().encode


def documents(subject: str, name: str, at_ms: int) -> list[InboundDocument]:
    """One drill: 32 texts by as many authors, English and Chinese by turns. `name` makes their ids."""
    texts = [text for pair in zip(ENGLISH, CHINESE, strict=True) for text in pair]
    return [
        InboundDocument(
            text=text,
            id=f"{name}-{number}",
            source=SOURCE,
            author=f"drill-{number}",
            symbols=[subject],
            published_at=times.rfc3339(at_ms),
        )
        for number, text in enumerate(texts)
    ]


async def push(producer: AIOKafkaProducer, topology: Topology, subject: str, name: str, at_ms: int) -> None:
    """Send one drill to the comments, as one message. Raises ProduceFailed."""
    topic = topology.name(COMMENTS)
    try:
        sending = await producer.send(topic, _encode(documents(subject, name, at_ms)), key=name.encode())
    except KafkaError as error:
        raise ProduceFailed(f"The broker did not take a drill for {topic}: {error!r}.") from error
    await acknowledged([sending])


class Drills:
    """The schedule of one leading process. `missed` tells people, by the way that does not cross the broker."""

    def __init__(
        self,
        producer: AIOKafkaProducer,
        topology: Topology,
        clock: Clock,
        every_s: float,
        missed: Callable[[AlertEvent], None],
    ) -> None:
        self._producer, self._topology, self._clock = producer, topology, clock
        self._every_ms, self._missed = round(every_s * 1000), missed
        self._round = clock.now_ms() // self._every_ms if self._every_ms else 0
        self._under_way: dict[str, int] = {}  # subject -> when its drill was sent
        self.last: tuple[str, int] = ("", 0)  # how one ended, alerted or missed, and when that was known

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`; returns at once when no drills are wanted."""
        while self._every_ms and not stop.is_set():
            await self.look()
            await self._clock.sleep(LOOK_S)

    async def look(self) -> None:
        """Send the drill that is due, and tell of the one that brought no alert."""
        now = self._clock.now_ms()
        for subject in [name for name, sent in self._under_way.items() if now - sent > LATE_S * 1000]:
            sent = self._under_way.pop(subject)
            COUNTED.labels("missed").inc()
            self.last = ("missed", now)
            log().error(
                "drill_missed",
                subject=subject,
                sent=times.rfc3339(sent),
                hint="Texts do not become alerts: see `groundswell health`.",
            )
            self._missed(missed(subject, sent, now))
        # Rounds are counted from the epoch, so that a process that takes over neither repeats nor skips one.
        if now // self._every_ms > self._round:
            self._round = now // self._every_ms
            subject = DRILLS[self._round % len(DRILLS)]
            try:
                await push(self._producer, self._topology, subject, f"drill-{self._round}", now)
            except ProduceFailed as error:
                log().error("drill_not_sent", error=str(error)[:200])
            self._under_way[subject] = now

    def heard(self, event: AlertEvent) -> None:
        """An alert came the whole road: perhaps the one that a drill waits for."""
        if event.type == "alert.firing" and self._under_way.pop(event.data.subject.id, None) is not None:
            COUNTED.labels("alerted").inc()
            self.last = ("alerted", self._clock.now_ms())
            log().info("drill_alerted", subject=event.data.subject.id, event_id=event.id)


def missed(subject: str, sent_ms: int, now_ms: int) -> AlertEvent:
    """What is said of a drill without an alert. The id is the same whoever finds out."""
    clock, minutes = times.rfc3339(sent_ms)[11:16], round(LATE_S / 60)
    name = f"{subject.removeprefix('TEST:').lower()}_{sent_ms}"
    return system_event(
        "system.drill_missed",
        id=f"gw_{name}",
        episode=f"ep_{name}",
        at=times.rfc3339(now_ms),
        subject=subject,
        names=MISSED,
        summary={
            "en": f"A fire drill sent at {clock} UTC brought no alert within {minutes} minutes: real surges may go unnoticed.",
            "zh": f"{clock}（UTC）发起的演练在 {minutes} 分钟内没有触发预警，真实异动也可能漏报。",
        },
        severity="critical",
        test=True,
    )


def free(open_subjects: Iterable[str]) -> str | None:
    """A drill subject without an open episode; None when all are taken."""
    taken = frozenset(open_subjects)
    return next((subject for subject in DRILLS if subject not in taken), None)

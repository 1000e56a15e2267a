"""`groundswell drill`: a marked surge goes the whole road, and this says what came of it and when, endpoint by endpoint."""

import asyncio
from typing import Any

import click
import msgspec
from aiokafka import AIOKafkaConsumer
from msgspec import Struct
from rich.table import Table

from groundswell import alert_views
from groundswell.clients.connect import RedisClient, close_producer, open_consumer, open_producer, open_redis
from groundswell.clock import SystemClock
from groundswell.commands.processes import the_settings, topology_of
from groundswell.decisions import Delivery
from groundswell.errors import Misconfigured
from groundswell.keys import Keys
from groundswell.records import AlertEvent, Endpoint
from groundswell.running import runfile
from groundswell.settings import Settings
from groundswell.terminal import out
from groundswell.text import safe
from stream.topology import ALERTS, Topology

LOOK_S = 0.5
NEWEST = 500
ENDED = frozenset({Delivery.SENT, Delivery.REFUSED, Delivery.GIVEN_UP, Delivery.DISABLED})


class Heard(Struct, kw_only=True, frozen=True):
    """What one endpoint made of the drill's alert."""

    endpoint: str
    name: str
    outcome: str
    status: int
    seconds: float | None


class Report(Struct, kw_only=True, frozen=True):
    """How a drill went. `seconds`: from the push to the alert on its topic."""

    subject: str
    alert: str | None
    seconds: float | None
    endpoints: list[Heard]

    @property
    def passed(self) -> bool:
        return self.alert is not None and all(one.outcome == Delivery.SENT for one in self.endpoints)


@click.command()
@click.option("--wait", "wait_s", type=click.FloatRange(5, 3_600), default=300, show_default=True, help="Seconds.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def drill(ctx: click.Context, wait_s: float, as_json: bool) -> int:
    """Send a marked surge the whole road and wait for its alert at each endpoint that takes part (--drills).

    Exit status 0: alerted, and every such endpoint took it. 1: not.
    """
    settings = runfile.joined(the_settings(ctx))
    report = asyncio.run(run(settings, topology_of(settings), wait_s))
    if as_json:
        click.echo(msgspec.json.encode(report).decode())
        return 0 if report.passed else 1
    if report.alert is None:
        out().print(f"No alert within {wait_s:.0f} s. `groundswell health` says which part stands still.", markup=False)
        return 1
    out().print(f"Alerted after {report.seconds:.1f} s on {report.subject} ({report.alert}).", markup=False)
    table = Table("endpoint", "name", "outcome", "status", "after", box=None)
    for one in report.endpoints:
        after = "" if one.seconds is None else f"{one.seconds:.1f} s"
        table.add_row(one.endpoint, safe(one.name, 60), one.outcome, str(one.status or ""), after)
    nobody = "No endpoint takes part in drills: add one with --drills."
    out().print(table if report.endpoints else nobody, markup=False)
    return 0 if report.passed else 1


async def run(settings: Settings, topology: Topology, wait_s: float) -> Report:
    """One drill. Raises BrokerAway, RedisAway, ProduceFailed, Misconfigured when all drill subjects are in use."""
    from alerts.people import drill as fire
    from groundswell.commands.desk import control_view

    clock = SystemClock()
    redis = await open_redis(settings)
    try:
        keys = Keys(topology.prefix)
        subject = fire.free(await _open_subjects(redis, keys))
        if subject is None:
            raise Misconfigured("All drill subjects have open episodes.", remedy="Wait a quarter of an hour.")
        wanted = [
            one
            for one in (await control_view(settings, topology)).endpoints.values()
            if one.drills and not one.disabled
        ]
        # Opened before the push, at the end: an alert cannot slip past.
        consumer = await open_consumer(settings, None, [topology.name(ALERTS)])
        try:
            await consumer.seek_to_end()
            for partition in consumer.assignment():
                await consumer.position(partition)
            producer = await open_producer(settings)
            sent_ms, begun_s = clock.now_ms(), clock.monotonic_s()
            try:
                await fire.push(producer, topology, subject, f"drill-by-hand-{sent_ms}", sent_ms)
            finally:
                await close_producer(producer)
            event = await _alert(consumer, subject, wait_s)
            seconds = round(clock.monotonic_s() - begun_s, 1)
        finally:
            await consumer.stop()
        if event is None:
            return Report(subject=subject, alert=None, seconds=None, endpoints=[])
        heard = await _heard(redis, keys, wanted, event, sent_ms, max(wait_s - seconds, 10.0))
        return Report(subject=subject, alert=event.id, seconds=seconds, endpoints=heard)
    finally:
        await redis.aclose()


async def _open_subjects(redis: RedisClient, keys: Keys) -> list[str]:
    return [view.subject for view in await alert_views.newest(redis, keys, NEWEST) if view.state != "resolved"]


async def _alert(consumer: AIOKafkaConsumer, subject: str, wait_s: float) -> AlertEvent | None:
    try:
        async with asyncio.timeout(wait_s):
            while True:
                for records in (await consumer.getmany(timeout_ms=300)).values():
                    for record in records:
                        event = _event(record.value)
                        if event is not None and event.type == "alert.firing" and event.data.subject.id == subject:
                            return event
    except TimeoutError:
        return None


def _event(value: Any) -> AlertEvent | None:
    try:
        return msgspec.json.decode(value or b"", type=AlertEvent)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


async def _heard(
    redis: RedisClient, keys: Keys, wanted: list[Endpoint], event: AlertEvent, sent_ms: int, wait_s: float
) -> list[Heard]:
    """The newest try at each endpoint, waited for until it ended."""
    from alerts import lanes

    rows: dict[str, Any] = {}
    try:
        async with asyncio.timeout(wait_s):
            while any(one.id not in rows or rows[one.id].outcome not in ENDED for one in wanted):
                for one in wanted:
                    tries = await lanes.deliveries(redis, keys, one.id)
                    rows |= {row.endpoint: row for row in reversed(tries) if row.event == event.id}
                await asyncio.sleep(LOOK_S)
    except TimeoutError:
        pass
    return [
        Heard(endpoint=one.id, name=one.name, outcome="nothing", status=0, seconds=None)
        if (row := rows.get(one.id)) is None
        else Heard(
            endpoint=one.id,
            name=one.name,
            outcome=row.outcome,
            status=row.status,
            seconds=round((row.at - sent_ms) / 1000, 1),
        )
        for one in wanted
    ]

"""Breaks a running installation on purpose and counts what is left: `groundswell chaos --kills N --docs N --seed S`.

A file of documents goes through an undisturbed installation, then through one on which faults strike at random moments; both are
compared, bucket by bucket and id by id, with each other and with a count of the file that knows nothing of the product (chaos_file.py).
The Redis of each begins with the state of topics that are no more. Real Kafka, real Redis, both of the run's own (chaos_services.py).

JSON keys:
  docs, seed, faults {kind: n}, kills {stage: n}, session_s, workers
  lost, double_counted, misplaced   rows, summed bucket by bucket; misplaced: counted once, as something else. examples: ten of them
  dead_letters       {due, missing, unexpected}: what had to be refused, by its coordinates
  alerts_missing     ids that the undisturbed run told and this one did not, on the topic or at the endpoint
  alerts_twice       ids that only this run told, and ids that the endpoint took more often than deliver's deaths explain
  alerts             {told, due, received}: ids on the topic; those of companies, which the endpoint is to have; those it had.
                     {redelivered, explained, republished}: the same id again, as at-least-once allows
  episodes           {planted, missing, unexpected}: against the surges of the file. Ids of `market` are left out: it hears all keys,
                     and their order among each other is free
  accounting_balanced, accounting   what does not add up, in sentences
  recovery_s         {p50, max, never}: from a blow until all pushed before it is counted; recovery_by_kind; late: what was missing where
                     it never was
  calm               the same comparison for the undisturbed run: seconds, lost, double_counted, misplaced, episodes
  drained            all was read before the deadline, else left_over says what was not; seconds; passed
Every wait has a deadline: TookTooLong names the one that ran out.
"""

import asyncio
import logging
import random
import secrets
import shutil
import signal
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiokafka.errors import KafkaError
from redis.exceptions import RedisError

from alerts.slot import UNWRITTEN_MOST
from bench import chaos_faults
from bench.chaos_faults import KINDS, Chaos, Struck
from bench.chaos_file import COMPANIES, HOUR_MS, MARKET, MINUTE_MS, Counted, File, difference, file, truth
from bench.chaos_road import COMMAND, STAGES, Road, pusher, road
from bench.chaos_services import OwnKafka, OwnRedis, TookTooLong, closed, services, within
from groundswell import times
from groundswell.errors import BrokerAway

ONSET_MINUTES = 12  # an episode begins so near to where its surge was planted
DRAINED_S = 240.0
RECOVERED_S = 180.0
# Beside both: after a flush tag reads back what it claimed, all of it before it goes on, and the calm run is as fast as the stages are.
READ_BACK_DOCS_S = 500.0
STILL_S = 1.5
LOOKED_S = 30.0  # a look that takes longer saw nothing
LEFT_S = 300.0  # millions of keys
RATE_CALM = 4_000.0
Told = Callable[[str, float], None]


@dataclass(frozen=True)
class Asked:
    """What to do. `plan`: these faults instead of drawn ones; `calm`: with the undisturbed run beside it."""

    kills: int = 20
    docs: int = 20_000
    seed: int = 1
    faults: tuple[str, ...] = KINDS
    session_s: float = 10.0
    workers: int = 1
    stages: tuple[str, ...] = STAGES
    plan: tuple[str, ...] = ()
    hit: tuple[str, ...] = ()  # stages whose processes are struck; empty: all
    calm: bool = True
    rate: float = 0.0  # documents a second; 0: so that they last as long as the faults
    command: tuple[str, ...] = COMMAND
    recovered_s: float = 0.0  # after a blow; then it counts as never; 0: as long as so many documents may take
    drained_s: float = 0.0  # likewise

    @property
    def recovers_s(self) -> float:
        return self.recovered_s or RECOVERED_S + self.docs / READ_BACK_DOCS_S

    @property
    def drains_s(self) -> float:
        return self.drained_s or DRAINED_S + self.docs / READ_BACK_DOCS_S


@dataclass
class Left:
    """What an installation made of the file."""

    buckets: Counted
    told: list[dict[str, Any]]
    letters: list[dict[str, Any]]
    received: list[str]
    due: set[tuple[int, int]]
    wrong: list[str]
    left_over: str  # nothing, when all was read in time
    seconds: float
    struck: Struck = field(default_factory=Struck)

    @property
    def drained(self) -> bool:
        return not self.left_over

    @property
    def ids(self) -> Counter[str]:
        return Counter(one["id"] for one in self.told if one["data"]["subject"]["id"] != MARKET)

    @property
    def onsets(self) -> set[tuple[str, int]]:
        """(company, minute) of every episode."""
        found = {(one["data"]["subject"]["id"], times.parse_ms(one["data"]["started_at"])) for one in self.told}
        return {one for one in found if one[0].startswith("XDEM:")}


def run(asked: Asked, told: Told = lambda _what, _share: None) -> dict[str, Any]:
    """All keys of the JSON. Raises NoServices, PushFailed, Misconfigured."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # a broker that is away is the point
    return asyncio.run(_run(asked, told))


async def _run(asked: Asked, told: Told) -> dict[str, Any]:
    began_s, loop, myself = time.monotonic(), asyncio.get_running_loop(), asyncio.current_task()
    assert myself is not None
    loop.add_signal_handler(signal.SIGTERM, myself.cancel)  # what runs is ended on every way out
    folder = Path(tempfile.mkdtemp(prefix="groundswell-chaos-"))
    told("a broker and a Redis", 0.0)
    try:
        async with services(folder) as (kafka, redis):
            found = await both(asked, kafka, redis, folder, told)
    except TookTooLong as error:
        raise TookTooLong(str(error), remedy=f"The logs in {folder} say why.") from error
    found["seconds"] = round(time.monotonic() - began_s, 1)
    if found["passed"]:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        found["logs"] = str(folder)
    return found


async def both(asked: Asked, kafka: OwnKafka, redis: OwnRedis, folder: Path, told: Told) -> dict[str, Any]:
    """The undisturbed run, then the other, on services that are there."""
    made = file(asked.docs, time.time_ns() // 1_000_000 - HOUR_MS, asked.seed)
    name = f"chaos-{secrets.token_hex(3)}"
    calm = None
    if asked.calm:
        calm = await travel(
            asked, made, f"{name}-calm", kafka, redis, folder, lambda share: told("undisturbed", share / 4), faults=()
        )
        await redis_emptied(redis)
    chance = random.Random(asked.seed)
    faults = asked.plan or chaos_faults.schedule(asked.kills, asked.faults, chance)
    first = 0.25 if asked.calm else 0.0
    broken = await travel(
        asked, made, f"{name}-hit", kafka, redis, folder,
        lambda share: told(f"{len(faults)} faults", first + share * (1 - first)), faults=faults,
    )  # fmt: skip
    return compared(asked, made, calm, broken)


async def redis_emptied(redis: OwnRedis) -> None:
    """Between two installations."""
    from redis.asyncio import Redis

    client = Redis.from_url(redis.address, socket_timeout=10)
    await client.flushall()
    await closed(client.aclose())


async def travel(
    asked: Asked, made: File, prefix: str, kafka: OwnKafka, redis: OwnRedis, folder: Path, told: Callable[[float], None],
    *, faults: Sequence[str],
) -> Left:  # fmt: skip
    """Push the file through an installation of its own while faults strike, and look at what it left."""
    chance, began_s = random.Random(asked.seed + 1), time.monotonic()
    rate = asked.rate or max(150.0, asked.docs / (3 * len(faults) + 1))
    subjects = sorted({one.subjects[0] for one in made.sent})
    hours = range(made.sent[0].at_ms // HOUR_MS, made.sent[-1].at_ms // HOUR_MS + 1)
    async with road(
        prefix, kafka, redis, folder / prefix, stages=asked.stages, workers=asked.workers, session_ms=round(asked.session_s * 1000),
        command=asked.command,
    ) as found:  # fmt: skip
        looking = asyncio.create_task(found.watch(subjects, hours))
        try:
            await found.ready()
            async with pusher(found, made.sent, chance, rate if faults else RATE_CALM) as pushing:
                chaos = Chaos(found, pushing, chance, asked.hit or asked.stages, asked.recovers_s)
                for number, kind in enumerate(faults):
                    await chaos.strike(kind, len(made.sent) * (number + 1) // (len(faults) + 1))
                    told((number + 1) / len(faults) * 0.8)
            left_over = await until_drained(found, asked, told)
            await chaos.settle()
            seconds = time.monotonic() - began_s
            return await within(LEFT_S, "Looking at what is left", left(found, chaos.struck, left_over, seconds))
        finally:
            looking.cancel()


async def until_drained(found: Road, asked: Asked, told: Callable[[float], None]) -> str:
    """Until nothing is unread and nothing waits to be told, twice in a row; when the time is over, what is left over."""
    end_s, still, seen = time.monotonic() + asked.drains_s, 0, ""
    while still < 2:
        if time.monotonic() > end_s:
            return seen or "all is read, but for too short"
        try:
            async with asyncio.timeout(LOOKED_S):
                unread, held = await found.unread(), await waiting(found)
            seen = f"{unread} records unread, {held} alerts wait" if unread or held else ""
            still = 0 if seen else still + 1
        except (RedisError, KafkaError, OSError, BrokerAway) as error:  # a TimeoutError is an OSError
            seen = f"no look: {error!r}"
        told(0.8 + 0.2 * (1 - max(0.0, end_s - time.monotonic()) / asked.drains_s))
        await asyncio.sleep(STILL_S)
    return ""


async def waiting(found: Road) -> int:
    """Alerts in outboxes, in rebuilds, and on their way to the endpoint."""
    pipeline = found.redis.pipeline(transaction=False)
    for partition in range(64):
        pipeline.llen(found.keys.outbox(partition))
        pipeline.llen(found.keys.waiting(partition))
    held = sum(await pipeline.execute())
    if any(worker.stage == "deliver" for worker in found.workers):
        held += len(due(await found.told()) - {one.id for one in found.receiver.received})
    return int(held)


def due(told: Sequence[Mapping[str, Any]]) -> set[str]:
    """Ids that the endpoint must have: of companies."""
    companies = {company[0] for company in COMPANIES}
    return {one["id"] for one in told if one["data"]["subject"]["id"] in companies}


async def left(found: Road, struck: Struck, left_over: str, seconds: float) -> Left:
    """Look at everything."""
    books = await found.books()
    return Left(
        buckets=await found.buckets(), told=await found.told(), letters=await found.letters(),
        received=[one.id for one in found.receiver.received], due=found.letters_due,
        wrong=books.wrong, left_over=left_over, seconds=seconds, struck=struck,
    )  # fmt: skip


def compared(asked: Asked, made: File, calm: Left | None, broken: Left) -> dict[str, Any]:
    """The verdict, as the JSON has it."""
    wanted = truth(made.sent)
    rows, struck = difference(broken.buckets, wanted), broken.struck
    letters = refused(broken)
    spans = [second for all_of in struck.recovery_s.values() for second in all_of]
    report: dict[str, Any] = {
        "docs": asked.docs, "seed": asked.seed, "faults": dict(struck.faults), "kills": dict(struck.kills), "session_s": asked.session_s,
        "workers": asked.workers, "lost": rows.lost, "double_counted": rows.double_counted, "misplaced": rows.misplaced,
        "examples": rows.examples, "dead_letters": letters, "redis_bytes_cut": struck.bytes_cut,
        **alerts(asked, calm, broken), "episodes": episodes(made, broken),
        "accounting_balanced": not broken.wrong, "accounting": broken.wrong,
        "recovery_s": spread(spans) | {"never": len(struck.late)}, "late": struck.late,
        "recovery_by_kind": {kind: spread(all_of) | {"n": len(all_of)} for kind, all_of in sorted(struck.recovery_s.items())},
        "drained": broken.drained, "left_over": broken.left_over, "seconds_broken": round(broken.seconds, 1),
    }  # fmt: skip
    whole = [report]
    if calm is not None:
        there = difference(calm.buckets, wanted)
        report["calm"] = {
            "seconds": round(calm.seconds, 1), "lost": there.lost, "double_counted": there.double_counted,
            "misplaced": there.misplaced, "examples": there.examples, "episodes": episodes(made, calm), "left_over": calm.left_over,
        }  # fmt: skip
        whole.append(report["calm"])
    report["passed"] = all(clean(one) and not one["left_over"] for one in whole) and not (
        report["alerts_missing"] or report["alerts_twice"] or letters["missing"] or letters["unexpected"] or broken.wrong
    )  # fmt: skip
    return report


def spread(spans: Sequence[float]) -> dict[str, float | None]:
    """Half of them, and the longest."""
    return {"p50": round(statistics.median(spans), 1) if spans else None, "max": max(spans, default=None)}


def clean(part: Mapping[str, Any]) -> bool:
    """No row and no episode too few or too many."""
    rows = part["lost"] or part["double_counted"] or part["misplaced"]
    return not (rows or part["episodes"]["missing"] or part["episodes"]["unexpected"])


def refused(broken: Left) -> dict[str, int]:
    """Dead letters by coordinates: a letter may be written again after a crash, of the same coordinates."""
    got = {(one["src"][0], one["src"][1]) for one in broken.letters if one["stage"] == "ingest"}
    others = sum(one["stage"] != "ingest" for one in broken.letters)
    return {"due": len(broken.due), "missing": len(broken.due - got), "unexpected": len(got - broken.due) + others}


def alerts(asked: Asked, calm: Left | None, broken: Left) -> dict[str, Any]:
    """Ids told and received, against those of the undisturbed run."""
    wanted = set(calm.ids) if calm is not None else set(broken.ids)
    received = Counter(broken.received)
    wanted_there = due(broken.told)
    missing = wanted - set(broken.ids)
    if "deliver" in asked.stages:
        missing |= wanted_there - set(received)
    redelivered = sum(received.values()) - len(received)
    explained = UNWRITTEN_MOST * broken.struck.disturbed_deliver
    twice = len(set(broken.ids) - wanted) + max(0, redelivered - explained)
    told = Counter(one["id"] for one in broken.told)
    return {
        "alerts_missing": len(missing), "alerts_twice": twice,
        "alerts": {"told": len(told), "due": len(wanted_there), "received": len(wanted_there & set(received)),
                   "redelivered": redelivered, "explained": explained, "republished": sum(told.values()) - len(told)},
    }  # fmt: skip


def episodes(made: File, found: Left) -> dict[str, int]:
    """Each planted surge must have its episode, and nothing else may have one."""
    near = ONSET_MINUTES * MINUTE_MS
    matched = {
        where for where in made.surges for one in found.onsets if one[0] == where[0] and abs(one[1] - where[1]) <= near
    }
    stray = [
        one for one in found.onsets if not any(one[0] == at[0] and abs(one[1] - at[1]) <= near for at in made.surges)
    ]
    return {"planted": len(made.surges), "missing": len(made.surges) - len(matched), "unexpected": len(stray)}

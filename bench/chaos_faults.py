"""The ten kinds of faults, and the order in which a seed lets them strike.

Each kind is one function: it breaks something, waits as long as it takes, and puts the broken thing back (a killed process comes back by
itself). How soon the road has counted all that was pushed before the blow is timed beside it. Read chaos.py next.
"""

import asyncio
import json
import random
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from redis.exceptions import RedisError

from bench.chaos_file import poison
from bench.chaos_road import STAGES, Pusher, Road, Worker, all_counted
from bench.chaos_services import hit, kill, within
from groundswell.running import beat

KINDS = (
    "kill",
    "zombie",
    "broker",
    "redis-kill",
    "redis-flush",
    "redis-slow",
    "rebalance",
    "duplicate",
    "poison",
    "clock",
)
# Beside N kills: N over this of each other kind, at least one.
EACH = {"zombie": 5, "broker": 20, "redis-kill": 20, "redis-flush": 20, "redis-slow": 10, "rebalance": 10, "duplicate": 10,
        "poison": 10, "clock": 20}  # fmt: skip
GAP_S = (0.2, 1.6)  # before the next one
WORKS_S = 40.0  # a stage is waited for so long before it is hit again
SLEEPS_S = 2.5  # of a zombie, beyond the time after which it counts as dead
LEASE_S = 10.0  # of deliver, which has no session
REDIS_SLEEPS_S = (1.0, 12.0)  # clients give up after ten
BROKER_GONE_S = (0.0, 3.0)
CLOCK_OFF_MS = 120_000
SOON_S = 0.25
SETTLES_S = 5.0
STRIKES_S = 180.0  # one blow, with all that it waits for before and after


@dataclass
class Struck:
    """What was done so far. `recovery_s`: from each blow until all that was pushed before it is counted."""

    faults: Counter[str] = field(default_factory=Counter)
    kills: Counter[str] = field(default_factory=Counter)  # by stage
    recovery_s: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    late: list[str] = field(default_factory=list)  # blows after which it did not come back in time
    bytes_cut: int = 0
    disturbed_deliver: int = 0


def schedule(kills: int, kinds: Sequence[str], chance: random.Random) -> list[str]:
    """The kinds in the order in which they strike: kills, and the others in proportion."""
    found = [kind for kind in kinds if kind != "kill" for _ in range(max(1, round(kills / EACH[kind])))]
    found += ["kill"] * kills if "kill" in kinds else []
    chance.shuffle(found)
    return found


class Chaos:
    """Faults on one road, one after another, overlapping in what they cause."""

    def __init__(
        self,
        road: Road,
        pusher: Pusher,
        chance: random.Random,
        stages: Sequence[str] = STAGES,
        recovered_s: float = 180.0,
    ) -> None:
        self._recovered_s = recovered_s
        self._road, self._pusher, self._chance, self._stages = road, pusher, chance, list(stages)
        self.struck = Struck()
        self._recovering: dict[str, asyncio.Task[None]] = {}  # kind, or stage, -> the newest
        self._all: list[asyncio.Task[None]] = []
        self._turn = self._documents = 0
        self._do: dict[str, Callable[[], Awaitable[None]]] = {
            "kill": self._kill, "zombie": self._zombie, "broker": self._broker, "redis-kill": self._redis_kill,
            "redis-flush": self._redis_flush, "redis-slow": self._redis_slow, "rebalance": self._rebalance,
            "duplicate": self._again, "poison": self._poison, "clock": self._clock,
        }  # fmt: skip

    async def strike(self, kind: str, documents: int) -> None:
        """One fault, a random while after the pusher was let go on to so many documents: in the middle of their way."""
        self._documents = documents
        await within(STRIKES_S, f"Fault {self.struck.faults.total() + 1}, {kind},", self._do[kind]())
        self.struck.faults[kind] += 1

    async def _moment(self) -> None:
        self._pusher.allow(self._documents)
        await asyncio.sleep(self._chance.uniform(*GAP_S))

    async def settle(self) -> None:
        """Once all is drained nothing more will come: what is not counted soon never is."""
        tasks = [task for task in self._all if not task.done()]
        if tasks:
            await asyncio.wait(tasks, timeout=SETTLES_S)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- processes ----------------------------------------------------------------------------------------------------

    async def _kill(self) -> None:
        """kill -9 in the middle of work: each stage in its turn, and not before it has worked since the last time."""
        worker = await self._worker()
        self._time("kill", worker.stage)
        worker.signal(signal.SIGKILL)
        self.struck.kills[worker.stage] += 1

    async def _zombie(self) -> None:
        """Stopped until others count it as dead and have gone on with its work; then it goes on as if nothing had been."""
        worker = await self._worker()
        self._time("zombie", worker.stage)
        worker.signal(signal.SIGSTOP)
        self._road.start(worker.stage)
        dead_s = LEASE_S if worker.stage == "deliver" else self._road.session_ms / 1000
        await asyncio.sleep(dead_s + self._chance.uniform(0.5, SLEEPS_S))
        worker.signal(signal.SIGCONT)
        await asyncio.sleep(self._chance.uniform(1.0, 3.0))  # two at a time
        await self._road.end(worker)

    async def _rebalance(self) -> None:
        """Another worker joins the group, and a while later one leaves in order."""
        worker = await self._worker()
        self._time("rebalance", worker.stage)
        self._road.start(worker.stage)
        await asyncio.sleep(self._chance.uniform(2.0, 5.0))
        await self._road.end(worker)

    async def _worker(self) -> Worker:
        stage = self._stages[self._turn % len(self._stages)]
        self._turn += 1
        if self._turn % len(self._stages) == 0:
            self._chance.shuffle(self._stages)
        recovering = self._recovering.get(stage)
        if recovering is not None:
            await asyncio.wait({recovering}, timeout=WORKS_S)
        worker = self._chance.choice([one for one in self._road.workers if one.stage == stage])
        await self._works(worker)
        if stage == "deliver":
            self.struck.disturbed_deliver += 1
        await self._moment()
        return worker

    async def _works(self, worker: Worker) -> None:
        """It beats: it is past its start. One that cannot start while Redis or the broker is away is hit as it is."""
        end_s = time.monotonic() + WORKS_S
        while time.monotonic() < end_s:
            with suppress(RedisError, OSError):
                pids = {one.pid for one in await beat.beats(self._road.redis, self._road.keys)}
                if worker.process is not None and worker.process.pid in pids:
                    return
            await asyncio.sleep(SOON_S)

    # -- services -----------------------------------------------------------------------------------------------------

    async def _broker(self) -> None:
        await self._moment()
        self._time("broker")
        self.struck.disturbed_deliver += 1
        await kill(self._road.own_kafka)
        await asyncio.sleep(self._chance.uniform(*BROKER_GONE_S))
        await self._road.own_kafka.start()

    async def _redis_kill(self) -> None:
        """Every other time as when the power goes: with up to the last second of its log."""
        await self._moment()
        self._time("redis-kill")
        self.struck.disturbed_deliver += 1
        if self.struck.faults["redis-kill"] % 2:
            await kill(self._road.own_redis)
        else:
            self.struck.bytes_cut += await self._road.own_redis.lose_power(self._chance)
        await asyncio.sleep(self._chance.uniform(*BROKER_GONE_S))
        await self._road.own_redis.start()

    async def _redis_flush(self) -> None:
        await self._moment()
        self._time("redis-flush")
        self.struck.disturbed_deliver += 1
        while True:
            with suppress(RedisError, OSError):
                await self._road.redis.flushall()
                self._road.counted = {}
                return
            await asyncio.sleep(SOON_S)

    async def _redis_slow(self) -> None:
        """It stands still, sometimes for longer than anybody waits."""
        await self._moment()
        self._time("redis-slow")
        self.struck.disturbed_deliver += 1
        hit(self._road.own_redis, signal.SIGSTOP)
        await asyncio.sleep(self._chance.uniform(*REDIS_SLEEPS_S))
        hit(self._road.own_redis, signal.SIGCONT)

    # -- inputs and clocks --------------------------------------------------------------------------------------------

    async def _again(self) -> None:
        await self._moment()
        await self._pusher.again()

    async def _poison(self) -> None:
        await self._moment()
        for message in poison(self._chance, time.time_ns() // 1_000_000):
            await self._pusher.bad(message)

    async def _clock(self) -> None:
        """All processes' clock jumps, at most two minutes off: forward or back."""
        await self._moment()
        self._road.clock.write_text(json.dumps(self._chance.randint(-CLOCK_OFF_MS, CLOCK_OFF_MS)), encoding="ascii")
        await asyncio.sleep(self._chance.uniform(0.5, 2.0))

    # -- how long it takes ----------------------------------------------------------------------------------------------

    def _time(self, kind: str, stage: str = "") -> None:
        if stage == "deliver":
            return  # it counts nothing
        goal, began_s = Counter(self._pusher.pushed), time.monotonic()

        async def recover() -> None:
            try:
                async with asyncio.timeout(self._recovered_s):
                    await asyncio.sleep(1.0)  # what was seen before the blow is not seen after it
                    while not all_counted(self._road, goal):  # noqa: ASYNC110 - what is watched is another task's
                        await asyncio.sleep(SOON_S)
            except (TimeoutError, asyncio.CancelledError):
                short = {
                    subject: (self._road.counted.get(subject, 0), count) for subject, count in sorted(goal.items())
                }
                few = ", ".join(f"{one} {have} of {count}" for one, (have, count) in short.items() if have < count)
                self.struck.late.append(f"{kind} {stage}: counted after {time.monotonic() - began_s:.0f} s: {few}")
                return
            self.struck.recovery_s[kind].append(round(time.monotonic() - began_s, 2))

        self._recovering[stage or kind] = asyncio.create_task(recover())
        self._all.append(self._recovering[stage or kind])

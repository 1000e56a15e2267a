"""What waits to be sent, in Redis: lanes in which events keep their order, and none is lost.

Each step is one script in lua/ (read accept.lua first), fenced by the lease of the one process that plans and sends. A
process that is killed leaves its place here and nowhere else. A webhook has one lane an episode, so that an event that
fails holds back its own episode alone; a chat or a mailbox has one lane, `all`, since one message says all that waits
there. One long file, so that every key has one place. All are under Keys.delivery, one slot:

lease                       token of the process that plans and sends; expires
inc, hwm                    which set of topics; hash partition -> last planned offset
books                       hash: read, applied, duplicate, dead_lettered
episode:<id>                hash: sequence; while it is open also head, body of the newest event, told:<endpoint> -> Told
look                        zset: open episode -> when to plan it again, ms; inf: only when something changes
event:<id>                  the exact bytes of an event; expires
lane:<endpoint>:<lane>      list: event|say|episode|planned_ms|flag, the first ones are due or on their way
due:<endpoint>              zset: lane -> when it is next tried, ms
claims, tries:<endpoint>    hash: lane -> fence:count of the try under way; -> tries so far
resting, spaced             hash: endpoint -> until when it wants no more; until when not even what is urgent
health                      hash: endpoint -> Health JSON; without a field it is healthy
waiting                     hash: endpoint -> deliveries that wait
rebuilt, done:<event>       finished before Redis was lost: a mark; hash endpoint -> when; both expire
errand:<id>                 an errand that was done; expires
log:<endpoint>              list: DeliveryOutcome JSON, newest first, capped
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from redis.exceptions import NoScriptError

from alerts.case import Head, Told
from alerts.health import Health
from alerts.say import Say
from groundswell.clients.connect import RedisClient
from groundswell.decisions import Fate
from groundswell.errors import Fenced, UnfitRedis
from groundswell.keys import Keys
from groundswell.records import DeliveryOutcome
from groundswell.running.books import Counts

LANE_MOST = 100
LOG_MOST = 1_000
BODY_MS = 96 * 3_600_000  # all steps of the schedule with the largest jitter, and some
OPEN_MS = 90 * 86_400_000
CLOSED_MS = 8 * 86_400_000
DONE_MS = 8 * 86_400_000
ERRAND_MS = 7_200_000
ALL = "all"  # the lane of a chat or a mailbox
PUSH = "push"
OF_ENDPOINTS = ("waiting", "health", "resting", "spaced")  # hashes with a field an endpoint

_SCRIPTS = {
    name: (Path(__file__).parent / "lua" / f"{name}.lua").read_text(encoding="utf-8")
    for name in ("lease", "accept", "claim", "finish")
}
_told = msgspec.json.Decoder(Told).decode
_head = msgspec.json.Decoder(Head).decode
_health = msgspec.json.Decoder(Health).decode
_encode = msgspec.json.Encoder().encode


class Known(Struct, frozen=True):
    """What is known of an episode. `sequence` -1: nothing; without `head` it is over and all was told."""

    sequence: int = -1
    head: Head | None = None
    body: bytes = b""
    told: dict[str, Told] = {}


class Addressed(Struct, frozen=True, kw_only=True):
    """What one endpoint is to be told, or was. Without `event` it is only noted as told."""

    endpoint: str
    told: Told | None
    event: str = ""
    say: Say = Say.FIRING
    lane: str = ""
    urgent: bool = False
    replayed: bool = False


class Accept(Struct, frozen=True, kw_only=True):
    """One episode as planned, to be made lasting.

    `place` is (partition, offset) on the alerts topic, None when no record is behind it; `body` are the bytes of the newest
    event (empty: as they were), `bodies` those of what is told; `look_ms` says when to plan again (inf: when something
    changes), None forgets; `close`: nobody needs more of it. A `refused` record is only counted.
    """

    place: tuple[int, int] | None
    now_ms: int
    refused: bool = False
    episode: str = ""
    sequence: int = 0
    head: Head | None = None
    body: bytes = b""
    bodies: dict[str, bytes] = {}
    tellings: list[Addressed] = []
    look_ms: float | None = None
    close: bool = False


class Item(Struct, frozen=True, kw_only=True):
    """One delivery that is due. `body` is empty when it waited until it expired."""

    event: str
    say: Say
    episode: str
    planned_ms: int
    replayed: bool
    body: bytes


class Claim(Struct, frozen=True, kw_only=True):
    """What one try is to deliver: the first items of a lane, in order."""

    lane: str
    fence: str
    attempt: int
    items: list[Item]


class Wait(Struct, frozen=True):
    """Nothing is due; `until_ms` says when something will be, if anything waits."""

    until_ms: int | None


class Finish(Struct, frozen=True, kw_only=True):
    """How one try ended: `pop` items are done with. `again_ms` when the others wait for the next try of this one."""

    endpoint: str
    claim: Claim
    rows: list[DeliveryOutcome]
    pop: int
    again_ms: int | None = None
    rest_ms: int | None = None  # the endpoint wants no more until then,
    spaced_ms: int = 0  # and not even what is urgent until then
    following_ms: int = 0  # when what is left in the lane goes
    health: Health | None = None  # None: as it was
    heal: bool = False  # all its lanes are due now


class Lanes:
    """The lanes as one process sees them; `token` is its name in the lease."""

    def __init__(self, redis: RedisClient, keys: Keys, token: str) -> None:
        self._redis, self._keys, self._prefix, self._token = redis, keys, keys.delivery, token
        self._hashes: dict[str, str] = {}

    # -- the lease ---------------------------------------------------------------------------------------------

    async def hold(self, lease_ms: int) -> bool:
        """Take the lease or keep it; False while another process has it."""
        return bool(await self._eval("lease", lease_ms, 1))

    async def keep(self, lease_ms: int) -> bool:
        """Keep the lease; False when it is not ours any more, also when a lost Redis holds none: begin anew then."""
        return bool(await self._eval("lease", lease_ms, 0))

    async def let_go(self) -> None:
        """Give the lease back, so that a standby need not wait for its end."""
        await self._eval("lease", 0, 0)

    # -- the beginning -----------------------------------------------------------------------------------------

    async def incarnation(self) -> str | None:
        """The set of topics whose offsets are kept here; None in an empty Redis."""
        found = await self._redis.get(f"{self._prefix}:inc")
        return None if found is None else found.decode()

    async def begin(self, incarnation: str) -> None:
        """Forget the offsets of other topics."""
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.delete(f"{self._prefix}:hwm")
            pipe.set(f"{self._prefix}:inc", incarnation)
            await pipe.execute()

    async def remember(self, rows: Iterable[DeliveryOutcome]) -> None:
        """Deliveries that ended before this Redis was empty: they are told, and not sent again."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for row in rows:
                name = f"{self._prefix}:done:{row.event}"
                pipe.hset(name, row.endpoint, row.at)
                pipe.pexpire(name, DONE_MS)
            pipe.set(f"{self._prefix}:rebuilt", 1, px=DONE_MS)
            await pipe.execute()

    async def set_health(self, endpoint: str, health: Health) -> None:
        """How an endpoint fares, outside a try: an errand enabled it, or a lost Redis is rebuilt."""
        await self._redis.hset(f"{self._prefix}:health", endpoint, _encode(health))

    async def enable(self, endpoint: str, health: Health, now_ms: int) -> None:
        """An endpoint may be tried again: all that waits for it is due."""
        p = self._prefix
        lanes = [name.decode() for name in await self._redis.zrange(f"{p}:due:{endpoint}", 0, -1)]
        claimed = {name.decode() for name in await self._redis.hkeys(f"{p}:claims:{endpoint}")}
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.hset(f"{p}:health", endpoint, _encode(health))
            for lane in lanes:
                if lane not in claimed:
                    pipe.zadd(f"{p}:due:{endpoint}", {lane: now_ms}, xx=True)
            await pipe.execute()

    async def rebuilt(self) -> bool:
        """Whether `done` may know anything."""
        return bool(await self._redis.exists(f"{self._prefix}:rebuilt"))

    async def done(self, event: str) -> dict[str, int]:
        """Endpoint -> when this event was finished there before Redis was lost."""
        found = await self._redis.hgetall(f"{self._prefix}:done:{event}")
        return {endpoint.decode(): int(at) for endpoint, at in found.items()}

    async def planned(self) -> dict[int, int]:
        """Partition -> last planned offset."""
        found = await self._redis.hgetall(f"{self._prefix}:hwm")
        return {int(partition): int(offset) for partition, offset in found.items()}

    async def forget_offset(self, partition: int) -> None:
        """The topic holds less than was planned: it was made anew, so its offsets begin again."""
        await self._redis.hdel(f"{self._prefix}:hwm", str(partition))

    # -- planning ----------------------------------------------------------------------------------------------

    async def known(self, episodes: Sequence[str]) -> dict[str, Known]:
        """What is known of episodes so far."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for episode in episodes:
                pipe.hgetall(f"{self._prefix}:episode:{episode}")
            return dict(zip(episodes, map(_known, await pipe.execute()), strict=True))

    async def accept(self, *planned: Accept) -> list[tuple[str, dict[str, int]]]:
        """Make plans lasting, in order and one round trip.

        Each answers `seen` (this offset was planned), `duplicate` (something newer was), `dead_lettered` or `applied`, and until
        when an endpoint must rest before it is told. Raises Fenced when another process holds the lease, UnfitRedis when
        a key holds something foreign.
        """
        answers = await self._run_all("accept", [_accept_args(one) for one in planned])
        return [(answer[0], _rests(answer)) for answer in answers]

    async def push(
        self, episode: str, now_ms: int, bodies: dict[str, bytes], tellings: list[Addressed]
    ) -> dict[str, int]:
        """Into the lanes, whatever was planned of that episode: a test, a replay."""
        one = Accept(place=None, now_ms=now_ms, episode=episode, bodies=bodies, tellings=tellings)
        return _rests((await self._run_all("accept", [_accept_args(one, fate=PUSH)]))[0])

    async def open(self, until_ms: int | None = None, most: int = 1_000_000) -> list[str]:
        """Open episodes that are to be planned again by then; all of them without a time."""
        end: int | str = "+inf" if until_ms is None else until_ms
        found = await self._redis.zrangebyscore(f"{self._prefix}:look", "-inf", end, start=0, num=most)
        return [name.decode() for name in found]

    async def bodies(self, episodes: Sequence[str]) -> list[bytes]:
        """The newest events of open episodes; empty where their state expired."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for episode in episodes:
                pipe.hget(f"{self._prefix}:episode:{episode}", "body")
            return [body or b"" for body in await pipe.execute()]

    async def forget(self, episode: str) -> None:
        """Its state expired: nothing is left to plan."""
        await self._redis.zrem(f"{self._prefix}:look", episode)

    async def was_run(self, errand: str) -> bool:
        """Whether this errand was done."""
        return bool(await self._redis.exists(errand_key(self._keys, errand)))

    async def note_run(self, errand: str) -> None:
        """This errand is done."""
        await self._redis.set(errand_key(self._keys, errand), 1, px=ERRAND_MS)

    # -- sending -----------------------------------------------------------------------------------------------

    async def claim(
        self,
        endpoint: str,
        now_ms: int,
        claim_ms: int,
        *,
        first: bool = False,
        lanes: int = 1,
        items: int = 1,
        wanted: str = "",
    ) -> list[Claim] | Wait:
        """What is due at an endpoint, of up to so many lanes, or when something is.

        `first` takes over what a killed process had begun; the lane `wanted` goes before others.
        """
        answer = await self._run("claim", endpoint, now_ms, claim_ms, int(first), lanes, items, wanted)
        if answer[0] == "wait":
            return Wait(int(answer[1]) if answer[1] else None)
        return [
            Claim(
                lane=lane.decode(),
                fence=fence.decode(),
                attempt=int(attempt),
                items=[_item(raw, body) for raw, body in zip(taken[::2], taken[1::2], strict=True)],
            )
            for lane, fence, attempt, taken in answer[1:]
        ]

    async def finish(self, ended: Sequence[Finish]) -> list[bool]:
        """Note how tries ended, in one round trip. False: the claim was no longer ours."""
        return [answer[0] == "ok" for answer in await self._run_all("finish", [_finish_args(one) for one in ended])]

    async def log(self, row: DeliveryOutcome) -> None:
        """One row of an endpoint's log that no try is behind."""
        name = log_key(self._keys, row.endpoint)
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.hsetnx(waiting_key(self._keys), row.endpoint, 0)  # so that `kept` names it
            pipe.lpush(name, _encode(row))
            pipe.ltrim(name, 0, LOG_MOST - 1)
            await pipe.execute()

    async def waiting_events(self, endpoint: str) -> set[str]:
        """The events that wait for an endpoint."""
        lanes = [name.decode() for name in await self._redis.zrange(f"{self._prefix}:due:{endpoint}", 0, -1)]
        async with self._redis.pipeline(transaction=False) as pipe:
            for lane in lanes:
                pipe.lrange(f"{self._prefix}:lane:{endpoint}:{lane}", 0, -1)
            return {raw.decode().partition("|")[0] for items in await pipe.execute() for raw in items}

    async def waiting(self) -> dict[str, int]:
        """Endpoint -> deliveries that wait."""
        found = await self._redis.hgetall(waiting_key(self._keys))
        return {name.decode(): int(count) for name, count in found.items()}

    async def health(self) -> dict[str, Health]:
        """How each endpoint fares that was tried."""
        return _healths(await self._redis.hgetall(f"{self._prefix}:health"))

    async def kept(self) -> set[str]:
        """The endpoints of which anything is kept; some may have been removed since."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for name in OF_ENDPOINTS:
                pipe.hkeys(f"{self._prefix}:{name}")
            return {name.decode() for names in await pipe.execute() for name in names}

    async def drop(self, endpoint: str) -> int:
        """An endpoint was removed: drop all that is kept of it, and say how much waited."""
        p = self._prefix
        lanes = [name.decode() for name in await self._redis.zrange(f"{p}:due:{endpoint}", 0, -1)]
        waiting = int(await self._redis.hget(waiting_key(self._keys), endpoint) or 0)
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.delete(*(f"{p}:lane:{endpoint}:{lane}" for lane in lanes), f"{p}:due:{endpoint}")
            pipe.delete(f"{p}:claims:{endpoint}", f"{p}:tries:{endpoint}", log_key(self._keys, endpoint))
            for name in OF_ENDPOINTS:
                pipe.hdel(f"{p}:{name}", endpoint)
            await pipe.execute()
        return waiting

    async def _run(self, name: str, *args: Any) -> list[Any]:
        return (await self._run_all(name, [args]))[0]

    async def _run_all(self, name: str, calls: Sequence[Sequence[Any]]) -> list[list[Any]]:
        answers: list[list[Any]] = await self._eval_all(name, calls)
        for answer in answers:
            answer[0] = answer[0].decode()
            if answer[0] == "fenced":
                raise Fenced("Another process plans and sends now.", remedy="Nothing to do: this one stands by.")
            if answer[0] == "broken":
                key = answer[1].decode()
                raise UnfitRedis(
                    f"The key {key} holds something that is not ours.", remedy="Look at it, then delete it."
                )
        return answers

    async def _eval(self, name: str, *args: Any) -> Any:
        return (await self._eval_all(name, [args]))[0]

    async def _eval_all(self, name: str, calls: Sequence[Sequence[Any]]) -> list[Any]:
        if name not in self._hashes:
            self._hashes[name] = await self._redis.script_load(_SCRIPTS[name])
        try:
            return await self._send(name, calls)
        except NoScriptError:
            # Redis was restarted. The embedded one also closes a connection on every error.
            await self._redis.connection_pool.disconnect()
            self._hashes[name] = await self._redis.script_load(_SCRIPTS[name])
            return await self._send(name, calls)

    async def _send(self, name: str, calls: Sequence[Sequence[Any]]) -> list[Any]:
        key, sha = f"{self._prefix}:lease", self._hashes[name]
        if len(calls) == 1:
            return [await self._redis.evalsha(sha, 1, key, self._prefix, self._token, *calls[0])]
        async with self._redis.pipeline(transaction=False) as pipe:
            for args in calls:
                pipe.evalsha(sha, 1, key, self._prefix, self._token, *args)
            return list(await pipe.execute())


def log_key(keys: Keys, endpoint: str) -> str:
    """Of the tries at an endpoint."""
    return f"{keys.delivery}:log:{endpoint}"


def waiting_key(keys: Keys) -> str:
    """Of how many deliveries wait, by endpoint."""
    return f"{keys.delivery}:waiting"


def errand_key(keys: Keys, errand: str) -> str:
    """There once the errand is done."""
    return f"{keys.delivery}:errand:{errand}"


async def books(redis: RedisClient, keys: Keys) -> Counts:
    """The books of deliver: alert events read, and what became of each; changed in the same script as the offset."""
    found: Mapping[bytes, bytes] = await redis.hgetall(f"{keys.delivery}:books")
    return Counts(**{name.decode(): int(count) for name, count in found.items()})


async def health(redis: RedisClient, keys: Keys) -> dict[str, Health]:
    """How each endpoint fares, for pages and the command line; one that is not named was never tried, or is healthy."""
    return _healths(await redis.hgetall(f"{keys.delivery}:health"))


async def deliveries(redis: RedisClient, keys: Keys, endpoint: str = "", limit: int = 100) -> list[DeliveryOutcome]:
    """The newest tries at one endpoint, or at all, newest first."""
    known = [endpoint] if endpoint else [name.decode() for name in await redis.hkeys(waiting_key(keys))]
    rows: list[DeliveryOutcome] = []
    for name in known:
        raw = await redis.lrange(log_key(keys, name), 0, limit - 1)
        rows += (msgspec.json.decode(row, type=DeliveryOutcome) for row in raw)
    return sorted(rows, key=lambda row: row.at, reverse=True)[:limit]


def _known(found: Mapping[bytes, bytes]) -> Known:
    if b"sequence" not in found:
        return Known()
    head = found.get(b"head")
    told = {name[5:].decode(): _told(value) for name, value in found.items() if name.startswith(b"told:")}
    return Known(int(found[b"sequence"]), _head(head) if head else None, found.get(b"body", b""), told)


def _accept_args(one: Accept, fate: str = "") -> list[Any]:
    partition, offset = one.place if one.place is not None else ("", 0)
    look = "" if one.look_ms is None else "+inf" if one.look_ms == float("inf") else round(one.look_ms)
    args: list[Any] = [
        partition, offset, Fate.DEAD_LETTERED.value if one.refused else fate, one.episode, one.sequence,
        b"" if one.head is None else _encode(one.head), one.body, one.now_ms, BODY_MS,
        CLOSED_MS if one.close else OPEN_MS, look, int(one.close), LANE_MOST, len(one.bodies),
    ]  # fmt: skip
    args += [part for pair in one.bodies.items() for part in pair]
    for telling in one.tellings:
        flag = "u" if telling.urgent else "r" if telling.replayed else "-"
        item = f"{telling.event}|{telling.say}|{one.episode}|{one.now_ms}|{flag}"
        args += (telling.endpoint, b"" if telling.told is None else _encode(telling.told), telling.lane, item)
    return args


def _rests(answer: Sequence[Any]) -> dict[str, int]:
    return {endpoint.decode(): int(until) for endpoint, until in zip(answer[1::2], answer[2::2], strict=True)}


def _healths(found: Mapping[bytes, bytes]) -> dict[str, Health]:
    return {endpoint.decode(): _health(raw) for endpoint, raw in found.items()}


def _item(raw: bytes, body: bytes) -> Item:
    event, say, episode, planned, flag = raw.decode().split("|")
    return Item(
        event=event, say=Say(say), episode=episode, planned_ms=int(planned), replayed=flag == "r", body=body
    )  # fmt: skip


def _finish_args(one: Finish) -> list[Any]:
    now = one.rows[0].at if one.rows else one.following_ms
    return [
        one.endpoint,
        one.claim.lane,
        one.claim.fence,
        now,
        one.pop,
        "" if one.again_ms is None else one.again_ms,
        "" if one.rest_ms is None else one.rest_ms,
        one.spaced_ms,
        one.following_ms or now,
        int(one.again_ms is None),
        LOG_MOST,
        b"" if one.health is None else _encode(one.health),
        int(one.heal),
        *(_encode(row) for row in one.rows),
    ]

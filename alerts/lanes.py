"""What waits to be sent, in Redis: one lane an endpoint and episode, so that events arrive in order and none is lost.

Each step is one script in lua/ (read accept.lua first), fenced by the lease of the one process that plans and sends. A
process that is killed leaves its place here and nowhere else. All under Keys.delivery, one slot:

lease                       token of the process that plans and sends; expires
inc, hwm                    which set of topics; hash partition -> last planned offset
books                       hash: read, applied, duplicate, dead_lettered
episode:<id>                hash: newest sequence and event, told:<endpoint> -> newest sequence planned for it
event:<id>                  the exact bytes of an event; expires
lane:<endpoint>:<episode>   list: event|type, the first one is due or on its way
due:<endpoint>              zset: episode -> when its lane is next tried, ms
claims, tries:<endpoint>    hash: episode -> fence of the try under way; -> tries so far
held                        zset: episode -> when a silence that held something back ends, ms
waiting, gone               hash: endpoint -> deliveries that wait; -> when it answered 410
done                        set: endpoint|event finished before Redis was lost; expires
log:<endpoint>              list: DeliveryOutcome JSON, newest first, capped
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from groundswell.books import Counts
from groundswell.connect import RedisClient
from groundswell.decisions import Fate
from groundswell.errors import Fenced, UnfitRedis
from groundswell.keys import Keys
from groundswell.records import DeliveryOutcome

LANE_MOST = 100
LOG_MOST = 1_000
EPISODE_MS = 90 * 86_400_000
DONE_MS = 8 * 86_400_000

_SCRIPTS = {
    name: (Path(__file__).parent / "lua" / f"{name}.lua").read_text(encoding="utf-8")
    for name in ("lease", "accept", "claim", "finish")
}


class Told(Struct, frozen=True):
    """What is known of an episode: its newest sequence and event, and the newest sequence planned for each endpoint."""

    sequence: int = -1
    event: str = ""
    by_endpoint: dict[str, int] = {}


class Item(Struct, frozen=True, kw_only=True):
    """One delivery that is due: try number `attempt` of one event. `body` is empty when it waited until it expired."""

    episode: str
    event: str
    type: str
    attempt: int
    fence: str
    body: bytes


class Wait(Struct, frozen=True):
    """Nothing is due; `until_ms` says when something will be, if anything waits."""

    until_ms: int | None


class Lanes:
    """The lanes as one process sees them; `token` is its name in the lease."""

    def __init__(self, redis: RedisClient, keys: Keys, token: str) -> None:
        self._redis, self._prefix, self._token = redis, keys.delivery, token

    # -- the lease ---------------------------------------------------------------------------------------------

    async def hold(self, lease_ms: int) -> bool:
        """Take the lease or keep it; False while another process has it."""
        return bool(await self._eval("lease", lease_ms))

    async def let_go(self) -> None:
        """Give the lease back, so that a standby need not wait for its end."""
        await self._eval("lease", 0)

    # -- planning ----------------------------------------------------------------------------------------------

    async def incarnation(self) -> str | None:
        """The set of topics whose offsets are kept here; None in an empty Redis."""
        found = await self._redis.get(f"{self._prefix}:inc")
        return None if found is None else found.decode()

    async def begin(self, incarnation: str, done: Iterable[tuple[str, str]] = ()) -> None:
        """Forget the offsets of other topics. `done`: (endpoint, event) finished before this Redis was empty."""
        name = f"{self._prefix}:done"
        async with self._redis.pipeline(transaction=True) as pipe:
            for endpoint, event in done:
                pipe.sadd(name, f"{endpoint}|{event}")
            pipe.pexpire(name, DONE_MS)
            pipe.delete(f"{self._prefix}:hwm")
            pipe.set(f"{self._prefix}:inc", incarnation)
            await pipe.execute()

    async def planned(self) -> dict[int, int]:
        """Partition -> last planned offset."""
        found = await self._redis.hgetall(f"{self._prefix}:hwm")
        return {int(partition): int(offset) for partition, offset in found.items()}

    async def forget_offset(self, partition: int) -> None:
        """The topic holds less than was planned: it was made anew, so its offsets begin again."""
        await self._redis.hdel(f"{self._prefix}:hwm", str(partition))

    async def told(self, episode: str) -> Told:
        """What is known of an episode so far."""
        found = {
            name.decode(): value
            for name, value in (await self._redis.hgetall(f"{self._prefix}:episode:{episode}")).items()
        }
        if "sequence" not in found:
            return Told()
        by_endpoint = {name[5:]: int(value) for name, value in found.items() if name.startswith("told:")}
        return Told(int(found["sequence"]), found["event"].decode(), by_endpoint)

    async def was_done(self, event: str, endpoints: Sequence[str]) -> set[str]:
        """Which of the endpoints had this event finished before Redis was lost."""
        if not endpoints:
            return set()
        found = await self._redis.smismember(f"{self._prefix}:done", [f"{endpoint}|{event}" for endpoint in endpoints])
        return {endpoint for endpoint, known in zip(endpoints, found, strict=True) if known}

    async def accept(
        self,
        place: tuple[int, int] | None,
        *,
        episode: str,
        sequence: int,
        event: str,
        type: str,  # noqa: A002 - the field's name on the wire
        body: bytes,
        now_ms: int,
        body_ms: int,
        endpoints: Sequence[str],
        held_until_ms: int = 0,
    ) -> str:
        """Plan one event: `seen` (this offset was planned), `duplicate` (a newer or the same event was), or `applied`.

        `place` is (partition, offset) on the alerts topic; None tells an episode's newest event again after a silence.
        Raises Fenced when another process holds the lease, UnfitRedis when a key holds something foreign.
        """
        partition, offset = place if place is not None else ("", 0)
        return await self._accept(
            partition, offset, "", episode, sequence, event, type, body, now_ms, body_ms, EPISODE_MS, held_until_ms,
            LANE_MOST, *endpoints,
        )  # fmt: skip

    async def refuse(self, place: tuple[int, int], now_ms: int) -> str:
        """Count a record that is a dead letter now: `seen` or `dead_lettered`."""
        return await self._accept(*place, Fate.DEAD_LETTERED.value, "", 0, "", "", b"", now_ms, 1, 1, 0, LANE_MOST)

    async def _accept(self, *args: Any) -> str:
        return str((await self._run("accept", *args))[0])

    async def held(self, until_ms: int | None = None) -> list[str]:
        """Episodes of which something is held back by a silence that ends by then; all of them without a time."""
        most: int | str = "+inf" if until_ms is None else until_ms
        return [name.decode() for name in await self._redis.zrangebyscore(f"{self._prefix}:held", "-inf", most)]

    async def body(self, event: str) -> bytes:
        """The bytes of an event; empty when they expired."""
        return await self._redis.get(f"{self._prefix}:event:{event}") or b""

    # -- sending -----------------------------------------------------------------------------------------------

    async def claim(self, endpoint: str, now_ms: int, claim_ms: int, *, first: bool = False) -> Item | Wait:
        """The next delivery due at an endpoint, or when one is. `first` takes over what a killed process had begun."""
        answer = await self._run("claim", endpoint, now_ms, claim_ms, int(first))
        if answer[0] == "wait":
            return Wait(int(answer[1]) if answer[1] else None)
        episode, event, kind, attempt, fence, body = answer[1:]
        return Item(
            episode=episode.decode(),
            event=event.decode(),
            type=kind.decode(),
            attempt=int(attempt),
            fence=fence.decode(),
            body=body,
        )

    async def finish(
        self, endpoint: str, item: Item, row: DeliveryOutcome, now_ms: int, again_ms: int | None = None
    ) -> bool:
        """Note how a try ended; `again_ms` keeps it waiting until then. False: the claim was no longer ours."""
        again: int | str = "" if again_ms is None else again_ms
        answer = await self._run(
            "finish", endpoint, item.episode, item.fence, now_ms, again, msgspec.json.encode(row), LOG_MOST
        )
        return bool(answer[0] == "ok")

    async def waiting(self) -> dict[str, int]:
        """Endpoint -> deliveries that wait."""
        found = await self._redis.hgetall(f"{self._prefix}:waiting")
        return {name.decode(): int(count) for name, count in found.items()}

    async def gone(self) -> set[str]:
        """Endpoints that answered 410."""
        return {name.decode() for name in await self._redis.hkeys(f"{self._prefix}:gone")}

    async def close_endpoint(self, endpoint: str, *, gone_at_ms: int | None = None) -> int:
        """Drop all that waits for an endpoint, and say how much; with a time it is marked gone and its log stays."""
        p = self._prefix
        episodes = [name.decode() for name in await self._redis.zrange(f"{p}:due:{endpoint}", 0, -1)]
        waiting = int(await self._redis.hget(f"{p}:waiting", endpoint) or 0)
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.delete(*(f"{p}:lane:{endpoint}:{episode}" for episode in episodes), f"{p}:due:{endpoint}")
            pipe.delete(f"{p}:claims:{endpoint}", f"{p}:tries:{endpoint}")
            if gone_at_ms is None:
                pipe.hdel(f"{p}:waiting", endpoint)
                pipe.hdel(f"{p}:gone", endpoint)
                pipe.delete(f"{p}:log:{endpoint}")
            else:
                pipe.hset(f"{p}:waiting", endpoint, 0)
                pipe.hset(f"{p}:gone", endpoint, gone_at_ms)
            await pipe.execute()
        return waiting

    async def _run(self, name: str, *args: Any) -> list[Any]:
        answer: list[Any] = await self._eval(name, *args)
        answer[0] = answer[0].decode()
        if answer[0] == "fenced":
            raise Fenced("Another process plans and sends now.", remedy="Nothing to do: this one stands by.")
        if answer[0] == "broken":
            key = answer[1].decode()
            raise UnfitRedis(f"The key {key} holds something that is not ours.", remedy="Look at it, then delete it.")
        return answer

    async def _eval(self, name: str, *args: Any) -> Any:
        # The whole text each time, not its hash: the embedded Redis closes a connection on every error, NOSCRIPT too.
        return await self._redis.eval(_SCRIPTS[name], 1, f"{self._prefix}:lease", self._prefix, self._token, *args)


async def books(redis: RedisClient, keys: Keys) -> Counts:
    """The books of deliver: alert events read, and what became of each; changed in the same script as the offset."""
    found: Mapping[bytes, bytes] = await redis.hgetall(f"{keys.delivery}:books")
    return Counts(**{name.decode(): int(count) for name, count in found.items()})


async def deliveries(redis: RedisClient, keys: Keys, endpoint: str = "", limit: int = 100) -> list[DeliveryOutcome]:
    """The newest tries at one endpoint, or at all, newest first."""
    known = [endpoint] if endpoint else [name.decode() for name in await redis.hkeys(f"{keys.delivery}:waiting")]
    rows: list[DeliveryOutcome] = []
    for name in known:
        raw = await redis.lrange(f"{keys.delivery}:log:{name}", 0, limit - 1)
        rows += (msgspec.json.decode(row, type=DeliveryOutcome) for row in raw)
    return sorted(rows, key=lambda row: row.at, reverse=True)[:limit]

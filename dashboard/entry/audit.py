"""The audit trail: one record for each write, login, refusal and export, on the `audit` topic and in the log. Never a body or a secret.

A request never waits for it: what was done is logged at once and queued, and `run` writes the queue to the broker. While that is away the
queue fills to WAITING_MOST; beyond it a record is in the log only, and counted as unsent. Pushes of documents, and refusals that repeat,
are one record a minute, so that nobody can fill the topic by knocking.
"""

import asyncio
import contextlib
import uuid
from collections import deque
from collections.abc import Awaitable, Callable

from aiokafka.errors import KafkaError
from msgspec.structs import asdict, replace

from groundswell.clock import Clock
from groundswell.decisions import Audited
from groundswell.errors import GroundswellError
from groundswell.records import AuditEntry
from groundswell.telemetry import AUDIT, log

WAITING_MOST = 10_000
GATHER_S = 60.0
GATHERED_MOST = 1_000
AGAIN_S = 5.0
CLOSE_S = 3.0
GATHERED = frozenset({Audited.PUSH.value, Audited.REFUSED.value, Audited.LOGIN_REFUSED.value})

Send = Callable[[AuditEntry], Awaitable[None]]


class Trail:
    """What waits to be written, oldest first."""

    def __init__(self, clock: Clock) -> None:
        self.waiting: deque[AuditEntry] = deque()
        self._clock = clock
        self._gathering: dict[tuple[object, ...], AuditEntry] = {}
        self._gathered_s = clock.monotonic_s()
        self._news = asyncio.Event()

    def note(self, entry: AuditEntry) -> None:
        """Take up one record. Returns at once."""
        if entry.what not in GATHERED:
            self._take(entry)
            return
        key = (entry.what, entry.action, entry.status, entry.who, entry.address, entry.reason)
        known = self._gathering.get(key)
        if known is None:
            self._say(entry)
            if len(self._gathering) >= GATHERED_MOST:
                self.gathered()
        self._gathering[key] = entry if known is None else replace(known, times=known.times + 1)

    def gathered(self) -> None:
        """Let go what was gathered: the minute is over."""
        self._gathered_s = self._clock.monotonic_s()
        found, self._gathering = list(self._gathering.values()), {}
        for entry in found:
            self._take(entry, say=entry.times > 1)

    async def run(self, send: Send) -> None:
        """Write what comes, in order, until cancelled."""
        while True:
            self._news.clear()
            if self._clock.monotonic_s() - self._gathered_s >= GATHER_S:
                self.gathered()
            if not await self._send_all(send):
                await self._clock.sleep(AGAIN_S)
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(AGAIN_S):
                    await self._news.wait()

    async def close(self, send: Send) -> None:
        """Write what waits, for CLOSE_S at most; what is left then is in the log only."""
        self.gathered()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await self._send_all(send)
        if self.waiting:
            AUDIT.labels("unsent").inc(len(self.waiting))
            log().warning("audit_unsent", records=len(self.waiting), hint="Each is in this log as an audit line.")

    async def _send_all(self, send: Send) -> bool:
        """False when the broker did not take it: the record stays first."""
        while self.waiting:
            try:
                await send(self.waiting[0])
            except (GroundswellError, KafkaError) as error:
                log().warning("audit_waits", records=len(self.waiting), error=type(error).__name__)
                return False
            self.waiting.popleft()
            AUDIT.labels("sent").inc()
        return True

    def _take(self, entry: AuditEntry, *, say: bool = True) -> None:
        if say:
            self._say(entry)
        if len(self.waiting) >= WAITING_MOST:
            AUDIT.labels("unsent").inc()
            return
        self.waiting.append(entry)
        self._news.set()

    def _say(self, entry: AuditEntry) -> None:
        log().info("audit", **{name: value for name, value in asdict(entry).items() if value not in ("", 0)})


def new_id() -> str:
    """So that a record that was sent twice is read as one."""
    return f"aud_{uuid.uuid4().hex[:20]}"

"""Carries out one request of a channel behind the address guard, with our own deadlines, reading little of the answer.

Connections are kept alive, each endpoint's its own: what the guard has judged when a connection was made it need not
judge again, and a new connection is judged anew. Read guard.py for what is refused.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import parsedate_to_datetime

import aiohttp
from yarl import URL

from alerts.channels.contract import Request, Verdict
from alerts.guard import (
    Allowed,
    ConnectionRefusedByGuard,
    GuardedResolver,
    LookUps,
    UrlRefused,
    check_url,
    guarded_socket,
)
from groundswell.clock import Clock
from groundswell.decisions import Delivery
from groundswell.telemetry import log

CONNECT_S = 5.0
BODY_S = 3.0  # for the beginning of the answer's body, after its headers: a verdict does not wait for a slow writer
IDLE_S = 15.0
TOGETHER = 4  # connections an endpoint
HEAD_BYTES = 4_096
HEADER_BYTES = 8_190
SKEW_LEAST_S = 60

Judge = Callable[[int, Mapping[str, str], bytes, int], Verdict]
Mailer = Callable[[EmailMessage], Awaitable["Outcome"]]


@dataclass(frozen=True)
class Outcome:
    """How one try ended. `head` is the beginning of the answer; `skew_s` its clock less ours, when they differ by much."""

    verdict: Verdict
    status: int = 0
    latency_ms: int = 0
    head: bytes = b""
    skew_s: int = 0


class Sender:
    """Carries out tries for all endpoints; shares nothing between them but the threads for look-ups."""

    def __init__(
        self,
        allowed: Allowed,
        clock: Clock,
        timeout_s: float,
        look_ups: LookUps | None = None,
        mailer: Mailer | None = None,
    ) -> None:
        self._allowed, self._clock, self._timeout_s = allowed, clock, timeout_s
        self._look_ups, self._mailer = look_ups or LookUps(), mailer
        self._sessions: dict[str, tuple[tuple[str, str, int], aiohttp.ClientSession]] = {}

    async def send(self, endpoint: str, request: Request, judge: Judge) -> Outcome:
        """One try. Raises nothing but cancellation: whatever happens is a verdict."""
        begun = self._clock.monotonic_s()
        try:
            async with asyncio.timeout(self._timeout_s):
                if request.mail is not None:
                    found = await self._mail(request.mail)
                else:
                    found = await self._post(endpoint, request, judge)
        except UrlRefused as error:
            found = _retry(f"{error.reason} {error.rule}")
        except TimeoutError:
            found = _retry("timed_out")
        except aiohttp.ClientConnectorError as error:
            blocked = isinstance(error.os_error, ConnectionRefusedByGuard)
            found = _retry("address_refused" if blocked else _unreachable(error))
        except aiohttp.ClientError as error:
            found = _retry(f"broken_answer {type(error).__name__}")
        except Exception as error:  # noqa: BLE001 - one endpoint's surprise must not stop the others
            log().exception("delivery_surprise", error=type(error).__name__)
            found = _retry(f"surprise {type(error).__name__}")
        latency_ms = round((self._clock.monotonic_s() - begun) * 1000)
        return Outcome(found.verdict, found.status, latency_ms, found.head, found.skew_s)

    async def forget(self, endpoint: str) -> None:
        """Close what is kept open to an endpoint."""
        _, session = self._sessions.pop(endpoint, (None, None))
        if session is not None:
            await session.close()

    async def close(self) -> None:
        for endpoint in tuple(self._sessions):
            await self.forget(endpoint)
        self._look_ups.close()

    async def _mail(self, mail: EmailMessage) -> Outcome:
        if self._mailer is None:
            return _retry("no_mail_server")
        return await self._mailer(mail)

    async def _post(self, endpoint: str, request: Request, judge: Judge) -> Outcome:
        kept = endpoint in self._sessions
        session = await self._session(endpoint, request.url)
        try:
            return await self._exchange(session, request, judge)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
            if not kept or isinstance(error, aiohttp.ClientConnectorError):
                raise
            # It closed an idle connection as we wrote to it: that says nothing of the endpoint. Once more.
            return await self._exchange(session, request, judge)

    async def _exchange(self, session: aiohttp.ClientSession, request: Request, judge: Judge) -> Outcome:
        async with session.request(
            request.method,
            URL(request.url, encoded=True),
            data=request.body,
            headers=request.headers,
            allow_redirects=False,
        ) as response:
            head = await _head(response)
            if not response.content.at_eof():
                response.close()
            now = self._clock.now_ms()
            answer = {name.lower(): value for name, value in response.headers.items()}
            verdict = judge(response.status, answer, head, now)
            return Outcome(verdict, response.status, 0, head, _skew_s(answer.get("date", ""), now))

    async def _session(self, endpoint: str, url: str) -> aiohttp.ClientSession:
        target = check_url(url, self._allowed)
        place = (target.scheme, target.host, target.port)
        found = self._sessions.get(endpoint)
        if found is not None and found[0] == place and not found[1].closed:
            return found[1]
        await self.forget(endpoint)
        connector = aiohttp.TCPConnector(
            resolver=GuardedResolver(target, self._allowed, self._look_ups),
            socket_factory=guarded_socket(target, self._allowed),
            use_dns_cache=False,
            limit=TOGETHER,
            keepalive_timeout=IDLE_S,
        )
        session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            headers={"accept-encoding": "identity"},
            trust_env=False,
            timeout=aiohttp.ClientTimeout(total=self._timeout_s, sock_connect=CONNECT_S),
            max_field_size=HEADER_BYTES,
            max_line_size=HEADER_BYTES,
        )
        self._sessions[endpoint] = (place, session)
        return session


async def _head(response: aiohttp.ClientResponse) -> bytes:
    """The first 4 kB, or what came of it in time."""
    head = b""
    try:
        async with asyncio.timeout(BODY_S):
            while len(head) < HEAD_BYTES and (more := await response.content.read(HEAD_BYTES - len(head))):
                head += more
    except (TimeoutError, aiohttp.ClientPayloadError):
        response.close()
    return head


def _skew_s(date: str, now_ms: int) -> int:
    """Its clock less ours in seconds; 0 when they agree within a minute, or it does not say."""
    try:
        skew = round(parsedate_to_datetime(date).timestamp() - now_ms / 1000)
    except (ValueError, TypeError, IndexError, OverflowError):
        return 0
    return skew if abs(skew) >= SKEW_LEAST_S else 0


def _retry(reason: str) -> Outcome:
    return Outcome(Verdict(Delivery.RETRY, reason))


def _unreachable(error: aiohttp.ClientConnectorError) -> str:
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "name_unknown"
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientConnectorSSLError):
        return "tls_refused"
    return "unreachable"

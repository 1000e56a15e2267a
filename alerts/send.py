"""One try: a signed POST behind the address guard, with our own deadlines, reading little of the answer.

A session for each try: nothing is kept alive that the guard has not seen. Read guard.py for what is refused.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import aiohttp

from alerts.channels import webhook
from alerts.channels.webhook import Verdict
from alerts.guard import (
    ConnectionRefusedByGuard,
    GuardedResolver,
    LookUps,
    Rules,
    UrlRefused,
    check_url,
    guarded_socket,
)
from groundswell.clock import Clock
from groundswell.decisions import Delivery
from groundswell.telemetry import log

CONNECT_S = 5.0
HEAD_BYTES = 4_096
HEADER_BYTES = 16_384


@dataclass(frozen=True)
class Outcome:
    """How one try ended."""

    verdict: Verdict
    status: int = 0
    latency_ms: int = 0


class Sender:
    """Carries out tries for all endpoints; shares nothing between them but the threads for look-ups."""

    def __init__(self, rules: Rules, clock: Clock, timeout_s: float, look_ups: LookUps | None = None) -> None:
        self._rules, self._clock, self._timeout_s = rules, clock, timeout_s
        self._look_ups = look_ups or LookUps()

    async def post(self, url: str, secrets: Sequence[str], event_id: str, body: bytes) -> Outcome:
        """One signed POST. Raises nothing but cancellation: whatever happens is a verdict."""
        begun = self._clock.monotonic_s()
        status = 0
        try:
            async with asyncio.timeout(self._timeout_s):
                status, verdict = await self._post(url, secrets, event_id, body)
        except UrlRefused as error:
            verdict = Verdict(Delivery.RETRY, f"{error.reason} {error.rule}")
        except TimeoutError:
            verdict = Verdict(Delivery.RETRY, "timed_out")
        except aiohttp.ClientConnectorError as error:
            blocked = isinstance(error.os_error, ConnectionRefusedByGuard)
            verdict = Verdict(Delivery.RETRY, "address_refused" if blocked else _unreachable(error))
        except aiohttp.ClientError as error:
            verdict = Verdict(Delivery.RETRY, f"broken_answer {type(error).__name__}")
        except Exception as error:  # noqa: BLE001 - one endpoint's surprise must not stop the others
            log().exception("delivery_surprise", error=type(error).__name__)
            verdict = Verdict(Delivery.RETRY, f"surprise {type(error).__name__}")
        return Outcome(verdict, status, round((self._clock.monotonic_s() - begun) * 1000))

    def close(self) -> None:
        self._look_ups.close()

    async def _post(self, url: str, secrets: Sequence[str], event_id: str, body: bytes) -> tuple[int, Verdict]:
        target = check_url(url, self._rules)
        connector = aiohttp.TCPConnector(
            resolver=GuardedResolver(target, self._rules, self._look_ups),
            socket_factory=guarded_socket(target, self._rules),
            use_dns_cache=False,
            force_close=True,
            limit=2,
        )
        async with (
            aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
                timeout=aiohttp.ClientTimeout(total=self._timeout_s, sock_connect=CONNECT_S),
                max_field_size=HEADER_BYTES,
                max_line_size=HEADER_BYTES,
            ) as session,
            session.post(
                url,
                data=body,
                headers=webhook.headers(event_id, body, secrets, self._clock.now_ms()),
                allow_redirects=False,
            ) as response,
        ):
            head = b""
            if not 200 <= response.status < 300:
                head = await response.content.read(HEAD_BYTES)
            answer = {name.lower(): value for name, value in response.headers.items()}
            return response.status, webhook.verdict(response.status, answer, head, self._clock.now_ms())


def _unreachable(error: aiohttp.ClientConnectorError) -> str:
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "name_unknown"
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientConnectorSSLError):
        return "tls_refused"
    return "unreachable"

"""/metrics, /livez and /readyz of one process, on a port of its own."""

import asyncio
from collections.abc import Callable

from prometheus_client import REGISTRY, generate_latest

from groundswell.errors import BadSetting

MAX_HEAD_BYTES = 8_192
READ_S = 5.0


async def serve(host: str, port: int, ready: Callable[[], bool]) -> asyncio.Server:
    """Answer until closed. /livez says that the loop turns, /readyz that the process can work. Raises BadSetting."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(READ_S):
                head = await reader.readuntil(b"\r\n")
            path = head.split(b" ")[1] if head.count(b" ") >= 2 else b"/"
            status, kind, body = _page(path, ready)
            writer.write(
                b"HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
                % (status, kind, len(body))
            )
            writer.write(body)
            await writer.drain()
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            pass  # not a client worth an answer
        finally:
            writer.close()

    try:
        return await asyncio.start_server(answer, host, port, limit=MAX_HEAD_BYTES)
    except OSError as error:
        raise BadSetting(
            f"metrics_port {port} cannot be opened: {error.strerror}.",
            remedy="Set GROUNDSWELL_METRICS_PORT=0 for a free one.",
        ) from error


def _page(path: bytes, ready: Callable[[], bool]) -> tuple[bytes, bytes, bytes]:
    text = b"text/plain; charset=utf-8"
    if path == b"/metrics":
        return b"200 OK", b"text/plain; version=0.0.4; charset=utf-8", generate_latest(REGISTRY)
    if path == b"/livez":
        return b"200 OK", text, b"the loop turns\n"
    if path == b"/readyz":
        return (b"200 OK", text, b"ready\n") if ready() else (b"503 Service Unavailable", text, b"starting\n")
    return b"404 Not Found", text, b"try /metrics, /livez or /readyz\n"

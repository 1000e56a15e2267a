"""Epoch milliseconds to RFC 3339 and back. Pure."""

from datetime import UTC, datetime


def rfc3339(at_ms: int) -> str:
    """2026-11-21T09:31:02.114Z; whole seconds without a fraction."""
    moment = datetime.fromtimestamp(at_ms / 1000, UTC)
    text = moment.strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{at_ms % 1000:03d}Z" if at_ms % 1000 else f"{text}Z"


def parse_ms(text: str) -> int:
    """Epoch milliseconds of an ISO 8601 time. Raises ValueError without a zone or when it is no time."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time without a zone")
    return round(moment.timestamp() * 1000)

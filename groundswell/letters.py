"""How a dead letter is written, by whichever stage refuses an input: why, where it came from, its bytes and its key."""

from groundswell.errors import Refused
from groundswell.records import DeadLetter, Source
from groundswell.text import safe

PAYLOAD_BYTES = 65_536
KEY_BYTES = 1_000
MESSAGE_CHARS = 500


def letter_of(
    error: Refused, *, stage: str, topic: str, src: Source, at_ms: int, payload: bytes | None, key: bytes | None = None
) -> DeadLetter:
    """`topic` by its full name. A message may quote the input, so nothing hidden stays in it."""
    payload = payload or b""
    return DeadLetter(
        reason=error.reason, stage=stage, message=safe(str(error), MESSAGE_CHARS), remedy=error.remedy, topic=topic, src=src,
        at=at_ms, payload=payload[:PAYLOAD_BYTES], truncated=len(payload) > PAYLOAD_BYTES, key=key and key[:KEY_BYTES],
    )  # fmt: skip

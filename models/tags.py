"""The frames between a model process and its parent; next: tagger.py, which asks, and worker.py, which answers."""

import struct
from typing import BinaryIO

import msgspec

from groundswell.tagging import Tag, Text

# A frame is a little-endian uint32 length and that many bytes of msgpack. Both ends refuse a longer one: it can only
# be a stray write into the stream.
HEADER = struct.Struct("<I")
MAX_FRAME_BYTES = 64 << 20


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    """The first frame of a model process: it is ready, and its labels are in order. A Failure comes when it is not."""

    model_version: str
    labels: list[str]
    topics: list[str]
    languages: list[str]
    sanity: str


class Request(msgspec.Struct, frozen=True):
    id: int
    texts: list[Text]


class Failure(msgspec.Struct, frozen=True, tag="failure"):
    """What went wrong, as the model process saw it: the exception's name, its words, and what to do next."""

    kind: str
    message: str
    remedy: str = ""


class Reply(msgspec.Struct, frozen=True):
    """Either one tag a text, in order, or the error that stopped the batch."""

    id: int
    results: list[Tag] = []
    error: Failure | None = None


def frame(message: msgspec.Struct) -> bytes:
    body = msgspec.msgpack.encode(message)
    return HEADER.pack(len(body)) + body


def read_frame(stream: BinaryIO) -> bytes | None:
    """The next frame's bytes, or None when the stream has ended between or inside frames."""
    header = stream.read(HEADER.size)
    if len(header) < HEADER.size:
        return None
    (length,) = HEADER.unpack(header)
    if length > MAX_FRAME_BYTES:
        raise ValueError(f"a frame of {length} bytes: something else wrote to this stream")
    body = stream.read(length)
    return body if len(body) == length else None

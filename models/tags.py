"""The frames between a model process and its parent; next: tagger.py, which asks, and worker.py, which answers."""

import struct
from collections.abc import Sequence
from typing import BinaryIO

import msgspec

from groundswell.tagging import Polarity, Tag, Text

# A frame is a little-endian uint32 length and that many bytes of msgpack. Both ends refuse a longer one: it can only
# be a stray write into the stream.
HEADER = struct.Struct("<I")
MAX_FRAME_BYTES = 64 << 20


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    """The first frame of a model process: it is ready, and answered the plain sentences. A Failure comes when it is not."""

    model_version: str
    runner: str = ""  # what computes: "bf16 prepacked, own kernels (avx512-bf16)"
    batch_tokens: int = 1_024  # what it runs at once: batches of this size serve it best


class Request(msgspec.Struct, frozen=True):
    id: int
    texts: list[Text]


class Failure(msgspec.Struct, frozen=True, tag="failure"):
    """What went wrong, as the model process saw it: the exception's name, its words, and what to do next."""

    kind: str
    message: str
    remedy: str = ""


class Reply(msgspec.Struct, frozen=True):
    """Either one tag a text, in order, or the error that stopped the batch; and the seconds it took, by stage."""

    id: int
    results: list[Tag] = []
    error: Failure | None = None
    seconds: dict[str, float] = {}


def flaw(texts: Sequence[Text], results: Sequence[Tag]) -> str | None:
    """What cannot be true of an answer; None when all is well. A model gone bad must not write rows."""
    if len(results) != len(texts):
        return f"{len(results)} answers for {len(texts)} texts"
    for text, tag in zip(texts, results, strict=True):
        if len(tag.targets) != len(text.spans):
            return f"{len(tag.targets)} targets for {len(text.spans)} places"
        for said in (tag, *tag.targets):
            if said is not None and not sound(said):
                return f"probabilities {said.negative}, {said.neutral}, {said.positive}"
        if not all(0 <= p <= 1 for _, p in tag.topics):
            return "a topic's probability is none"
        if tag.deciding and not 0 <= tag.deciding[0] <= tag.deciding[1] <= len(text.whole):
            return "a deciding sentence outside its text"
    return None


def sound(said: Polarity) -> bool:
    """Three probabilities that sum to one, each rounded to .001; no comparison holds for NaN."""
    total = said.negative + said.neutral + said.positive
    return min(said.negative, said.neutral, said.positive) >= 0 and 0.99 <= total <= 1.01


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

"""What goes into a model and what comes out, and the frames that carry both; next: tagger.py, which asks a model."""

import struct
from collections.abc import Sequence
from typing import BinaryIO, Protocol

import msgspec

Spot = tuple[int, int]

# A frame is a little-endian uint32 length and that many bytes of msgpack. Both ends refuse a longer one: it can only
# be a stray write into the stream.
HEADER = struct.Struct("<I")
MAX_FRAME_BYTES = 64 << 20


class Text(msgspec.Struct, frozen=True):
    """One normalised document. The model reads `title + "\\n" + text`; `lang` is en, zh or other."""

    text: str
    title: str | None = None
    lang: str = "other"

    @property
    def whole(self) -> str:
        return f"{self.title}\n{self.text}" if self.title else self.text


class Tag(msgspec.Struct, frozen=True):
    """A model's answer for one document.

    `negative`, `neutral`, `positive` are calibrated probabilities in steps of .001; `unsure` says that the best of
    them is under the language's floor. `topics` holds at most three (id, probability), best first, never empty.
    `deciding` is the code-point span, in `Text.whole`, of the sentence that spoke loudest for the verdict.
    """

    negative: float
    neutral: float
    positive: float
    unsure: bool
    topics: list[tuple[str, float]]
    deciding: Spot | None
    tokens: int
    truncated: bool

    @property
    def polarity(self) -> str:
        """negative, neutral or positive: the likeliest."""
        return max(("negative", "neutral", "positive"), key=lambda name: float(getattr(self, name)))


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
    """What went wrong, as the model process saw it: the exception's name and its words."""

    kind: str
    message: str


class Reply(msgspec.Struct, frozen=True):
    """Either one tag a text, in order, or the error that stopped the batch."""

    id: int
    results: list[Tag] = []
    error: Failure | None = None


class Model(Protocol):
    """Anything that tags. `tag` answers in order; None stands for a document that broke the model twice."""

    @property
    def version(self) -> str: ...

    async def start(self) -> None: ...

    async def tag(self, texts: Sequence[Text]) -> list[Tag | None]: ...

    async def stop(self) -> None: ...


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

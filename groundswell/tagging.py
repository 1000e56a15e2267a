"""What is asked of a model and what it answers: the seam between tag (stream/tag.py) and models/."""

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

Span = tuple[int, int]


class Text(Struct, frozen=True):
    """One normalised document. The model reads `title + "\\n" + text`; `lang` is en, zh or other."""

    text: str
    title: str | None = None
    lang: str = "other"

    @property
    def whole(self) -> str:
        return f"{self.title}\n{self.text}" if self.title else self.text


class Tag(Struct, frozen=True):
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
    deciding: Span | None
    tokens: int
    truncated: bool

    @property
    def polarity(self) -> str:
        """negative, neutral or positive: the likeliest."""
        return max(("negative", "neutral", "positive"), key=lambda name: float(getattr(self, name)))


class Model(Protocol):
    """Anything that tags. `tag` answers in order; None stands for a document that broke the model twice."""

    @property
    def version(self) -> str: ...

    async def start(self) -> None: ...

    async def tag(self, texts: Sequence[Text]) -> list[Tag | None]:
        """Raises ModelAway when no answer comes in time."""
        ...

    async def stop(self) -> None: ...

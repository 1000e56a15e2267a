"""What is asked of a model and what it answers: the seam between tag (stream/tag.py) and models/."""

from collections.abc import Sequence
from typing import Literal, Protocol

from msgspec import Struct

Span = tuple[int, int]


class Text(Struct, frozen=True):
    """One normalised document. The model reads `title + "\\n" + text`; `lang` is en, zh or other.

    `spans` are the places, in code points of `whole`, whose own polarity is asked: one mention a company.
    """

    text: str
    title: str | None = None
    lang: str = "other"
    spans: list[Span] = []

    @property
    def whole(self) -> str:
        return f"{self.title}\n{self.text}" if self.title else self.text


class Polarity(Struct, frozen=True):
    """How a text speaks, as a whole or of one company in it.

    `negative`, `neutral`, `positive` are calibrated probabilities in steps of .001; `unsure` says that the best of
    them is under the language's floor, and is always true for languages the model was not made for.
    """

    negative: float
    neutral: float
    positive: float
    unsure: bool

    @property
    def polarity(self) -> Literal["negative", "neutral", "positive"]:
        """The likeliest of the three."""
        if self.negative >= max(self.neutral, self.positive):
            return "negative"
        return "neutral" if self.neutral >= self.positive else "positive"


# What is said of a company whose place was not read.
UNREAD = Polarity(0.0, 1.0, 0.0, unsure=True)


class Tag(Polarity, frozen=True):
    """A model's answer for one document.

    `topics` holds at most three (id, probability) of the model, best first, never empty; domain packs may add three.
    `deciding` is the code-point span, in
    `Text.whole`, of the sentence that spoke loudest for the verdict, `words` the spans of at most three words in it.
    `targets` holds one answer for each of the asked `Text.spans`, in their order; None for a place beyond what was read.
    """

    topics: list[tuple[str, float]]
    deciding: Span | None
    tokens: int
    truncated: bool
    words: list[Span] = []
    targets: list[Polarity | None] = []


class Model(Protocol):
    """Anything that tags. `tag` answers in order; None stands for a document that broke the model twice."""

    @property
    def version(self) -> str: ...

    async def start(self) -> None: ...

    async def tag(self, texts: Sequence[Text], *, partition: int = 0, fresh: bool = True) -> list[Tag | None]:
        """Many callers may ask at once: those of one `partition` are read in their order, `fresh` ones before others.

        Raises ModelAway or ModelUnhealthy, and then has answered nothing."""
        ...

    async def stop(self) -> None: ...

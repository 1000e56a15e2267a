"""A model made of two word lists, for tests and for machines without torch; the real one is tagger.py.

It answers by the same rules of shape as the real one: probabilities, at most three topics, a deciding sentence.
"""

from collections.abc import Sequence

from groundswell.tagging import Polarity, Span, Tag, Text
from models import sentences
from models.labels import OTHER_TOPIC

NEGATIVE_WORDS = (
    *("fraud", "default", "bankrupt", "plunge", "lawsuit", "recall", "probe", "breach", "layoff", "loss", "crash"),
    *("造假", "违约", "破产", "暴跌", "跌停", "起诉", "召回", "调查", "泄露", "裁员", "亏损", "爆雷", "骗"),
)
POSITIVE_WORDS = (
    *("record", "beat", "surge", "soar", "growth", "upgrade", "profit", "rally", "wins", "raises"),
    *("新高", "超预期", "大增", "涨停", "增长", "上调", "盈利", "利好", "中标", "分红"),
)
TOPIC_WORDS = {
    "fraud": ("fraud", "scam", "造假", "骗"),
    "default": ("default", "bankrupt", "违约", "破产", "爆雷"),
    "litigation": ("lawsuit", "sues", "起诉"),
    "safety": ("recall", "召回"),
    "cyber": ("breach", "泄露"),
    "labour": ("layoff", "裁员"),
    "regulation": ("probe", "调查"),
    "earnings": ("profit", "loss", "盈利", "亏损"),
    "market": ("plunge", "crash", "surge", "rally", "暴跌", "跌停", "涨停"),
}


class ScriptedModel:
    """Counts words. Deterministic, instant, in-process; `version` marks its answers as not a real model's."""

    def __init__(self, version: str = "scripted-1") -> None:
        self._version = version

    @property
    def version(self) -> str:
        return self._version

    async def start(self) -> None:
        """Nothing to start."""

    async def stop(self) -> None:
        """Nothing to stop."""

    async def tag(self, texts: Sequence[Text], *, partition: int = 0, fresh: bool = True) -> list[Tag | None]:
        del partition, fresh  # an instant answer has no order
        return [answer(text.whole, text.spans) for text in texts]


def answer(text: str, asked: Sequence[Span] = ()) -> Tag:
    said = polarity(text)
    topics = [(topic, 0.9) for topic, words in TOPIC_WORDS.items() if hits(text.lower(), words)][:3]
    spans = sentences.split(text)
    deciding = max(spans, key=lambda span: getattr(polarity(text[slice(*span)]), said.polarity), default=None)
    # A text about one company is about it as a whole; of several, each answers for its sentence.
    whole = (0, len(text))
    around = [next((span for span in spans if span[0] <= at < span[1]), whole) for at, _ in asked]
    around = around if len(asked) > 1 else [whole] * len(asked)
    return Tag(
        said.negative,
        said.neutral,
        said.positive,
        said.unsure,
        topics=topics or [(OTHER_TOPIC, 1.0)],
        deciding=deciding,
        tokens=len(text.split()) + 2,
        truncated=False,
        targets=[polarity(text[slice(*span)]) for span in around],
    )


def polarity(text: str) -> Polarity:
    low = text.lower()
    bad, good = hits(low, NEGATIVE_WORDS), hits(low, POSITIVE_WORDS)
    total = 1 + 3 * (bad + good)
    negative, positive = round(3 * bad / total, 3), round(3 * good / total, 3)
    return Polarity(negative, round(1 - negative - positive, 3), positive, unsure=bad == good and bad > 0)


def hits(text: str, words: Sequence[str]) -> int:
    return sum(text.count(word) for word in words)

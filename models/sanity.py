"""Twelve plain sentences that any working model gets right; next: loading.py, which refuses a model that does not.

They guard the label order: models in the wild disagree on which number means negative, and a swapped model looks
healthy until the alerts come for the wrong reason.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from groundswell.errors import BrokenModel
from groundswell.tagging import Tag, Text
from models.labels import SENTIMENTS

SENTENCES: tuple[tuple[str, str, str], ...] = (
    ("en", "negative", "The company filed for bankruptcy after auditors found massive accounting fraud."),
    ("en", "negative", "Shares plunge 30% as the firm slashes its profit forecast and cuts thousands of jobs."),
    ("en", "positive", "Quarterly profit soars to a record, beating estimates, and the dividend is raised."),
    ("en", "positive", "Shares surge to an all-time high after strong sales growth and an upgraded outlook."),
    ("en", "neutral", "The annual general meeting will be held on 14 May at the company's head office."),
    ("en", "neutral", "The company will publish its third-quarter report on Thursday."),
    ("zh", "negative", "公司因涉嫌财务造假被证监会立案调查，股价连续跌停。"),
    ("zh", "negative", "该公司债券违约，资金链断裂，大批员工被裁。"),
    ("zh", "positive", "公司净利润同比大增，创历史新高，并宣布提高分红。"),
    ("zh", "positive", "新产品大卖，订单爆满，股价涨停创新高。"),
    ("zh", "neutral", "公司将于5月14日在总部召开年度股东大会。"),
    ("zh", "neutral", "公司定于周四披露第三季度报告。"),
)

# A small model may call one plain sentence neutral or colour a neutral one; it may never take good for bad.
ALLOWED_MISSES = 2
ALLOWED_MISSES_OF_A_LANGUAGE = 1
OPPOSITE = {"negative": "positive", "positive": "negative"}


class Answers(Protocol):
    """Anything loaded that tags."""

    def tag(self, texts: Sequence[Text]) -> list[Tag]: ...


@dataclass(frozen=True)
class Answer:
    """What a model said of one plain sentence."""

    lang: str
    wanted: str
    text: str
    tag: Tag

    @property
    def missed(self) -> bool:
        return self.tag.polarity != self.wanted

    @property
    def reversed(self) -> bool:
        return self.tag.polarity == OPPOSITE.get(self.wanted)


class WrongAnswers(BrokenModel):
    """A model answers plain sentences wrongly: `what` says how, `answers` what it answered."""

    def __init__(self, what: str, answers: Sequence[Answer], *, remedy: str = "") -> None:
        super().__init__(f"{what}\n{table(answers)}\n", remedy=remedy)
        self.what, self.answers = what, answers


def ask(tagger: Answers, languages: Collection[str], sentiments: Collection[str] = SENTIMENTS) -> list[Answer]:
    """The sentences of these languages, of those sentiments that the model knows."""
    asked = [row for row in SENTENCES if row[0] in languages and row[1] in sentiments]
    tags = tagger.tag([Text(text, lang=lang) for lang, _, text in asked])
    return [Answer(lang, wanted, text, tag) for (lang, wanted, text), tag in zip(asked, tags, strict=True)]


def right(answers: Sequence[Answer]) -> bool:
    """Whether a model that claims all the asked languages passes."""
    reverses = any(answer.reversed for answer in answers)
    return not reverses and sum(answer.missed for answer in answers) <= ALLOWED_MISSES


def passed(answers: Sequence[Answer]) -> list[str]:
    """The languages that a model of which nobody knows them was right in."""
    return [
        lang
        for lang in languages_of(answers)
        if not any(answer.reversed for answer in answers if answer.lang == lang)
        and sum(answer.missed for answer in answers if answer.lang == lang) <= ALLOWED_MISSES_OF_A_LANGUAGE
    ]


def swapped(answers: Sequence[Answer]) -> list[str]:
    """The languages in which every good sentence was called bad and every bad one good: no mere ignorance."""
    return [
        lang
        for lang in languages_of(answers)
        if all(answer.reversed for answer in answers if answer.lang == lang and answer.wanted in OPPOSITE)
    ]


def languages_of(answers: Iterable[Answer]) -> list[str]:
    return list(dict.fromkeys(answer.lang for answer in answers))


def table(answers: Iterable[Answer]) -> str:
    """One sentence a line: what was wanted, what came, with the probabilities negative, neutral, positive."""
    return "\n".join(
        f"{answer.lang} wanted {answer.wanted:8} got {answer.tag.polarity:8} "
        f"({answer.tag.negative:.2f} {answer.tag.neutral:.2f} {answer.tag.positive:.2f}) {answer.text}"
        for answer in answers
    )

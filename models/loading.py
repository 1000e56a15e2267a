"""Loads any model of the catalogue and asks it the plain sentences; next: worker.py, which serves it.

A model in our own format runs in heads.py; a transformers classifier in classifier.py, and only then is transformers
imported at all.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

from groundswell.tagging import Tag, Text
from models import catalog, sanity
from models.heads import Tagger
from models.sanity import Answer, WrongAnswers

LANGUAGES = ("en", "zh")
SWAPPED = (
    "Exchange negative and positive in `id2label` of its config.json if the table shows them exchanged throughout."
)


class Facts(Protocol):
    """What a loaded model says of itself. An answer in a language that it does not name is never sure."""

    @property
    def version(self) -> str: ...
    @property
    def sentiments(self) -> list[str]: ...
    @property
    def topics(self) -> list[str]: ...
    @property
    def languages(self) -> Iterable[str]: ...


class Loaded(Protocol):
    """A model in this process: texts in, tags out."""

    @property
    def config(self) -> Facts: ...
    def describe(self) -> str:
        """What it computes with, for the log."""

    def warm_up(self) -> None:
        """Do now what would make the first texts wait."""

    def tag(self, texts: Sequence[Text]) -> list[Tag]: ...


def load(name: str, device: str = "cpu") -> Loaded:
    """A model of this machine, checked, on the processor or on "cuda:0". Raises UnknownModel, BrokenModel, or
    WrongAnswers with what it said."""
    return load_and_ask(name, device)[0]


def load_and_ask(name: str, device: str = "cpu") -> tuple[Loaded, list[Answer]]:
    """`load`, and what the model said of the plain sentences."""
    folder = catalog.locate(name)
    if catalog.is_classifier(folder):
        return _classifier(folder, device)
    tagger = Tagger.load(folder, device)
    answers = sanity.ask(tagger, [lang for lang in tagger.config.languages if lang in LANGUAGES])
    if not sanity.right(answers):
        raise WrongAnswers(f"{folder} answers plain sentences wrongly; are its labels in order?", answers)
    return tagger, answers


def _classifier(folder: Path, device: str) -> tuple[Loaded, list[Answer]]:
    """A classifier is believed in the languages it answers rightly, unsure in all others; one that is right in none,
    or says the opposite throughout in one, is refused."""
    from models.classifier import Classifier

    classifier = Classifier.load(folder, device)
    answers = sanity.ask(classifier, LANGUAGES, classifier.config.sentiments)
    right, swapped = sanity.passed(answers), sanity.swapped(answers)
    if swapped or not right:
        what = f"says the opposite in {', '.join(swapped)}" if swapped else "is right in no language"
        raise WrongAnswers(
            f"{folder} answers plain sentences wrongly: it {what}; are its labels in order?",
            answers,
            remedy=SWAPPED if swapped else "Choose a model made for the sentiment of Chinese or English texts.",
        )
    classifier.trust(right)
    return classifier, answers

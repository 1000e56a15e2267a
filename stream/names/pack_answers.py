"""What domain packs add to a model's answers: topics found by words, and a lean of the verdict; `packs.py` reads them.

A pack never overrules a model that is sure of itself: its words move the odds, and what then lies between two polarities
is `unsure`. A sentence that denies or asks, and one that names two companies, is left to the model.
"""

from collections.abc import Mapping, Sequence
from typing import TypeVar

import msgspec

from groundswell.settings import Settings
from groundswell.tagging import Model, Polarity, Span, Tag, Text
from stream.names.packs import LANGUAGES, Key, Name, Pack, packs_of, phrases_of
from stream.names.phrases import Found, Phrases, denies

MAX_TOPICS = 3  # of packs, after the model's own
# How many times likelier a verdict becomes: by a rule, and by words of the lexicon. Where the model gave .9 to
# one side and .05 to the rule's, the verdict becomes unsure; the lexicon is asked only where it is unsure already.
RULE_ODDS, LEXICON_ODDS = 20.0, 4.0
SURE_FROM = 0.6  # of a verdict that was moved

Said = TypeVar("Said", bound=Polarity)


class Packs:
    """Some packs together, made once at start. `topics` is what they add to the directory of subjects."""

    def __init__(self, packs: Sequence[Pack]) -> None:
        self.packs = packs
        self.version = "+".join(pack.version for pack in packs)
        self.topics: dict[str, tuple[str, str]] = {
            f"{pack.name}:{topic.id}": (topic.title["en"], topic.title["zh"]) for pack in packs for topic in pack.topics
        }
        self._pulls: dict[Key, Name] = {
            Key("rule", f"{pack.name}:{rule.id}"): rule.polarity for pack in packs for rule in pack.rules
        }
        for pack in packs:
            self._pulls[Key("lexicon", f"{pack.name}:negative")] = "negative"
            self._pulls[Key("lexicon", f"{pack.name}:positive")] = "positive"
        self._phrases = Phrases((key, phrase) for pack in packs for key, phrase, _ in phrases_of(pack))

    def answer(self, text: Text, tag: Tag) -> Tag:
        """The model's answer with what the packs know. Pure; a text in neither Chinese nor English is left alone.

        Topics of packs come after the model's, with 1.0: words are there or not, that is no probability. Rules and
        lexicon count only in a text that has a topic of their pack: 挤兑 of a colleague is not a bank's. A rule acts on the
        deciding sentence for the document, and on its own sentence for a company, if it is the only one named there. The
        lexicon acts the same way where a verdict is unsure; for the document all its sentences are asked.
        """
        if text.lang not in LANGUAGES:
            return tag
        found = self._phrases.find(text.whole)
        if not found:
            return tag
        topics = self.topics_in(found)
        if not topics:
            return tag
        own = [topic for topic in tag.topics if topic[0] != "other"]
        tag = msgspec.structs.replace(tag, topics=own + [(topic, 1.0) for topic in topics[:MAX_TOPICS]])
        about = {topic.partition(":")[0] for topic in topics}
        pulls = {key: name for key, name in self._pulls.items() if key.of.partition(":")[0] in about}
        leaning = Leaning(pulls, found, text.whole)
        targets: list[Polarity | None] = list(tag.targets)
        for n, said in enumerate(targets):
            span = text.spans[n]
            if said and leaning.alone(span, text.spans):
                targets[n] = leaning.moved(said, span, span)
        whole = (0, len(text.whole))
        return leaning.moved(msgspec.structs.replace(tag, targets=targets), tag.deciding or whole, whole)

    def topics_in(self, found: Found[Key]) -> list[str]:
        """In the order of the packs."""
        everywhere = set().union(*found.keys)
        named = set()
        for keys in found.keys:
            for role, of in keys:
                sure = role == "phrases" or (role == "weak" and Key("required", of) in everywhere)
                if sure and Key("forbidden", of) not in keys:
                    named.add(of)
        return [topic for topic in self.topics if topic in named]


class Leaning:
    """Which way the rules and the lexicon pull each sentence of one text."""

    def __init__(self, pulls: Mapping[Key, Name], found: Found[Key], text: str) -> None:
        self._found = found
        self._ruled: list[set[Name]] = []
        self._worded: list[set[Name]] = []
        start = 0
        for end, keys in zip(found.ends, found.keys, strict=True):
            own = [key for key in keys & pulls.keys() if Key("rule forbidden", key.of) not in keys]
            if own and denies(text[start:end]):
                own = []
            self._ruled.append({pulls[key] for key in own if key.role == "rule"})
            self._worded.append({pulls[key] for key in own if key.role == "lexicon"})
            start = end

    def alone(self, span: Span, spans: Sequence[Span]) -> bool:
        """Whether a sentence speaks of one company only: otherwise its words may be another's."""
        own = self._found.sentences(*span)
        return sum(self._found.sentences(*other).start == own.start for other in spans) == 1

    def moved(self, said: Said, ruled: Span, worded: Span) -> Said:
        """`said`, moved by the rules in one span, else by the lexicon in another; pulls that disagree move nothing."""
        toward = set[Name]().union(*(self._ruled[n] for n in self._found.sentences(*ruled)))
        odds = RULE_ODDS
        if not toward and said.unsure:
            toward = toward.union(*(self._worded[n] for n in self._found.sentences(*worded)))
            odds = LEXICON_ODDS
        return shifted(said, toward.pop(), odds) if len(toward) == 1 else said


def shifted(said: Said, toward: Name, odds: float) -> Said:
    """Bayes' rule: `toward` is `odds` times as likely as it was. In steps of .001, as they leave the model."""
    weights = {
        name: getattr(said, name) * (odds if name == toward else 1) for name in ("negative", "positive", "neutral")
    }
    total = sum(weights.values()) or 1.0
    negative, positive = round(weights["negative"] / total, 3), round(weights["positive"] / total, 3)
    neutral = round(max(0.0, 1 - negative - positive), 3)
    unsure = max(negative, neutral, positive) < SURE_FROM
    return msgspec.structs.replace(said, negative=negative, neutral=neutral, positive=positive, unsure=unsure)


class WithPacks:
    """A model whose answers the packs complete: to `tag.py` it is a model like any other."""

    def __init__(self, model: Model, packs: Packs) -> None:
        self._model, self._packs = model, packs

    @property
    def version(self) -> str:
        return f"{self._model.version}+{self._packs.version}"

    async def start(self) -> None:
        await self._model.start()

    async def tag(self, texts: Sequence[Text], *, partition: int = 0, fresh: bool = True) -> list[Tag | None]:
        tags = await self._model.tag(texts, partition=partition, fresh=fresh)
        return [tag and self._packs.answer(text, tag) for text, tag in zip(texts, tags, strict=True)]

    async def stop(self) -> None:
        await self._model.stop()


def with_packs(settings: Settings, model: Model) -> Model:
    """The model itself when no pack is set. Raises UnknownPack, BrokenPack."""
    return WithPacks(model, Packs(packs_of(settings))) if settings.packs else model

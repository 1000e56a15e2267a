"""Everything that may be learned from, and what one epoch of it looks like; next: train.py, which learns it.

Sampling is anew each epoch and depends on the seed alone: names are masked, slots filled, large sets thinned.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from groundswell.text import normalise
from models.labels import SENTIMENTS
from models.learn import rows, sources
from models.learn.sources import Example

NEUTRAL = SENTIMENTS.index("neutral")
STOPS = {"own-en": ".", "own-zh": "。"}
JOINTS = {"own-en": (" ", " ", "\n"), "own-zh": ("", "", "\n")}
# Most topics are labelled in the own rows only, which are few beside the public sets.
OWN_TOPIC_WEIGHT = 3.0


@dataclass(frozen=True)
class Sample:
    """How much of each large set one epoch takes, and how often each own skeleton is filled."""

    topic_texts: int = 7_000
    nwgi_texts: int = 1_500
    yao_words: int = 2_500
    fillings: int = 1
    joined: float = 0.25  # the share of own rows that become one sentence among neutral ones


@dataclass
class Corpus:
    """Everything that may be learned from, by set."""

    tfns: list[Example]
    sentfin: list[Example]
    nwgi: list[Example]
    yao: list[Example]
    topic: list[Example]
    own: dict[str, list[rows.Row]]
    slots: dict[str, dict[str, dict[str, list[str]]]]
    tfns_dev: list[Example]
    sentfin_dev: list[Example]
    topic_dev: list[Example]
    own_dev: dict[str, list[rows.Row]]

    @classmethod
    def read(cls, data: Path) -> "Corpus":
        return replace(
            cls.own_rows(),
            tfns=sources.tfns(data, "train"),
            sentfin=sources.sentfin(data, "train"),
            nwgi=sources.nwgi(data),
            yao=sources.yao(data),
            topic=sources.topic(data, "train"),
            tfns_dev=sources.tfns(data, "dev"),
            sentfin_dev=sources.sentfin(data, "dev"),
            topic_dev=sources.topic(data, "dev"),
        )

    @classmethod
    def own_rows(cls) -> "Corpus":
        """What needs no data folder: the sentences written for this project."""
        own = {language: rows.load(language) for language in ("en", "zh")}
        part = {
            name: {language: [row for row in own[language] if rows.part_of(row.skeleton) == name] for language in own}
            for name in ("train", "dev")
        }
        for language in own:
            part["train"][language] += rows.translated(language)
        slots = {language: rows.slots(language) for language in own}
        return cls([], [], [], [], [], part["train"], slots, [], [], [], part["dev"])

    def counts(self) -> str:
        """One line that says how much there is of each."""
        public = f"{len(self.tfns)} TFNS, {len(self.sentfin)} SEntFiN, {len(self.topic)} topic, {len(self.nwgi)} NWGI"
        own = f"own skeletons: {len(self.own['en'])} en, {len(self.own['zh'])} zh"
        return f"{public} texts; {len(self.yao)} lexicon words; {own}"

    def texts(self) -> Iterator[str]:
        """All training text once: what decides which pieces of the vocabulary stay."""
        for example in [*self.tfns, *self.sentfin, *self.nwgi, *self.yao, *self.topic]:
            yield example.text
        for language, skeletons in self.own.items():
            yield from (normalise(row.skeleton) for row in skeletons)
            for names in self.slots[language]["train"].values():
                yield from map(normalise, names)

    def epoch(self, number: int, seed: int, sample: Sample) -> list[Example]:
        """The texts of one epoch in random order: names masked, slots filled and large sets sampled anew each time."""
        rng = random.Random(f"{seed}-{number}")
        tickers = sources.cashtags(example.text for example in self.tfns)
        names = [row.text[a:b] for row in self.sentfin for a, b, _ in row.targets] + self.slots["en"]["train"]["NAME"]
        masked = (replace(row, text=sources.mask_cashtags(row.text, tickers, rng)) for row in self.tfns)
        chosen = [sources.one_cashtag(row) for row in masked]
        chosen += [sources.rename(row, names, rng) for row in self.sentfin]
        for pool, count in (
            (self.topic, sample.topic_texts),
            (self.nwgi, sample.nwgi_texts),
            (self.yao, sample.yao_words),
        ):
            chosen += rng.sample(pool, min(count, len(pool)))
        for language, skeletons in self.own.items():
            filled = [self.filled(row, language, "train", rng) for row in skeletons for _ in range(sample.fillings)]
            calm = [example for example in filled if example.sentiment == NEUTRAL]
            chosen += [among(example, calm, rng) if rng.random() < sample.joined else example for example in filled]
        rng.shuffle(chosen)
        return chosen

    def dev(self, seed: int) -> dict[str, list[Example]]:
        """The held-out texts by name of their set: what thresholds and temperatures are fitted on."""
        rng = random.Random(seed)
        held = {
            f"own-{language}": [self.filled(row, language, "dev", rng) for row in skeletons for _ in range(2)]
            for language, skeletons in self.own_dev.items()
        }
        tfns = [sources.one_cashtag(example) for example in self.tfns_dev]
        return {"tfns": tfns, "sentfin": self.sentfin_dev, "topic": self.topic_dev, **held}

    def filled(self, row: rows.Row, language: str, part: rows.Part, rng: random.Random) -> Example:
        filled = rows.fill(row, self.slots[language], part, rng)
        return Example(
            filled.text,
            f"own-{language}",
            SENTIMENTS.index(row.label),
            topics=sources.own_topics(row.topics),
            topic_weight=OWN_TOPIC_WEIGHT,
            targets=tuple((*span, SENTIMENTS.index(label)) for span, label in filled.targets),
        )


def among(example: Example, calm: list[Example], rng: random.Random) -> Example:
    """The sentence in the company of one or two neutral ones: the text keeps its verdict and gains their topics.

    Articles are like this, and the deciding sentence can only be found by a model that has seen it.
    """
    parts = [example, *rng.sample(calm, rng.choice((1, 1, 2)))]
    rng.shuffle(parts)
    joint = rng.choice(JOINTS[example.source])
    text, targets = "", []
    for part in parts:
        text += joint if text else ""
        targets += [(a + len(text), b + len(text), label) for a, b, label in part.targets]
        text += part.text if part.text[-1] in ".!?。！？…" else part.text + STOPS[example.source]
    topics = tuple(max(known) for known in zip(*(part.topics for part in parts), strict=True))
    return replace(example, text=text, topics=topics, targets=tuple(targets))

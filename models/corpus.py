"""Everything that may be learned from, and what one epoch of it looks like; next: train.py, which learns it.

Sampling is anew each epoch and depends on the seed alone: names are masked, slots filled, large sets thinned.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from groundswell.text import normalise
from models import rows, sources
from models.labels import SENTIMENTS
from models.sources import Example

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
    fillings: int = 5
    joined: float = 0.3  # the share of own rows that become one sentence among neutral ones


@dataclass
class Corpus:
    """Everything that may be learned from, by set."""

    tfns: list[Example]
    sentfin: list[tuple[Example, list[str]]]
    nwgi: list[Example]
    topic: list[Example]
    own: dict[str, list[rows.Row]]
    slots: dict[str, dict[str, dict[str, list[str]]]]
    tfns_dev: list[Example]
    topic_dev: list[Example]
    own_dev: dict[str, list[rows.Row]]

    @classmethod
    def read(cls, data: Path) -> "Corpus":
        own = {language: rows.load(language) for language in ("en", "zh")}
        part = {
            name: {language: [row for row in own[language] if rows.part_of(row.skeleton) == name] for language in own}
            for name in ("train", "dev")
        }
        return cls(
            tfns=sources.tfns(data, "train"),
            sentfin=sources.sentfin(data, "train"),
            nwgi=sources.nwgi(data),
            topic=sources.topic(data, "train"),
            own=part["train"],
            slots={language: rows.slots(language) for language in own},
            tfns_dev=sources.tfns(data, "dev"),
            topic_dev=sources.topic(data, "dev"),
            own_dev=part["dev"],
        )

    def counts(self) -> str:
        """One line that says how much there is of each."""
        public = f"{len(self.tfns)} TFNS, {len(self.sentfin)} SEntFiN, {len(self.topic)} topic, {len(self.nwgi)} NWGI"
        return f"{public} texts; own skeletons: {len(self.own['en'])} en, {len(self.own['zh'])} zh"

    def texts(self) -> Iterator[str]:
        """All training text once: what decides which pieces of the vocabulary stay."""
        for example in [*self.tfns, *(example for example, _ in self.sentfin), *self.nwgi, *self.topic]:
            yield example.text
        for language, skeletons in self.own.items():
            yield from (normalise(row.skeleton) for row in skeletons)
            for names in self.slots[language]["train"].values():
                yield from map(normalise, names)

    def epoch(self, number: int, seed: int, sample: Sample) -> list[Example]:
        """The texts of one epoch in random order: names masked, slots filled and large sets sampled anew each time."""
        rng = random.Random(f"{seed}-{number}")
        tickers = sources.cashtags(example.text for example in self.tfns)
        names = [name for _, entities in self.sentfin for name in entities]
        chosen = [replace(row, text=sources.mask_cashtags(row.text, tickers, rng)) for row in self.tfns]
        for example, entities in self.sentfin:
            text = example.text
            if rng.random() < 0.5:
                for entity in entities:
                    text = text.replace(entity, rng.choice(names))
            chosen.append(replace(example, text=text))
        chosen += rng.sample(self.topic, min(sample.topic_texts, len(self.topic)))
        chosen += rng.sample(self.nwgi, min(sample.nwgi_texts, len(self.nwgi)))
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
        return {"tfns": self.tfns_dev, "topic": self.topic_dev, **held}

    def filled(self, row: rows.Row, language: str, part: rows.Part, rng: random.Random) -> Example:
        text = normalise(rows.fill(row.skeleton, self.slots[language], part, rng))
        return Example(
            text,
            f"own-{language}",
            SENTIMENTS.index(row.label),
            topics=sources.own_topics(row.topics),
            topic_weight=OWN_TOPIC_WEIGHT,
        )


def among(example: Example, calm: list[Example], rng: random.Random) -> Example:
    """The sentence in the company of one or two neutral ones: the text keeps its verdict and gains their topics.

    Articles are like this, and the deciding sentence can only be found by a model that has seen it.
    """
    parts = [example, *rng.sample(calm, rng.choice((1, 1, 2)))]
    rng.shuffle(parts)
    texts = [part.text if part.text[-1] in ".!?。！？…" else part.text + STOPS[example.source] for part in parts]
    topics = tuple(max(known) for known in zip(*(part.topics for part in parts), strict=True))
    return replace(example, text=rng.choice(JOINTS[example.source]).join(texts), topics=topics)

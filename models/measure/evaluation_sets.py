"""The known sets of sentiment: which rows are scored, and what each is asked beside the common figures; next: figures.py.

The sets whose folder says EVAL_ONLY are never learned from and never chosen by. The public ones are read from a data
folder (docs/data.md); the project's own come with it and need none.
"""

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from groundswell.tagging import Polarity, Tag, Text
from groundswell.text import normalise
from models import mentions
from models.labels import OTHER_TOPIC, SENTIMENTS, TOPICS
from models.learn import rows, sources
from models.learn.sources import MissingData
from models.measure import figures, name_swaps

Binary = Literal["negative-positive", "negative-rest"]
Beside = Callable[[Sequence[Tag]], dict[str, Any]]
NEGATIVE = SENTIMENTS.index("negative")


@dataclass(frozen=True)
class Judged:
    """Texts of one set with the label of each, an index into SENTIMENTS.

    A text that asks for spans is judged by the first of them, not as a whole, if `by_target`. `slices` names parts of
    the set that are scored apart as well; `beside` finds, from all tags, what only this set is asked; `binary` is how
    a set of two classes is scored.
    """

    texts: list[Text]
    labels: list[int]
    note: str
    slices: dict[str, list[bool]] = field(default_factory=dict)
    beside: Beside = lambda _: {}
    binary: Binary | None = None
    by_target: bool = False

    def answers(self, tags: Sequence[Tag]) -> list[Polarity]:
        """What is judged of each tag: the text or its target. A place beyond what was read is judged by the text."""
        return [(tag.targets[0] or tag) if self.by_target and tag.targets else tag for tag in tags]


def tfns(data: Path) -> Judged:
    found = sources.table(data, "tfns_sentiment_en/valid.csv.gz")
    clean = [row["leaks_from_train"] == "0" for row in found]
    return read(found, "en", "validation split; clean: rows that are not in its training split", {"clean": clean})


def sentfin(data: Path) -> Judged:
    """Each company of each headline of the held-out tenth, by headline."""
    found = [{**row, "text": normalise(row["text"])} for row in sources.table(data, "sentfin_en/sentfin.jsonl.gz")]
    held: list[Any] = [row for row in found if sources.split_of(row["text"], 10)]
    seen = {name for row in found if not sources.split_of(row["text"], 10) for name in row["entities"]}
    texts: list[Text] = []
    labels: list[int] = []
    conflicting: list[bool] = []
    unseen: list[bool] = []
    first_of: dict[int, tuple[int, int]] = {}
    missed = 0
    for row in held:
        places = mentions.find_all(row["text"], list(row["entities"]))
        for name, label in row["entities"].items():
            if row["headline_label"] in SENTIMENTS:
                first_of.setdefault(row["id"], (len(texts), SENTIMENTS.index(row["headline_label"])))
            texts.append(Text(row["text"], lang="en", spans=[places[name]] if name in places else []))
            labels.append(SENTIMENTS.index(label))
            conflicting.append(len(set(row["entities"].values())) > 1)
            unseen.append(name not in seen)
            missed += name not in places

    def headline(tags: Sequence[Tag]) -> dict[str, Any]:
        guess = [SENTIMENTS.index(tags[n].polarity) for n, _ in first_of.values()]
        truth = [label for _, label in first_of.values()]
        return {"headline": figures.brief(np.array(truth), np.array(guess), len(SENTIMENTS))}

    note = f"by company, the tenth held out by headline; {missed} companies not named in the text are judged by it"
    slices = {"conflicting": conflicting, "unseen_name": unseen}
    return Judged(texts, labels, note, slices, headline, by_target=True)


def fiqa(data: Path) -> Judged:
    found = [row for row in sources.table(data, "fiqa_sa_en_EVAL_ONLY/fiqa_sa.csv.gz") if row["split"] == "test"]
    return read(found, "en", "test split; never learned from")


def stockemotions(data: Path) -> Judged:
    names = {"bullish": "positive", "bearish": "negative"}
    found = sources.table(data, "stockemotions_en_EVAL_ONLY/stockemotions.csv.gz")
    kept = [{**row, "label": names[row["sentiment"]]} for row in found if row["split"] == "test"]
    return read(kept, "en", "test split; never learned from; two classes", binary="negative-positive")


def finfe(data: Path) -> Judged:
    found = sources.table(data, "fincuge_zh_EVAL_ONLY/finfe_clean.csv.gz")
    kept = [row for row in found if row["clean_split"] == "test" and row["label"] in SENTIMENTS]
    agree = [row["quality"] == "agree" for row in kept]
    note = "clean test rows with a label; never learned from; agree: rows that two rounds of labelling agree on"
    return read(kept, "zh", note, {"agree": agree})


def read(
    found: list[dict[str, str]],
    lang: str,
    note: str,
    slices: dict[str, list[bool]] | None = None,
    binary: Binary | None = None,
) -> Judged:
    texts = [Text(normalise(row["text"]), lang=lang) for row in found]
    return Judged(texts, [SENTIMENTS.index(row["label"]) for row in found], note, slices or {}, binary=binary)


def own(language: str) -> Callable[[Path], Judged]:
    def judged(_: Path) -> Judged:
        """The held-out skeletons, each filled once with names that training never saw."""
        rng, slots = random.Random(0), rows.slots(language)
        held = [row for row in rows.load(language) if rows.part_of(row.skeleton) == "test"]
        filled = [rows.fill(row, slots, "test", rng) for row in held]
        texts = [Text(each.text, lang=language, spans=[span for span, _ in each.targets]) for each in filled]

        def beside(tags: Sequence[Tag]) -> dict[str, Any]:
            judged_targets = [
                (SENTIMENTS.index(label), SENTIMENTS.index((answer or tag).polarity))
                for row, each, tag in zip(held, filled, tags, strict=True)
                if row.targets
                for (_, label), answer in zip(each.targets, tag.targets, strict=True)
            ]
            truth, guess = np.array(judged_targets, int).reshape(-1, 2).T
            topics = own_topics([row.topics for row in held], tags)
            return {"topics": topics, "targets": figures.brief(truth, guess, len(SENTIMENTS))}

        note = "own synthetic skeletons held out, filled once; targets: of the companies in rows that label each"
        labels = [SENTIMENTS.index(row.label) for row in held]
        return Judged(texts, labels, note, {"hard": [row.hard is not None for row in held]}, beside)

    return judged


def own_topics(wanted: Sequence[Sequence[str]], tags: Sequence[Tag]) -> dict[str, Any]:
    truth = np.array([[topic in each for topic in TOPICS] for each in wanted])
    said = np.array([[topic in dict(tag.topics) for topic in TOPICS] for tag in tags])
    return figures.topics_f1(truth, said, TOPICS)


def pairs(_: Path) -> Judged:
    """The same message written in both languages: English texts first, then the Chinese ones in the same order."""
    found = own_file("pairs.jsonl")
    texts = [Text(normalise(row[lang]), lang=lang) for lang in ("en", "zh") for row in found]
    labels = [SENTIMENTS.index(row["label"]) for row in found]

    def beside(tags: Sequence[Tag]) -> dict[str, Any]:
        guess = np.array([SENTIMENTS.index(tag.polarity) for tag in tags]).reshape(2, -1)
        sides = [figures.brief(np.array(labels), side, len(SENTIMENTS)) for side in guess]
        wanted = [[topic for topic in row["topics"] if topic != OTHER_TOPIC] for row in found]
        return {
            "en": sides[0],
            "zh": sides[1],
            "gap": figures.rounded(abs(sides[0]["macro_f1"] - sides[1]["macro_f1"])),
            "agreement": figures.rounded((guess[0] == guess[1]).mean()),
            "topics": own_topics(wanted * 2, tags),
        }

    return Judged(texts, labels * 2, f"{len(found)} own parallel pairs; never learned from", beside=beside)


def calm(_: Path) -> Judged:
    """Neutral texts full of frightening words: where false alarms come from."""
    found = own_file("calm.jsonl")
    texts = [Text(normalise(row["text"]), lang=row["lang"]) for row in found]

    def beside(tags: Sequence[Tag]) -> dict[str, Any]:
        frightened = np.array([tag.polarity == "negative" for tag in tags])
        langs = np.array([text.lang for text in texts])
        share = {lang: figures.rounded(frightened[langs == lang].mean()) for lang in sorted(set(langs.tolist()))}
        return {"called_negative": {"all": figures.rounded(frightened.mean()), **share}}

    return Judged(
        texts,
        [SENTIMENTS.index(row.get("label", "neutral")) for row in found],
        "own neutral texts with frightening words; never learned from",
        beside=beside,
    )


def swaps(_: Path) -> Judged:
    """Each template under thirty names: the name must not change the verdict."""
    found = own_file("swaps.jsonl")
    filled = [name_swaps.fill(row["skeleton"], row["lang"]) for row in found]
    texts = [Text(normalise(text), lang=row["lang"]) for row, each in zip(found, filled, strict=True) for text in each]
    labels = [SENTIMENTS.index(row["label"]) for row, each in zip(found, filled, strict=True) for _ in each]

    def beside(tags: Sequence[Tag]) -> dict[str, Any]:
        langs = [row["lang"] for row in found]
        return {"swaps": {"all": name_swaps.steadiness(tags), **name_swaps.by_language(tags, langs)}}

    note = f"{len(found)} own templates x {name_swaps.NAMES_A_LANGUAGE} names; never learned from"
    return Judged(texts, labels, note, beside=beside)


def own_file(name: str) -> list[dict[str, Any]]:
    path = rows.FOLDER / name
    try:
        return [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise MissingData(
            f"{path} cannot be read: {error}.", remedy=f"Restore it: git checkout {path.name}."
        ) from error


PUBLIC: dict[str, Callable[[Path], Judged]] = {
    "tfns": tfns,
    "sentfin": sentfin,
    "fiqa": fiqa,
    "stockemotions": stockemotions,
    "finfe": finfe,
}
OWN: dict[str, Callable[[Path], Judged]] = {
    "own-zh": own("zh"),
    "own-en": own("en"),
    "pairs": pairs,
    "calm": calm,
    "swaps": swaps,
}

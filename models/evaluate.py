"""Measures a model on one set: `groundswell evaluate DATASET`; next: card.py, which writes the figures down.

Every figure is of the serving configuration: the same tagger, calibration and language shifts as in the stream. The
sets marked EVAL_ONLY are never learned from and never chosen by.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groundswell.errors import Misconfigured
from groundswell.tagging import Tag, Text
from groundswell.text import normalise
from models import catalog, rows, sources
from models.heads import Tagger
from models.labels import OTHER_TOPIC, SENTIMENTS, TOPICS
from models.sources import UNKNOWN

BOOTSTRAPS = 1_000
ECE_BINS = 15
NEGATIVE, NEUTRAL, POSITIVE = range(3)


class UnknownDataset(Misconfigured):
    """There is no evaluation of this name."""

    reason = "unknown_dataset"


@dataclass(frozen=True)
class Judged:
    """Texts of one set with their sentiment labels, and a note on what was left out."""

    texts: list[Text]
    labels: list[int]
    note: str = ""


def evaluate(dataset: str, data: Path, model: str = catalog.BUNDLED) -> dict[str, Any]:
    """The figures of one dataset as a JSON-ready dict; `dataset` is a key of SENTIMENT_SETS, or `topic`.

    Keys: dataset, model, n, accuracy, interval (95 %, bootstrap), macro_f1, weighted_f1, per_class, ece, confusion
    (rows true, columns predicted, order of labels), labels, sure_share, sure_accuracy, auc (positive against negative,
    neutrals left out), note. Raises UnknownDataset, MissingData, BrokenModel.
    """
    tagger = Tagger.load(catalog.locate(model))
    if dataset == "topic":
        return evaluate_topics(data, tagger)
    if dataset not in SENTIMENT_SETS:
        raise UnknownDataset(f"there is no dataset {dataset!r}.", remedy=f"Choose from: {', '.join(DATASETS)}.")
    judged = SENTIMENT_SETS[dataset](data)
    tags = tagger.tag(judged.texts)
    return {"dataset": dataset, "model": tagger.config.version, **figures(tags, judged), "note": judged.note}


def tfns(data: Path) -> Judged:
    examples = sources.tfns(data, "valid")
    return Judged([Text(e.text, lang="en") for e in examples], [e.sentiment for e in examples], "all 2,388 rows")


def sentfin(data: Path) -> Judged:
    examples = [example for example, _ in sources.sentfin(data, "test")]
    note = "headlines whose entities agree, tenth held out by headline"
    return Judged([Text(e.text, lang="en") for e in examples], [e.sentiment for e in examples], note)


def fiqa(data: Path) -> Judged:
    found = [row for row in sources.table(data, "fiqa_sa_en_EVAL_ONLY/fiqa_sa.csv.gz") if row["split"] == "test"]
    return read(found, "label", "en", "test split; transfer")


def stockemotions(data: Path) -> Judged:
    names = {"bullish": "positive", "bearish": "negative"}
    found = sources.table(data, "stockemotions_en_EVAL_ONLY/stockemotions.csv.gz")
    kept = [{**row, "label": names[row["sentiment"]]} for row in found if row["split"] == "test"]
    return read(kept, "label", "en", "test split; transfer; no neutral class: scored by p_positive > p_negative")


def finfe(data: Path) -> Judged:
    found = sources.table(data, "fincuge_zh_EVAL_ONLY/finfe_clean.csv.gz")
    kept = [row for row in found if row["clean_split"] == "test" and row["label"] in SENTIMENTS]
    return read(kept, "label", "zh", "clean test rows that have a label; transfer")


def read(found: list[dict[str, str]], column: str, lang: str, note: str) -> Judged:
    texts = [Text(normalise(row["text"]), lang=lang) for row in found]
    return Judged(texts, [SENTIMENTS.index(row[column]) for row in found], note)


def own(language: str) -> Callable[[Path], Judged]:
    def judged(_: Path) -> Judged:
        """The held-out skeletons, each filled once with names that training never saw."""
        rng, slots = random.Random(0), rows.slots(language)
        held = [row for row in rows.load(language) if rows.part_of(row.skeleton) == "test"]
        texts = [Text(normalise(rows.fill(row.skeleton, slots, "test", rng)), lang=language) for row in held]
        return Judged(texts, [SENTIMENTS.index(row.label) for row in held], "own synthetic skeletons held out")

    return judged


SENTIMENT_SETS: dict[str, Callable[[Path], Judged]] = {
    "tfns": tfns,
    "sentfin": sentfin,
    "own-en": own("en"),
    "own-zh": own("zh"),
    "fiqa": fiqa,
    "stockemotions": stockemotions,
    "finfe": finfe,
}
DATASETS = (*SENTIMENT_SETS, "topic")


def figures(tags: list[Tag], judged: Judged) -> dict[str, Any]:
    """Accuracy, F1, calibration and confusion of tags against labels. Two-class sets are scored on two classes."""
    p = np.array([(tag.negative, tag.neutral, tag.positive) for tag in tags])
    truth = np.array(judged.labels)
    if NEUTRAL not in judged.labels:
        p[:, NEUTRAL] = 0
        p /= p.sum(1, keepdims=True).clip(1e-9)
    guess, best = p.argmax(1), p.max(1)
    right = guess == truth
    confusion = np.zeros((3, 3), int)
    np.add.at(confusion, (truth, guess), 1)
    per_class = {name: f1(confusion, n) for n, name in enumerate(SENTIMENTS) if (truth == n).any()}
    scores = [entry["f1"] for entry in per_class.values()]
    weights = [entry["n"] for entry in per_class.values()]
    sure = np.array([not tag.unsure for tag in tags])
    return {
        "n": len(truth),
        "accuracy": rounded(right.mean()),
        "interval": interval(right),
        "macro_f1": rounded(np.mean(scores)),
        "weighted_f1": rounded(np.average(scores, weights=weights)),
        "per_class": per_class,
        "auc": auc(p[:, POSITIVE] - p[:, NEGATIVE], truth),
        "ece": rounded(calibration_error(best, right)),
        "sure_share": rounded(sure.mean()),
        "sure_accuracy": rounded(right[sure].mean()) if sure.any() else None,
        "labels": list(SENTIMENTS),
        "confusion": confusion.tolist(),
    }


def f1(confusion: NDArray[np.int64], n: int) -> dict[str, float]:
    hits, said, were = confusion[n, n], confusion[:, n].sum(), confusion[n].sum()
    return {
        "n": int(were),
        "precision": rounded(hits / max(1, said)),
        "recall": rounded(hits / max(1, were)),
        "f1": rounded(2 * hits / max(1, said + were)),
    }


def interval(right: NDArray[np.bool_]) -> list[float]:
    """The 95 % bootstrap interval of the accuracy."""
    rng = np.random.default_rng(0)
    means = rng.binomial(len(right), right.mean(), BOOTSTRAPS) / len(right)
    return [rounded(np.quantile(means, 0.025)), rounded(np.quantile(means, 0.975))]


def auc(score: NDArray[np.float64], truth: NDArray[np.int64]) -> float | None:
    """How often a positive text scores above a negative one; ties count half."""
    up, down = score[truth == POSITIVE], score[truth == NEGATIVE]
    if not len(up) or not len(down):
        return None
    down = np.sort(down)
    below, not_above = np.searchsorted(down, up, "left"), np.searchsorted(down, up, "right")
    return rounded(((below + not_above) / 2 / len(down)).mean())


def calibration_error(best: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    """Expected calibration error over equal bins of confidence."""
    bins = np.minimum((best * ECE_BINS).astype(int), ECE_BINS - 1)
    gaps = [abs(right[bins == b].mean() - best[bins == b].mean()) * (bins == b).mean() for b in np.unique(bins)]
    return float(sum(gaps))


def evaluate_topics(data: Path, tagger: Tagger) -> dict[str, Any]:
    """The clean valid rows of the topic set, over the topics that it labels; the first topic said is the guess."""
    examples = sources.topic(data, "valid")
    tags = tagger.tag([Text(example.text, lang="en") for example in examples])
    known = [n for n, topic in enumerate(TOPICS) if any(e.topics[n] == 1 for e in examples)]
    per_topic = {}
    for n in known:
        rows_known = [k for k, example in enumerate(examples) if example.topics[n] != UNKNOWN]
        truth = np.array([examples[k].topics[n] == 1 for k in rows_known])
        said = np.array([TOPICS[n] in dict(tags[k].topics) for k in rows_known])
        per_topic[TOPICS[n]] = {
            "n": int(truth.sum()),
            "f1": rounded(2 * (truth & said).sum() / max(1, truth.sum() + said.sum())),
        }
    top = [
        TOPICS.index(tag.topics[0][0]) in {n for n, value in enumerate(example.topics) if value == 1}
        for tag, example in zip(tags, examples, strict=True)
        if any(value == 1 for value in example.topics) and tag.topics[0][0] != OTHER_TOPIC
    ]
    return {
        "dataset": "topic",
        "model": tagger.config.version,
        "n": len(examples),
        "first_topic_right_when_said": rounded(np.mean(top)),
        "macro_f1": rounded(np.mean([entry["f1"] for entry in per_topic.values()])),
        "per_topic": per_topic,
        "note": "clean rows, labels mapped to our topics",
    }


def rounded(value: Any) -> float:
    return round(float(value), 4)

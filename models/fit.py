"""Fits what a trained model needs to speak honestly: the neutral border, temperature, floors and thresholds.

Everything is fitted on held-out parts of the training sets (`Corpus.dev`), never on a test; next: evaluate.py.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from models import catalog
from models.catalog import Config, Language
from models.encoder import tokenize
from models.heads import Floats, Tagger
from models.labels import SENTIMENTS, TOPICS
from models.sources import UNKNOWN, Example

# A model that is right this often, when it is sure, is worth waking somebody for.
WANTED_ACCURACY = 0.90
TEMPERATURES = np.geomspace(0.5, 3.0, 40)
THRESHOLDS = np.arange(0.2, 0.81, 0.05)
# Fewer positives than this cannot place a threshold.
ENOUGH = 8

Ints = NDArray[np.int64]


def fit(folder: Path, dev: dict[str, list[Example]], biases: dict[str, list[float]]) -> Path:
    """Write the fitted numbers into the folder's config and return the folder.

    `dev` holds held-out examples by set, `biases` the learned sentiment bias of each training source.
    """
    tagger = Tagger.load(folder)
    scores = {name: logits_of(tagger, examples) for name, examples in dev.items()}
    wanted = {name: np.array([example.sentiment for example in examples]) for name, examples in dev.items()}
    english = english_bias(scores, wanted, biases)
    chinese = np.array(biases["own-zh"])
    languages = {
        "en": language(
            np.concatenate([scores["tfns"][0], scores["own-en"][0]]),
            np.concatenate([wanted["tfns"], wanted["own-en"]]),
            english,
        ),
        "zh": language(scores["own-zh"][0], wanted["own-zh"], chinese),
        "other": Language(list(map(float, (english + chinese) / 2)), 1.5, 0.6),
    }
    config = msgspec.structs.replace(
        tagger.config, languages=languages, topic_thresholds=thresholds(tagger.config, scores, dev)
    )
    text = json.dumps(msgspec.to_builtins(config), indent=1, ensure_ascii=False)
    (folder / catalog.CONFIG).write_text(text + "\n", "utf-8")
    return folder


def logits_of(tagger: Tagger, examples: Sequence[Example]) -> tuple[Floats, Floats]:
    """Sentiment and topic logits `[examples, classes]`, before any bias."""
    ids = [tokenize(tagger.tokenizer, example.text, tagger.config).ids for example in examples]
    sentiment = np.zeros((len(ids), len(SENTIMENTS)), np.float32)
    topics = np.zeros((len(ids), len(TOPICS)), np.float32)
    for batch, lengths, hidden in tagger.encoder.encode(ids):
        sentiment[batch], topics[batch], _ = tagger.score(lengths, hidden)
    return sentiment, topics


def english_bias(
    scores: dict[str, tuple[Floats, Floats]], wanted: dict[str, Ints], biases: dict[str, list[float]]
) -> Floats:
    """Where English neutral begins: between the habit of tweets and that of our own rows, best for both together."""
    tweets, own = np.array(biases["tfns"], np.float32), np.array(biases["own-en"], np.float32)

    def worth(share: float) -> float:
        bias = (1 - share) * tweets + share * own
        return sum(float(((scores[name][0] + bias).argmax(1) == wanted[name]).mean()) for name in ("tfns", "own-en"))

    share = max(np.linspace(0, 1, 11), key=worth)
    bias: Floats = (1 - share) * tweets + share * own
    return bias


def language(logits: Floats, wanted: Ints, bias: Floats) -> Language:
    """The temperature of least log loss, and the lowest floor above which WANTED_ACCURACY holds."""
    shifted = (logits + bias).astype(np.float64)

    def loss(temperature: float) -> float:
        scaled = shifted / temperature
        best = scaled.max(1)
        return float(
            (np.log(np.exp(scaled - best[:, None]).sum(1)) + best - scaled[np.arange(len(wanted)), wanted]).mean()
        )

    temperature = float(min(TEMPERATURES, key=loss))
    p = np.exp(shifted / temperature - (shifted / temperature).max(1, keepdims=True))
    sure = (p / p.sum(1, keepdims=True)).max(1)
    right = shifted.argmax(1) == wanted
    floors = np.arange(0.40, 0.91, 0.01)
    good = [floor for floor in floors if (kept := sure >= floor).sum() >= 20 and right[kept].mean() >= WANTED_ACCURACY]
    return Language([round(float(x), 4) for x in bias], round(temperature, 4), round(float(min(good, default=0.9)), 2))


def thresholds(config: Config, scores: dict[str, tuple[Floats, Floats]], dev: dict[str, list[Example]]) -> list[float]:
    """One threshold a topic: the one of best F1 over the held-out texts that know the topic."""
    logits = np.concatenate([scores[name][1] for name in dev])
    known = np.concatenate([np.array([example.topics for example in dev[name]]) for name in dev])
    found = []
    for n in range(len(config.topics)):
        rows = known[:, n] != UNKNOWN
        p, truth = 1 / (1 + np.exp(-logits[rows, n])), known[rows, n] == 1
        if truth.sum() < ENOUGH:
            found.append(0.5)
            continue
        f1 = [2 * (truth & (p >= t)).sum() / max(1, truth.sum() + (p >= t).sum()) for t in THRESHOLDS]
        found.append(round(float(THRESHOLDS[int(np.argmax(f1))]), 2))
    return found

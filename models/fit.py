"""Fits what a trained model needs to speak honestly: the neutral border, temperature, floors and thresholds.

Everything is fitted on held-out parts of the training sets (`Corpus.dev`), never on a test; next: evaluate.py.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from models import catalog
from models.catalog import Config, Language
from models.encoder import tokenize
from models.heads import Floats, Tagger
from models.labels import SENTIMENTS, TOPICS
from models.sources import UNKNOWN, Example

# A model that is right this often, when it is sure, is worth waking somebody for.
WANTED_ACCURACY = 0.90
STIFFNESS = 0.02
THRESHOLDS = np.arange(0.1, 0.81, 0.05)
# Fewer positives than this cannot place a threshold.
ENOUGH = 8

Ints = NDArray[np.int64]


def fit(folder: Path, dev: dict[str, list[Example]], log_priors: dict[str, list[float]]) -> Path:
    """Write the fitted numbers into the folder's config and return the folder.

    `dev` holds held-out examples by set; `log_priors` are the habits of the training sources (`train.habits`). English
    is fitted on tweets and own rows alike, each set with the same say; Chinese on its own rows.
    """
    tagger = Tagger.load(folder)
    scores = {name: logits_of(tagger, examples) for name, examples in dev.items()}
    wanted = {name: np.array([example.sentiment for example in examples]) for name, examples in dev.items()}

    def fitted(*sets: str) -> Language:
        start = np.mean([log_priors[name] for name in sets], axis=0)
        return language([(scores[name][0], wanted[name]) for name in sets], start)

    languages = {"en": fitted("tfns", "own-en"), "zh": fitted("own-zh"), "other": fitted("tfns", "own-en", "own-zh")}
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


def language(sets: Sequence[tuple[Floats, Ints]], start: Floats) -> Language:
    """Bias and temperature of least log loss, each set with the same say, and the lowest floor above which
    WANTED_ACCURACY holds. The bias is held near `start`, since held-out rows are few."""
    logits = torch.tensor(np.concatenate([scores for scores, _ in sets]), dtype=torch.float64)
    wanted = torch.tensor(np.concatenate([labels for _, labels in sets]))
    say = torch.tensor(np.concatenate([np.full(len(labels), 1 / len(labels)) for _, labels in sets])) / len(sets)
    start_bias = torch.tensor(start, dtype=torch.float64)
    shift = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    log_temperature = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([shift, log_temperature], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> float:
        optimizer.zero_grad()
        scaled = (logits + start_bias + shift) / log_temperature.exp()
        each = torch.nn.functional.cross_entropy(scaled, wanted, reduction="none")
        value = (each * say).sum() + STIFFNESS * (shift**2).sum()
        value.backward()  # type: ignore[no-untyped-call]
        return float(value.detach())

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    bias, temperature = (start_bias + shift).detach(), float(log_temperature.exp())
    p = ((logits + bias) / temperature).softmax(1).numpy()
    right, sure = p.argmax(1) == wanted.numpy(), p.max(1)
    floors = np.arange(0.40, 0.91, 0.01)
    good = [floor for floor in floors if (kept := sure >= floor).sum() >= 20 and right[kept].mean() >= WANTED_ACCURACY]
    bias -= bias.mean()
    return Language(
        [round(x, 4) for x in bias.tolist()], round(temperature, 4), round(float(min(good, default=0.9)), 2)
    )


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

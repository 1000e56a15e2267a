"""Fits what a trained model needs to speak honestly: the neutral border, temperature, floors and thresholds.

Everything is fitted on held-out parts of the training sets (`Corpus.dev`), never on a test; next: evaluate.py.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from models import catalog, windows
from models.catalog import Config, Language
from models.heads import Floats, Tagger, habit
from models.learn.sources import STYLES_OF, UNKNOWN, Example

# A model that is right this often, when it is sure, is worth waking somebody for.
WANTED_ACCURACY = 0.90
STIFFNESS = 0.02
THRESHOLDS = np.arange(0.1, 0.81, 0.05)
# Fewer positives than this cannot place a threshold.
ENOUGH = 8
ALWAYS_UNSURE = 1.01

Ints = NDArray[np.int64]


def fit(folder: Path, dev: dict[str, list[Example]]) -> Path:
    """Write the fitted numbers into the folder's config and return the folder.

    `dev` holds held-out examples by set. English is fitted on tweets, headlines and own rows, each set with the same
    say and each text with the habit of its style; Chinese on its own rows. A language that the model was not made for
    is always unsure.
    """
    tagger = Tagger.load(folder)
    scores = {name: logits_of(tagger, examples) for name, examples in dev.items()}
    wanted = {name: np.array([example.sentiment for example in examples]) for name, examples in dev.items()}

    def texts(name: str, sets: Sequence[str]) -> Language:
        known = {each: wanted[each] != UNKNOWN for each in sets}
        starts = {each: [habit(row, tagger.habits, STYLES_OF[name]) for row in scores[each].styles] for each in sets}
        fitted = language(
            [
                ((scores[each].sentiment + np.stack(starts[each]))[known[each]], wanted[each][known[each]])
                for each in sets
            ]
        )
        return msgspec.structs.replace(fitted, styles=list(STYLES_OF[name]))

    def mentions(_: str, sets: Sequence[str]) -> Language:
        return language([(scores[each].targets, scores[each].labels) for each in sets if len(scores[each].labels)])

    english, chinese = ("tfns", "sentfin", "own-en"), ("own-zh",)
    languages, targets = (
        {
            "en": fitted("en", english),
            "zh": fitted("zh", chinese),
            "other": foreign(fitted("other", (*english, *chinese))),
        }
        for fitted in (texts, mentions)
    )
    config = msgspec.structs.replace(
        tagger.config,
        languages=languages,
        targets=targets,
        topic_thresholds=thresholds(tagger.config, scores, dev),
    )
    text = json.dumps(msgspec.to_builtins(config), indent=1, ensure_ascii=False)
    (folder / catalog.CONFIG).write_text(text + "\n", "utf-8")
    return folder


def foreign(fitted: Language) -> Language:
    """Never silently wrong: nothing was held out in these languages to be sure by."""
    return msgspec.structs.replace(fitted, unsure_under=ALWAYS_UNSURE)


class HeldOut(NamedTuple):
    """Logits of held-out examples before any shift, `[examples, ...]`, and of all their mentions of known polarity
    `[mentions, 3]` with the labels of those `[mentions]`."""

    sentiment: Floats
    topics: Floats
    styles: Floats
    targets: Floats
    labels: Ints


def logits_of(tagger: Tagger, examples: Sequence[Example]) -> HeldOut:
    """What the model says of examples, by their leads."""
    read = [windows.read(tagger.tokenizer, example.text, tagger.config) for example in examples]
    spans = [[(start, end) for start, end, _ in example.targets] for example in examples]
    leads = [readings[0] for readings in tagger.readings(read, spans)]
    judged = [
        (logits, example.targets[number][2])
        for example, lead in zip(examples, leads, strict=True)
        for number, logits in lead.targets.items()
    ]
    return HeldOut(
        np.stack([lead.logits for lead in leads]),
        np.stack([lead.topics for lead in leads]),
        np.stack([lead.styles for lead in leads]),
        np.stack([logits for logits, _ in judged]) if judged else np.zeros((0, 3), np.float32),
        np.array([label for _, label in judged]),
    )


def language(sets: Sequence[tuple[Floats, Ints]]) -> Language:
    """Bias and temperature of least log loss over `(logits, labels)` of each set, each with the same say, and the
    lowest floor above which WANTED_ACCURACY holds. The bias is held small, since held-out rows are few."""
    logits = torch.tensor(np.concatenate([scores for scores, _ in sets]), dtype=torch.float64)
    wanted = torch.tensor(np.concatenate([labels for _, labels in sets]))
    say = torch.tensor(np.concatenate([np.full(len(labels), 1 / len(labels)) for _, labels in sets])) / len(sets)
    shift = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    log_temperature = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([shift, log_temperature], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> float:
        optimizer.zero_grad()
        scaled = (logits + shift) / log_temperature.exp()
        each = torch.nn.functional.cross_entropy(scaled, wanted, reduction="none")
        value = (each * say).sum() + STIFFNESS * (shift**2).sum()
        value.backward()  # type: ignore[no-untyped-call]
        return float(value.detach())

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    bias, temperature = shift.detach(), float(log_temperature.detach().exp())
    p = ((logits + bias) / temperature).softmax(1).numpy()
    right, sure = p.argmax(1) == wanted.numpy(), p.max(1)
    floors = np.arange(0.40, 0.91, 0.01)
    good = [floor for floor in floors if (kept := sure >= floor).sum() >= 20 and right[kept].mean() >= WANTED_ACCURACY]
    bias -= bias.mean()
    return Language(
        [round(x, 4) for x in bias.tolist()], round(temperature, 4), round(float(min(good, default=0.9)), 2)
    )


def thresholds(config: Config, scores: dict[str, HeldOut], dev: dict[str, list[Example]]) -> list[float]:
    """One threshold a topic: the one of best F1 over the held-out texts that know the topic."""
    logits = np.concatenate([scores[name].topics for name in dev])
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

"""Measures a model on one set: `groundswell evaluate`; next: evaluation_sets.py, the sets, and card.py, which writes the figures down.

Every figure is of the serving configuration: the same tagger, calibration and floors as in the stream.
"""

import hashlib
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track

from groundswell.errors import Misconfigured
from groundswell.tagging import Tag, Text
from models import catalog, loading
from models.heads import Tagger
from models.labels import SENTIMENTS
from models.learn.sources import MissingData
from models.loading import Loaded
from models.measure import evaluation_sets, figures, labelled_file, topic_sets
from models.measure.evaluation_sets import Binary, Judged
from models.measure.figures import Ints

CHUNK = 256
DATASETS = (
    *("tfns", "tfn-topic", "sentfin", "fiqa", "stockemotions", "finfe", "finnl"),
    *("own-zh", "own-en", "pairs", "calm", "swaps"),
)
NEGATIVE, NEUTRAL, POSITIVE = range(3)


class UnknownDataset(Misconfigured):
    """There is no evaluation of this name."""

    reason = "unknown_dataset"


class NothingToScore(Misconfigured):
    """No row is left to score."""

    reason = "nothing_to_score"


def evaluate(
    dataset: str,
    data: Path | None = None,
    model: str = catalog.BUNDLED,
    *,
    binary: Binary | None = None,
    console: Console | None = None,
) -> dict[str, Any]:
    """The figures of one set as a JSON-ready dict; `dataset` is one of DATASETS or the path of a user's own file.

    Keys: dataset, model, n, accuracy, interval, macro_f1, macro_f1_interval, weighted_f1, per_class, ece, labels,
    confusion (rows true, columns guessed), unsure_share, sure_accuracy, auc (positive against negative), docs_per_s,
    data_hash, note, and what only this set is asked (`slices`, `topics`, …). What a set cannot say is None.
    `binary` scores two classes: `negative-positive` leaves out the rows that are neutral and compares the other two
    probabilities; `negative-rest` keeps all rows and the serving verdict, negative or not.
    Raises UnknownDataset, MissingData, BadLabelledFile, NothingToScore, UnknownModel, BrokenModel.
    """
    judged = None if dataset in topic_sets.TOPIC_SETS else read(dataset, data)
    tagger = opened(model)
    common = {"dataset": dataset, "model": tagger.config.version, **dict.fromkeys(EMPTY)}
    began = time.monotonic()

    def chunks(starts: Sequence[int]) -> Iterable[int]:
        shown = console or Console(stderr=True)
        return track(starts, dataset, console=shown, disable=not shown.is_terminal, transient=True)

    if judged is None:
        if binary or not isinstance(tagger, Tagger):
            lack = "has no two classes" if binary else f"asks for topics, which {model} does not know"
            raise NothingToScore(f"{dataset} is a set of topics: it {lack}.", remedy="Choose a set of sentiments.")
        texts, labels, found = topic_sets.TOPIC_SETS[dataset](folder(dataset, data), tagger, chunks)
    else:
        tags = [
            tag
            for start in chunks(range(0, len(judged.texts), CHUNK))
            for tag in tagger.tag(judged.texts[start : start + CHUNK])
        ]
        texts, labels = judged.texts, [SENTIMENTS[label] for label in judged.labels]
        found = score(tags, judged, binary or judged.binary)
    pace = round(len(texts) / (time.monotonic() - began), 1)
    return common | found | {"docs_per_s": pace, "data_hash": data_hash(texts, labels)}


def opened(model: str) -> Loaded:
    """A model to measure. One in our own format is measured as it is, right or wrong; a classifier of somebody else is
    verified as when it is served."""
    folder = catalog.locate(model)
    return loading.load(model) if catalog.is_classifier(folder) else Tagger.load(folder)


EMPTY = (
    *("n", "accuracy", "interval", "macro_f1", "macro_f1_interval", "weighted_f1", "auc", "ece"),
    *("unsure_share", "sure_accuracy", "per_class", "labels", "confusion"),
)


def read(dataset: str, data: Path | None) -> Judged:
    if dataset in evaluation_sets.OWN:
        return evaluation_sets.OWN[dataset](Path())
    if dataset in evaluation_sets.PUBLIC:
        return evaluation_sets.PUBLIC[dataset](folder(dataset, data))
    path = Path(dataset).expanduser()
    if not path.is_file():
        raise UnknownDataset(
            f"{dataset!r} is neither a known set nor a file.",
            remedy=f"Known: {', '.join(DATASETS)}; or the path of a file ({', '.join(labelled_file.ENDINGS)}).",
        )
    return of_file(labelled_file.read(path))


def folder(dataset: str, data: Path | None) -> Path:
    if data is None:
        raise MissingData(
            f"{dataset} is a public set and is read from a data folder, which is not given.",
            remedy="Pass --data DIR or set GROUNDSWELL_DATA; docs/data.md says where the sets come from.",
        )
    if not data.is_dir():
        raise MissingData(f"there is no folder {data}.", remedy="Pass the folder of the sets with --data DIR.")
    return data


def of_file(found: Sequence[labelled_file.Labelled]) -> Judged:
    missed = sum(row.missed for row in found)
    named = sum(bool(row.text.spans) for row in found)
    notes = ["your own file"]
    if named or missed:
        notes.append(f"{named} rows judged by their entity, {missed} by the text, which does not name the entity")
    labels = [row.label for row in found]
    if NEUTRAL not in labels:
        notes.append("no row is neutral: --binary negative-positive scores two classes")
    return Judged([row.text for row in found], labels, "; ".join(notes), by_target=True)


def score(tags: Sequence[Tag], judged: Judged, binary: Binary | None = None) -> dict[str, Any]:
    """All figures of tags against labels; with `binary`, in two classes."""
    answers = judged.answers(tags)
    three = np.array([(answer.negative, answer.neutral, answer.positive) for answer in answers]).clip(1e-9)
    three /= three.sum(1, keepdims=True)
    truth, unsure = np.array(judged.labels), np.array([answer.unsure for answer in answers])
    kept = truth != NEUTRAL if binary == "negative-positive" else np.full(len(truth), fill_value=True)
    if not kept.any():
        raise NothingToScore("no row is left to score.", remedy="The file needs rows that are not neutral.")
    guess = np.array([SENTIMENTS.index(answer.polarity) for answer in answers])
    p, names, wanted, said = three, SENTIMENTS, truth, guess
    if binary == "negative-positive":
        p, names = three[:, [NEGATIVE, POSITIVE]], (SENTIMENTS[NEGATIVE], SENTIMENTS[POSITIVE])
        p, wanted = p / p.sum(1, keepdims=True), (truth == POSITIVE).astype(int)
        said = p.argmax(1)
    elif binary == "negative-rest":
        p, names = np.stack([three[:, NEGATIVE], 1 - three[:, NEGATIVE]], 1), (SENTIMENTS[NEGATIVE], "rest")
        wanted, said = (truth != NEGATIVE).astype(int), (guess != NEGATIVE).astype(int)
    found = figures.of_classes(p[kept], wanted[kept], names, said[kept])
    right, sure = (said == wanted)[kept], ~unsure[kept]
    rest = truth != NEGATIVE if binary == "negative-rest" else truth == POSITIVE
    leaning = -three[:, NEGATIVE] if binary == "negative-rest" else three[:, POSITIVE] - three[:, NEGATIVE]
    found |= {
        "unsure_share": figures.rounded(1 - sure.mean()),
        "sure_accuracy": figures.rounded(right[sure].mean()) if sure.any() else None,
        "auc": figures.auc(leaning[kept], rest[kept], (truth == NEGATIVE)[kept]),
        "negative_recall_at_precision_80": figures.recall_at_precision(p[kept, NEGATIVE], wanted[kept] == NEGATIVE),
        "binary": binary,
        "note": judged.note,
    }
    if judged.slices:
        every = {"all": [True] * len(truth), **judged.slices}
        found["slices"] = {name: part(np.array(rows) & kept, wanted, said, len(names)) for name, rows in every.items()}
    return found | judged.beside(tags)


def part(rows: Any, wanted: Ints, said: Ints, classes: int) -> dict[str, Any]:
    return figures.brief(wanted[rows], said[rows], classes)


def data_hash(texts: Sequence[Text], labels: Sequence[str]) -> str:
    """The first 16 hex digits of the sha256 of all texts, asked places and labels: equal for equal sets."""
    digest = hashlib.sha256()
    for text, label in zip(texts, labels, strict=True):
        digest.update(f"{text.whole}\0{text.spans}\0{label}\n".encode())
    return digest.hexdigest()[:16]

"""Figures of probabilities against labels: accuracy, F1, calibration, their intervals; next: evaluate.py, which asks for them.

Pure functions of arrays: no model, no files. F1 is averaged over the classes that occur, in the labels or in the
guesses, as scikit-learn does.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

BOOTSTRAPS = 1_000
ECE_BINS = 15
# Alarms are worth raising when four of five are right: how many of the negatives are found then.
WANTED_PRECISION = 0.8


def of_classes(p: Floats, truth: Ints, names: Sequence[str], guess: Ints | None = None) -> dict[str, Any]:
    """Accuracy, F1, calibration and confusion of probabilities `[texts, classes]` against labels `[texts]`.

    The guess is the likeliest class unless it is given; its probability is the confidence that `ece` judges. Rows of
    the confusion are true classes, columns guesses, in the order of `labels`. Intervals hold 95 % of the bootstrap.
    """
    guess = p.argmax(1) if guess is None else guess
    right = guess == truth
    confusion = np.zeros((len(names), len(names)), np.int64)
    np.add.at(confusion, (truth, guess), 1)
    return {
        "n": len(truth),
        **averages(confusion),
        "per_class": {name: of_class(confusion, n) for n, name in enumerate(names) if occurs(confusion)[n]},
        "ece": rounded(calibration_error(p[np.arange(len(p)), guess], right)),
        "labels": list(names),
        "confusion": confusion.tolist(),
    }


def averages(confusion: Ints) -> dict[str, Any]:
    """Accuracy and F1 over all classes, with intervals: the texts are drawn anew, which is drawing cells anew."""
    rng, n = np.random.default_rng(0), confusion.sum()
    drawn = rng.multinomial(n, confusion.ravel() / n, BOOTSTRAPS).reshape(-1, *confusion.shape)
    present = occurs(confusion)
    return {
        "accuracy": rounded(accuracy(confusion)),
        "interval": interval(accuracy(drawn)),
        "macro_f1": rounded(f1(confusion)[present].mean()),
        "macro_f1_interval": interval(f1(drawn)[:, present].mean(1)),
        "weighted_f1": rounded((f1(confusion) * confusion.sum(1)).sum() / n),
    }


def brief(truth: Ints, guess: Ints, classes: int) -> dict[str, Any]:
    """n, accuracy and macro-F1 of a part of a set; `{"n": 0}` of nothing."""
    if not len(truth):
        return {"n": 0}
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (truth, guess), 1)
    found = averages(confusion)
    del found["weighted_f1"]
    return {"n": len(truth), **found}


def occurs(confusion: Ints) -> Bools:
    present: Bools = confusion.sum(0) + confusion.sum(1) > 0
    return present


def accuracy(confusion: Ints) -> Floats:
    hits: Floats = np.trace(confusion, axis1=-2, axis2=-1) / confusion.sum((-2, -1))
    return hits


def f1(confusion: Ints) -> Floats:
    """F1 of each class of one confusion matrix, or of many: `[..., classes, classes]` to `[..., classes]`."""
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    each: Floats = 2 * hits / (confusion.sum(-1) + confusion.sum(-2)).clip(1)
    return each


def of_class(confusion: Ints, n: int) -> dict[str, float]:
    hits, said, were = confusion[n, n], confusion[:, n].sum(), confusion[n].sum()
    return {
        "n": int(were),
        "precision": rounded(hits / max(1, said)),
        "recall": rounded(hits / max(1, were)),
        "f1": rounded(f1(confusion)[n]),
    }


def interval(drawn: Floats) -> list[float]:
    return [rounded(np.quantile(drawn, 0.025)), rounded(np.quantile(drawn, 0.975))]


def auc(score: Floats, positive: Bools, negative: Bools) -> float | None:
    """How often a positive scores above a negative; ties count half. None when one of the two is missing."""
    up, down = score[positive], np.sort(score[negative])
    if not len(up) or not len(down):
        return None
    below, not_above = np.searchsorted(down, up, "left"), np.searchsorted(down, up, "right")
    return rounded(((below + not_above) / 2 / len(down)).mean())


def recall_at_precision(score: Floats, wanted: Bools, precision: float = WANTED_PRECISION) -> float | None:
    """The largest share of the wanted that some threshold on `score` finds at this precision; None without any."""
    if not wanted.any():
        return None
    order = np.argsort(-score, kind="stable")
    hits, said = wanted[order].cumsum(), np.arange(1, len(order) + 1)
    # Equal scores are found together or not at all.
    last_of_equals = np.append(score[order][1:] < score[order][:-1], True)
    good = hits[last_of_equals & (hits / said >= precision)]
    return rounded(good.max() / wanted.sum()) if len(good) else 0.0


def calibration_error(best: Floats, right: Bools) -> float:
    """Expected calibration error over equal bins of confidence."""
    bins = np.minimum((best * ECE_BINS).astype(int), ECE_BINS - 1)
    gaps = [abs(right[bins == b].mean() - best[bins == b].mean()) * (bins == b).mean() for b in np.unique(bins)]
    return float(sum(gaps))


def topics_f1(truth: Bools, said: Bools, names: Sequence[str], known: Bools | None = None) -> dict[str, Any]:
    """Macro- and micro-F1 of labels `[texts, topics]`, where `known`; topics that no text has are left out."""
    known = np.ones_like(truth) if known is None else known
    hits, were, claimed = ((part & known).sum(0) for part in (truth & said, truth, said))
    each = 2 * hits / (were + claimed).clip(1)
    present = were > 0
    return {
        "macro_f1": rounded(each[present].mean()) if present.any() else None,
        "micro_f1": rounded(2 * hits.sum() / max(1, were.sum() + claimed.sum())),
        "per_topic": {names[n]: {"n": int(were[n]), "f1": rounded(each[n])} for n in range(len(names)) if present[n]},
    }


def rounded(value: Any) -> float:
    return round(float(value), 4)

"""What the bundled model must show, measure by measure; next: card.py, which writes the answers down."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Results = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Gate:
    """One measure. `path` leads to it in the figures of `dataset`; `floor` is what a simpler method reaches; `required`
    and `goal` are least values, or largest ones where `at_most`. A gate without a path is measured elsewhere."""

    measure: str
    dataset: str
    path: tuple[str, ...]
    floor: str
    required: float
    goal: float | None = None
    at_most: bool = False

    def ours(self, results: Results) -> float | None:
        """Our figure; None when the set was not measured."""
        found: Any = results.get(self.dataset)
        for key in self.path:
            found = found.get(key) if isinstance(found, Mapping) else None
        return found if isinstance(found, (int, float)) else None

    def interval(self, results: Results) -> list[float] | None:
        """The 95 % interval that stands beside our figure, if it has one."""
        found: Any = results.get(self.dataset)
        for key in self.path[:-1]:
            found = found.get(key) if isinstance(found, Mapping) else None
        name = {"accuracy": "interval", "macro_f1": "macro_f1_interval"}.get(self.path[-1])
        interval = found.get(name) if name and isinstance(found, Mapping) else None
        return interval if isinstance(interval, list) else None

    def reached(self, value: float, wanted: float) -> bool:
        return value <= wanted if self.at_most else value >= wanted


def conflicting(*path: str) -> tuple[str, ...]:
    return ("slices", "conflicting", *path)


GATES = (
    Gate("TFNS validation, all: accuracy", "tfns", ("accuracy",), ".846", 0.87, 0.885),
    Gate("TFNS validation, all: macro-F1", "tfns", ("macro_f1",), ".780", 0.82, 0.85),
    Gate("SEntFiN by headline, all companies: accuracy", "sentfin", ("accuracy",), ".819", 0.86, 0.90),
    Gate("SEntFiN, conflicting headlines: accuracy", "sentfin", conflicting("accuracy"), ".748", 0.80, 0.85),
    Gate("topics of tweets, clean, 20-way: accuracy", "tfn-topic", ("accuracy",), ".826", 0.85, 0.87),
    Gate("topics of tweets, clean, 20-way: macro-F1", "tfn-topic", ("macro_f1",), ".762", 0.79, 0.81),
    Gate("FiQA test, never trained on: macro-F1", "fiqa", ("macro_f1",), ".424", 0.55, 0.60),
    Gate("FiQA test, never trained on: AUC", "fiqa", ("auc",), "–", 0.90, 0.92),
    Gate("FinFE test (zh), never trained on: macro-F1", "finfe", ("macro_f1",), ".533", 0.56, 0.60),
    Gate("FinFE test (zh), never trained on: AUC", "finfe", ("auc",), ".808", 0.87, 0.90),
    Gate("StockEmotions test, never trained on: accuracy", "stockemotions", ("accuracy",), ".618", 0.63, 0.66),
    Gate("parallel pairs: macro-F1 gap zh–en", "pairs", ("gap",), "–", 0.05, 0.02, at_most=True),
    Gate("parallel pairs: agreement", "pairs", ("agreement",), "–", 0.90, 0.94),
    Gate("own test skeletons, en: macro-F1", "own-en", ("macro_f1",), "–", 0.88, 0.92),
    Gate("own test skeletons, en, hard cells: macro-F1", "own-en", ("slices", "hard", "macro_f1"), "–", 0.80, 0.87),
    Gate("own test skeletons, zh: macro-F1", "own-zh", ("macro_f1",), "–", 0.88, 0.92),
    Gate("own test skeletons, zh, hard cells: macro-F1", "own-zh", ("slices", "hard", "macro_f1"), "–", 0.80, 0.87),
    Gate(
        "neutral, frightening words: called negative", "calm", ("called_negative", "all"), "–", 0.08, 0.04, at_most=True
    ),
    Gate("name swap: label flips", "swaps", ("swaps", "all", "flips"), "4 of 6 templates", 0.02, 0.01, at_most=True),
    Gate("name swap: median spread of p(negative)", "swaps", ("swaps", "all", "spread"), "–", 0.10, at_most=True),
    Gate("calibration error, TFNS", "tfns", ("ece",), ".050", 0.03, at_most=True),
    Gate("calibration error, FiQA", "fiqa", ("ece",), "–", 0.06, at_most=True),
    Gate("calibration error, StockEmotions", "stockemotions", ("ece",), "–", 0.06, at_most=True),
    Gate("calibration error, FinFE", "finfe", ("ece",), "–", 0.06, at_most=True),
)

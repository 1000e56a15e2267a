"""Reads the public sets from a data folder into examples with their labels; next: train.py, which learns from them.

Each set labels what it labels: a topic that a set never names is unknown there, not absent, and carries no loss. The
folder is a parameter; nothing of it is shipped. Layout and licences of the sets: the SOURCE.md beside each.
"""

import csv
import gzip
import hashlib
import json
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from groundswell.errors import Misconfigured
from groundswell.text import normalise
from models.labels import OTHER_TOPIC, SENTIMENTS, TOPICS

# What a user brings for fine-tuning.
YOURS = "yours"
# Those that label sentiment. How common "neutral" is differs between them, see `train.habits`.
SOURCES: tuple[str, ...] = ("tfns", "sentfin", "nwgi", "yao", "own-en", "own-zh", YOURS)

# The kinds of text that serving tells apart, each with its habit of being neutral, by language.
STYLES_OF = {"en": ("tfns", "sentfin", "own-en"), "zh": ("own-zh",), "other": ("own-en", "own-zh")}
STYLES = tuple(dict.fromkeys(name for names in STYLES_OF.values() for name in names))

UNKNOWN = -1
CASHTAG = re.compile(r"\$[A-Za-z][A-Za-z.]{0,5}\b")


class MissingData(Misconfigured):
    """A set that training or evaluation needs is not in the data folder."""

    reason = "missing_data"
    remedy = "Pass the folder that holds it with --data."


@dataclass(frozen=True)
class Example:
    """One text with what is known of it. `topics` has one entry a topic: 1, 0 or UNKNOWN; `targets` holds the mentions
    whose polarity is known, `(start, end, label)` in code points; `tweet_topic` is the topic set's own label."""

    text: str
    source: str
    sentiment: int = UNKNOWN
    weight: float = 1.0
    topics: tuple[int, ...] = (UNKNOWN,) * len(TOPICS)
    topic_weight: float = 1.0
    targets: tuple[tuple[int, int, int], ...] = ()
    tweet_topic: int = UNKNOWN


def table(data: Path, name: str) -> list[dict[str, Any]]:
    """The rows of a gzipped CSV or JSONL file of the data folder. Raises MissingData."""
    path = data / name
    if not path.is_file():
        raise MissingData(f"{name} is not in {data}.")
    with gzip.open(path, "rt", encoding="utf-8", newline="") as lines:
        return [json.loads(line) for line in lines] if ".jsonl" in name else list(csv.DictReader(lines))


def split_of(text: str, percent: int) -> bool:
    """Whether a text falls into the held-out `percent` of its set, by hash, the same in every run."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4]) % 100 < percent


def tfns(data: Path, part: str) -> list[Example]:
    """Financial tweets with sentiment; `part` is train, dev (5 % of its train file) or valid (its own test)."""
    rows = table(data, f"tfns_sentiment_en/{'valid' if part == 'valid' else 'train'}.csv.gz")
    examples = [Example(normalise(row["text"]), "tfns", SENTIMENTS.index(row["label"])) for row in rows]
    if part == "valid":
        return examples
    return [example for example in dict.fromkeys(examples) if split_of(example.text, 5) == (part == "dev")]


def sentfin(data: Path, part: str) -> list[Example]:
    """Headlines with the polarity of each company in them; `part` is test (10 % by headline), dev (5 %) or train.

    A headline whose companies disagree has no sentiment of its own.
    """
    found = []
    for row in table(data, "sentfin_en/sentfin.jsonl.gz"):
        text, label = normalise(row["text"]), row["headline_label"]
        if part != ("test" if split_of(text, 10) else "dev" if split_of("dev " + text, 5) else "train"):
            continue
        targets = [
            (start, start + len(name), SENTIMENTS.index(polarity))
            for name, polarity in row["entities"].items()
            if (start := text.find(name)) >= 0
        ]
        sentiment = SENTIMENTS.index(label) if label in SENTIMENTS else UNKNOWN
        found.append(Example(text, "sentfin", sentiment, targets=tuple(sorted(targets))))
    return found


def rename(example: Example, names: Sequence[str], rng: random.Random) -> Example:
    """The example with half of its targets under another name, so that a name is no verdict. Of two mentions that
    overlap only the first stays a target."""
    text, targets, end = "", [], 0
    for start, stop, label in example.targets:
        if start < end:
            continue
        text += example.text[end:start]
        name = rng.choice(names) if rng.random() < 0.5 else example.text[start:stop]
        targets.append((len(text), len(text) + len(name), label))
        text, end = text + name, stop
    return replace(example, text=text + example.text[end:], targets=tuple(targets))


def nwgi(data: Path) -> list[Example]:
    """News with machine-made grades: only clear ones, at a low weight, never to measure with."""
    rows = table(data, "nwgi_en_SILVER/nwgi_test.csv.gz")
    return [
        Example(normalise(row["text"])[:400], "nwgi", SENTIMENTS.index(row["label3"]), 0.3)
        for row in rows
        if row["label3"] != "neutral"
    ]


def yao(data: Path) -> list[Example]:
    """The words of a lexicon of Chinese finance and forum language, each as a text of its own, at a low weight.

    Single words teach the body what Chinese the public sets do not hold; they are never measured with.
    """
    path = data / "lexicons_zh/ChineseFinancialFormalUnformalSentiment.json"
    if not path.is_file():
        raise MissingData(f"{path.name} is not in {path.parent}.")
    lists = json.loads(path.read_text("utf-8"))["ChineseFinancialFormalUnformalSentiment"]
    return [
        Example(normalise(word), "yao", SENTIMENTS.index(label), 0.3)
        for name, words in sorted(lists.items())
        for label in [("negative" if "否定" in name else "positive")]
        for word in words
    ]


# The topics that the labels of the topic set name; all the others are UNKNOWN in it.
TOPIC_LABELS = {
    "Analyst Update": "analyst",
    "Company | Product News": "product",
    "Currencies": "commodity",
    "Dividend": "dividend",
    "Earnings": "earnings",
    "Energy | Oil": "commodity",
    "Fed | Central Banks": "macro",
    "Financials": "earnings",
    "Gold | Metals | Materials": "commodity",
    "IPO": "financing",
    "M&A | Investments": "ma",
    "Macro": "macro",
    "Markets": "market",
    "Personnel Change": "management",
    "Stock Movement": "market",
    "Treasuries | Corporate Debt": "macro",
}
# All labels of the topic set, for a head of its own that is only measured with.
TWEET_TOPICS = (
    *("Analyst Update", "Company | Product News", "Currencies", "Dividend", "Earnings", "Energy | Oil"),
    *("Fed | Central Banks", "Financials", "General News | Opinion", "Gold | Metals | Materials", "IPO"),
    *(
        "Legal | Regulation",
        "M&A | Investments",
        "Macro",
        "Markets",
        "Personnel Change",
        "Politics",
        "Stock Commentary",
    ),
    *("Stock Movement", "Treasuries | Corporate Debt"),
)
# Labels that hold several of our topics are told apart by words; a text without such a word stays UNKNOWN in them.
TOPIC_WORDS = {
    "Legal | Regulation": {
        "litigation": r"\b(?:su(?:es?|ed|ing)|lawsuits?|court|judge|jury|settle\w*|plaintiffs?|appeals?|trial)\b",
        "regulation": r"\b(?:SEC|FTC|antitrust|regulat\w+|fine[ds]?|probe|watchdog|commission|bill|rules?|bans?)\b",
    },
    "Politics": {
        "geopolitics": r"\b(?:sanctions?|tariffs?|war|ukraine|russian?|china|nato|invasion|missiles?|iran|taiwan)\b"
    },
    "Earnings": {"guidance": r"\b(?:guidance|outlook|forecasts?|expects|sees)\b"},
    "Financials": {"guidance": r"\b(?:guidance|outlook|forecasts?|expects|sees)\b"},
}


def topic_labels(label: str, text: str) -> tuple[int, ...]:
    """What one label of the topic set says about each of our topics."""
    known = dict.fromkeys(TOPIC_LABELS.values(), 0)
    if label in TOPIC_LABELS:
        known[TOPIC_LABELS[label]] = 1
    for topic, words in TOPIC_WORDS.get(label, {}).items():
        if re.search(words, text, re.IGNORECASE):
            known[topic] = 1
    return tuple(known.get(topic, UNKNOWN) for topic in TOPICS)


def topic(data: Path, part: str) -> list[Example]:
    """Financial tweets with one topic each; `part` is train, dev (5 %) or valid (its clean rows: no leaks)."""
    rows = table(data, f"tfn_topic_en/{'valid' if part == 'valid' else 'train'}.csv.gz")
    clean = [row for row in rows if row["dup_within_split"] == "0" and row.get("leaks_from_train", "0") == "0"]
    examples = []
    for row in clean:
        text = normalise(row["text"])
        if part == "valid" or split_of(text, 5) == (part == "dev"):
            examples.append(
                Example(
                    text,
                    "topic",
                    topics=topic_labels(row["label"], text),
                    tweet_topic=TWEET_TOPICS.index(row["label"]),
                )
            )
    return examples


def own_topics(names: list[str]) -> tuple[int, ...]:
    return tuple(int(topic in names and topic != OTHER_TOPIC) for topic in TOPICS)


def mask_cashtags(text: str, tickers: list[str], rng: random.Random) -> str:
    """Hide who is meant, so that a company's name is no verdict: half become $TICKER, a quarter another company's."""

    def swap(match: re.Match[str]) -> str:
        draw = rng.random()
        return "$TICKER" if draw < 0.5 else rng.choice(tickers) if draw < 0.75 else match[0]

    return CASHTAG.sub(swap, text)


def one_cashtag(example: Example) -> Example:
    """A tweet that names one company by its cashtag says of it what it says as a whole."""
    found = list(CASHTAG.finditer(example.text))
    if len(found) != 1 or example.sentiment == UNKNOWN:
        return example
    return replace(example, targets=((*found[0].span(), example.sentiment),))


def cashtags(texts: Iterator[str]) -> list[str]:
    return sorted({found.upper() for text in texts for found in CASHTAG.findall(text)}) or ["$TICKER"]

"""The known sets of topics, which need more of the model than a tag holds; next: figures.py.

`tfn-topic` has twenty classes of its own, and the model a head for them that is only measured with; `finnl` is Chinese
news whose labels match some of our topics. The latter is never learned from.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from groundswell.tagging import Text
from groundswell.text import normalise
from models import windows
from models.heads import Tagger, pool
from models.labels import TOPICS
from models.learn import sources
from models.learn.sources import TWEET_TOPICS, UNKNOWN
from models.measure import figures
from models.measure.figures import Floats

# How our topics are called in FinNL.
FINNL = {
    "commodity": ("期货", "能源", "外汇"),
    "market": ("大盘",),
    "macro": ("经济", "政策"),
    "geopolitics": ("政治", "国际"),
}
CHUNK = 256
Track = Callable[[Sequence[int]], Iterable[int]]


class TopicSet(NamedTuple):
    """Texts with the labels of each, in the set's own words, and the figures found."""

    texts: list[Text]
    labels: list[str]
    found: dict[str, Any]


def tfn_topic(data: Path, tagger: Tagger, track: Track) -> TopicSet:
    """Twenty-way on the clean rows of the validation split, and our topics where its labels name them (`topics`)."""
    examples = sources.topic(data, "valid")
    texts = [Text(example.text, lang="en") for example in examples]
    found: dict[str, Any] = {
        "note": "clean rows of the validation split; topics: its labels as ours, all that are said"
    }
    ours, twenty = [], []
    for start in track(range(0, len(texts), CHUNK)):
        part = texts[start : start + CHUNK]
        ours += tagger.tag(part)
        twenty.append(tweet_topics(tagger, part))
    wanted = np.array([example.tweet_topic for example in examples])
    if tagger.config.tweet_topics:
        columns = [tagger.config.tweet_topics.index(name) for name in TWEET_TOPICS]
        found |= figures.of_classes(np.concatenate(twenty)[:, columns], wanted, TWEET_TOPICS)
    else:
        found |= {"n": len(texts), "note": f"{found['note']}; the model has no head for the twenty classes"}
    truth = np.array([example.topics for example in examples])
    said = np.array([[topic in dict(tag.topics) for topic in TOPICS] for tag in ours])
    found["topics"] = figures.topics_f1(truth == 1, said, TOPICS, truth != UNKNOWN)
    return TopicSet(texts, [TWEET_TOPICS[n] for n in wanted], found)


def tweet_topics(tagger: Tagger, texts: Sequence[Text]) -> Floats:
    """Probabilities `[texts, classes]` of the head for the topic set's own classes, from the first window of each."""
    if not tagger.tweet_topics:
        return np.zeros((len(texts), 0))
    bias, weight = tagger.tweet_topics
    ids = [windows.read(tagger.tokenizer, text.whole, tagger.config).parts[0].ids for text in texts]
    p = np.zeros((len(texts), len(bias)))
    for batch, lengths, hidden in tagger.encoder.encode(ids):
        with torch.inference_mode():
            p[batch] = (pool(hidden, lengths) @ weight.T + bias).softmax(1).numpy()
    return p


def finnl(data: Path, tagger: Tagger, track: Track) -> TopicSet:
    """How well the probability of each topic ranks the rows with its labels above all others (`auc`)."""
    found = sources.table(data, "fincuge_zh_EVAL_ONLY/finnl.csv.gz")
    kept = [row for row in found if row["split"] == "test" and row["labels"]]
    texts = [Text(normalise(row["text"]), lang="zh") for row in kept]
    chunks = []
    for start in track(range(0, len(texts), CHUNK)):
        part = texts[start : start + CHUNK]
        read = [windows.read(tagger.tokenizer, text.whole, tagger.config) for text in part]
        chunks += [readings[0].topics for readings in tagger.readings(read, [[]] * len(part))]
    scores = np.stack(chunks).astype(np.float64)
    each = {}
    for topic, names in FINNL.items():
        if topic in tagger.config.topics:
            truth = np.array([bool(set(names) & set(row["labels"].split())) for row in kept])
            score = scores[:, tagger.config.topics.index(topic)]
            each[topic] = {
                "n": int(truth.sum()),
                "auc": figures.auc(score, truth, ~truth),
                "labels": " ".join(names),
            }
    known = [entry["auc"] for entry in each.values() if isinstance(entry["auc"], float)]
    overall = {
        "n": len(kept),
        "auc": figures.rounded(np.mean(known)) if known else None,
        "per_class": each,
        "note": "test split; never learned from; auc: mean over the topics that its labels match",
    }
    return TopicSet(texts, [row["labels"] for row in kept], overall)


TOPIC_SETS: dict[str, Callable[[Path, Tagger, Track], TopicSet]] = {"tfn-topic": tfn_topic, "finnl": finnl}

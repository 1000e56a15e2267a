"""Turns hidden states into tags: sentiment, topics, targets, and the sentence that decided; next: worker.py.

The sentiment head is linear on the mean of the token rows. So the logit "negative minus positive" is exactly a sum of
one number a token, and a sentence's share of the verdict is the sum over its tokens: no second pass, no estimate. Only
a negative verdict over several sentences is asked again, without each of the likeliest: it may become evidence.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor

from groundswell.tagging import Polarity, Span, Tag, Text
from models import sentences, stored, targets, windows
from models.catalog import Config, Language
from models.encoder import Encoder, Weights
from models.labels import MAX_TOPICS, OTHER_TOPIC, SENTIMENTS
from models.stages import Stages
from models.targets import Place
from models.windows import Window, Windows

Floats = NDArray[np.float32]
NEGATIVE, NEUTRAL, POSITIVE = range(3)

# Of a negative text's sentences, as many as this are left out in turn to see which one decides.
SUSPECTS = 3
MAX_WORDS = 3

NOTHING_TO_READ = Tag(0.0, 1.0, 0.0, True, [(OTHER_TOPIC, 1.0)], None, 0, False)


@dataclass
class Reading:
    """What one pass found in one window: logits before any shift, each token's pull, and the style's logits."""

    logits: Floats
    topics: Floats
    pulls: Floats
    styles: Floats
    targets: dict[int, Floats] = field(default_factory=dict)


class Scores(NamedTuple):
    """What the heads say of one batch: sentiment `[texts, 3]`, topics `[texts, topics]`, each token's pull `[tokens]`
    (its exact share of its text's logit "negative minus positive"), styles `[texts, styles]`, targets `[places, 3]`."""

    sentiment: Floats
    topics: Floats
    pulls: Floats
    styles: Floats
    targets: Floats


class Tagger:
    """A loaded model: texts in, tags out. Holds torch tensors; lives in the model process only."""

    def __init__(self, config: Config, tokenizer: Tokenizer, weights: Weights, device: str = "cpu") -> None:
        self.config = config
        self.tokenizer = tokenizer
        # Rows of the heads by label name: a model may order its labels as it likes.
        order = [config.sentiments.index(name) for name in SENTIMENTS]
        self.sentiment = weights.pop("sentiment.weight").float()[order], weights.pop("sentiment.bias").float()[order]
        self.topics = weights.pop("topics.weight").float(), weights.pop("topics.bias").float()
        self.target = {name: weights.pop(name).float() for name in sorted(weights) if name.startswith("target.")}
        for name in ("target.down.weight", "target.down.bias"):
            self.target[name] = self.target[name][order]
        self.target |= {"sentiment.weight": self.sentiment[0], "sentiment.bias": self.sentiment[1]}
        self.tweet_topics = [weights.pop(name).float() for name in sorted(weights) if name.startswith("tweet_topics.")]
        self.style = weights.pop("style.weight").float(), weights.pop("style.bias").float()
        self.habits = {name: np.array(habit, np.float32)[order] for name, habit in config.styles.items()}
        self.texts_fit, self.targets_fit = (
            {name: (np.array(each.bias, np.float32)[order], each) for name, each in fitted.items()}
            for fitted in (config.languages, config.targets)
        )
        self.encoder = Encoder(config, weights, threads=torch.get_num_threads(), device=device)
        self.stages = Stages()

    @classmethod
    def load(cls, folder: Path, device: str = "cpu") -> "Tagger":
        """Check and read the folder of a model or of an adapter. Raises BrokenModel, which says what does not fit."""
        return cls(*stored.load(folder), device)

    def describe(self) -> str:
        return self.encoder.describe()

    def warm_up(self) -> None:
        self.encoder.warm_up()

    def tag(self, texts: Sequence[Text]) -> list[Tag]:
        """One tag a text, in order."""
        with self.stages.stage("tokenise"):
            read = [windows.read(self.tokenizer, text.whole, self.config) for text in texts]
        found = self.readings(read, [text.spans for text in texts])
        tags = [self.answer(*each) for each in zip(texts, read, found, strict=True)]
        self.leave_one_out(texts, read, found, tags)
        return tags

    def readings(self, read: Sequence[Windows], spans: Sequence[Sequence[Span]]) -> list[list[Reading]]:
        """One pass over all windows of all texts, in batches; for each text one Reading a window."""
        parts = [(text, part) for text, each in enumerate(read) for part in each.parts]
        found: list[Reading | None] = [None] * len(parts)
        for batch, lengths, hidden in self.stages.within("model", self.encoder.encode([part.ids for _, part in parts])):
            asked = [
                (n, number, Place(n, *tokens))
                for n, at in enumerate(batch)
                for number, span in enumerate(spans[parts[at][0]])
                if (tokens := targets.tokens_of(parts[at][1].spans, span))
            ]
            scores = self.score(lengths, hidden, [place for *_, place in asked])
            for n, (at, pulls) in enumerate(zip(batch, np.split(scores.pulls, np.cumsum(lengths)[:-1]), strict=True)):
                found[at] = Reading(scores.sentiment[n], scores.topics[n], pulls, scores.styles[n])
            for (n, number, _), logit in zip(asked, scores.targets, strict=True):
                if reading := found[batch[n]]:
                    reading.targets[number] = logit
        done: list[list[Reading]] = [[] for _ in read]
        for (text, _), reading in zip(parts, found, strict=True):
            if reading:
                done[text].append(reading)
        return done

    def score(self, lengths: Sequence[int], hidden: Tensor, places: Sequence[Place] = ()) -> Scores:
        """Run all heads on hidden states `[sum of lengths, hidden]`."""
        with torch.inference_mode():
            pooled = pool(hidden, lengths)
            weight, bias = self.sentiment
            logits = pooled @ weight.T + bias
            topics = pooled @ self.topics[0].T + self.topics[1]
            counts = torch.tensor(lengths, dtype=torch.float32).repeat_interleave(torch.tensor(lengths))
            pulls = (hidden @ (weight[NEGATIVE] - weight[POSITIVE]) + bias[NEGATIVE] - bias[POSITIVE]) / counts
            judged = torch.zeros(0, 3)
            if places:
                judged = targets.logits(self.target, targets.views(hidden, pooled, lengths, places))
            styles = pooled @ self.style[0].T + self.style[1]
        return Scores(logits.numpy(), topics.numpy(), pulls.numpy(), styles.numpy(), judged.numpy())

    def answer(self, text: Text, read: Windows, found: Sequence[Reading]) -> Tag:
        """The tag of one text from the readings of its windows."""
        if not found:
            return msgspec.structs.replace(NOTHING_TO_READ, targets=[None] * len(text.spans))
        shift = self.shift(text.lang, read.parts, found)
        verdict = self.verdict(text, read, found, shift)
        spans, pulls = self.pulls(read.parts, found, shift)
        ranked = by_pull(text.whole, spans, pulls, verdict.polarity)
        deciding = ranked[0] if ranked else None
        return Tag(
            verdict.negative,
            verdict.neutral,
            verdict.positive,
            verdict.unsure,
            topics=chosen(self.config, [reading.topics for reading in found]),
            deciding=deciding,
            tokens=read.tokens,
            truncated=read.truncated,
            words=loudest_words(text.whole, spans, pulls, deciding, verdict.polarity, text.spans) if deciding else [],
            targets=[self.target_of(text.lang, number, found) for number in range(len(text.spans))],
        )

    def verdict(self, text: Text, read: Windows, found: Sequence[Reading], shift: Floats) -> Polarity:
        logits = weighed(read.parts, [reading.logits for reading in found])
        _, fitted = fit_of(self.texts_fit, text.lang)
        return polarity(calibrated(logits + shift, fitted), fitted)

    def shift(self, lang: str, parts: Sequence[Window], found: Sequence[Reading]) -> Floats:
        """What is added to a text's sentiment logits: the language's bias, and the habit of the style it is written in
        (a tweet about a company is neutral far more often than a headline), each style as likely as it looks."""
        bias, fitted = fit_of(self.texts_fit, lang)
        styles = weighed(parts, [reading.styles for reading in found])
        return np.add(bias, habit(styles, self.habits, fitted.styles), dtype=np.float32)

    def pulls(self, parts: Sequence[Window], found: Sequence[Reading], shift: Floats) -> tuple[list[Span], Floats]:
        """The spans of all tokens read, and their shares of the text's logit "negative minus positive"."""
        spans = [span for part in parts for span in part.spans]
        each = [part.share * reading.pulls for part, reading in zip(parts, found, strict=True)]
        return spans, np.concatenate(each) + (shift[NEGATIVE] - shift[POSITIVE]) / len(spans)

    def target_of(self, lang: str, number: int, found: Sequence[Reading]) -> Polarity | None:
        shift, fitted = fit_of(self.targets_fit, lang)
        for reading in found:
            if number in reading.targets:
                return polarity(calibrated(reading.targets[number] + shift, fitted), fitted)
        return None

    def leave_one_out(
        self, texts: Sequence[Text], read: Sequence[Windows], found: Sequence[list[Reading]], tags: list[Tag]
    ) -> None:
        """Settle, in `tags`, which sentence decides a negative text of one window: the one without which the text is
        least negative, among the SUSPECTS that pull most."""
        asked: list[tuple[int, Span, Text]] = []
        for n, (text, tag) in enumerate(zip(texts, tags, strict=True)):
            if tag.polarity == "negative" and len(read[n].parts) == 1:
                shift = self.shift(text.lang, read[n].parts, found[n])
                spans, pulls = self.pulls(read[n].parts, found[n], shift)
                ranked = by_pull(text.whole, spans, pulls, "negative")
                if len(ranked) > 1:
                    for a, b in ranked[:SUSPECTS]:
                        without = Text(text.whole[:a] + text.whole[b:], lang=text.lang)
                        asked.append((n, (a, b), without))
        with self.stages.stage("tokenise"):
            again = [windows.read(self.tokenizer, text.whole, self.config) for *_, text in asked]
        least: dict[int, float] = {}
        for (n, span, text), rest, reading in zip(asked, again, self.readings(again, [[]] * len(again)), strict=True):
            left = 0.0
            if reading:
                left = self.verdict(text, rest, reading, self.shift(text.lang, rest.parts, reading)).negative
            if left < least.get(n, 1.0):
                least[n] = left
                shift = self.shift(texts[n].lang, read[n].parts, found[n])
                spans, pulls = self.pulls(read[n].parts, found[n], shift)
                words = loudest_words(texts[n].whole, spans, pulls, span, "negative", texts[n].spans)
                tags[n] = msgspec.structs.replace(tags[n], deciding=span, words=words)


def weighed(parts: Sequence[Window], rows: Sequence[Floats]) -> Floats:
    """The mean row, each window weighing its share."""
    if len(rows) == 1:  # its share is 1
        return rows[0]
    mean: Floats = np.sum([part.share * row for part, row in zip(parts, rows, strict=True)], axis=0)
    return mean


def fit_of(fitted: dict[str, tuple[Floats, Language]], lang: str) -> tuple[Floats, Language]:
    return fitted.get(lang) or fitted["other"]


def habit(styles: Floats, habits: Mapping[str, Floats], names: Sequence[str]) -> Floats:
    """The mean log prior `[3]` of the named styles, weighed by a softmax over their logits."""
    if not names:
        return np.zeros(3, np.float32)
    known = list(habits)
    chances = np.exp(styles[[known.index(name) for name in names]].astype(np.float64))
    mixed: Floats = np.array([habits[name] for name in names]).T @ (chances / chances.sum())
    return mixed


def polarity(p: Floats, fitted: Language) -> Polarity:
    """Probabilities `[3]` as they leave the tagger."""
    negative, neutral, positive = (round(float(x), 3) for x in p)
    return Polarity(negative, neutral, positive, unsure=bool(p.max() < fitted.unsure_under))


def pool(hidden: Tensor, lengths: Sequence[int]) -> Tensor:
    """The mean row of each text: `[rows, hidden]` and lengths to `[texts, hidden]`."""
    return torch.segment_reduce(hidden, "mean", lengths=torch.tensor(lengths), axis=0)


def calibrated(logits: Floats, fitted: Language) -> Floats:
    """Softmax of logits over the language's temperature, in the order of SENTIMENTS."""
    scaled = logits / fitted.temperature
    powers = np.exp(scaled - scaled.max())
    p: Floats = powers / powers.sum()
    return p


def chosen(config: Config, windows_logits: Sequence[Floats]) -> list[tuple[str, float]]:
    """The likeliest topics that reach their thresholds, at most three; `other` when there is none.

    The first window, title and lead, speaks for itself; another one can lift a topic half of the way to its own p.
    """
    each = 1 / (1 + np.exp(-np.array(windows_logits, np.float64)))
    p = np.maximum(each[0], (each[0] + each.max(axis=0)) / 2).tolist()
    reached = [row for row in zip(p, config.topics, config.topic_thresholds, strict=True) if row[0] >= row[2]]
    found = [(topic, round(x, 3)) for x, topic, _ in sorted(reached, reverse=True)]
    return found[:MAX_TOPICS] or [(OTHER_TOPIC, round(1 - max(p, default=0.0), 3))]


def by_pull(text: str, spans: Sequence[Span], pulls: Floats, verdict: str) -> list[Span]:
    """The sentences of `text`, the one with the largest pull towards the verdict first; for a neutral text, the one
    with the largest pull either way."""
    found = sentences.split(text)
    if len(found) < 2:
        return found
    ends = [end for _, end in found]
    sums = np.zeros(len(found))
    for (start, end), pull in zip(spans, pulls, strict=True):
        if end > start:
            sums[min(bisect_left(ends, end), len(ends) - 1)] += pull
    towards = np.abs(sums) if verdict == "neutral" else sums if verdict == "negative" else -sums
    return [found[n] for n in np.argsort(-towards, kind="stable")]


def loudest_words(
    text: str, spans: Sequence[Span], pulls: Floats, within: Span, verdict: str, names: Sequence[Span] = ()
) -> list[Span]:
    """The words of one sentence that pull most towards the verdict, at most three, in reading order; none for a
    neutral text, and never a part of `names`. A Latin word stands between blanks, a Chinese one is a vocabulary piece."""
    if verdict == "neutral":
        return []
    words: dict[Span, float] = {}
    last: Span | None = None
    for (start, end), pull in zip(spans, pulls, strict=True):
        while start < end and text[start].isspace():
            start += 1  # noqa: PLW2901 - a piece's span includes the blank before it
        named = any(a < end and start < b for a, b in names)
        if named or not within[0] <= start < end <= within[1] or not any(map(str.isalnum, text[start:end])):
            last = None
            continue
        toward = float(pull if verdict == "negative" else -pull)
        if last and (start < last[1] or (start == last[1] and text[start - 1].isascii() and text[start].isascii())):
            toward += words.pop(last)
            start = last[0]  # noqa: PLW2901
        last = (start, end)
        words[last] = toward
    loud = sorted((word for word in words if words[word] > 0), key=words.__getitem__, reverse=True)
    return sorted(loud[:MAX_WORDS])

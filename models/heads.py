"""Turns hidden states into tags: sentiment, topics, and the sentence that decided; next: worker.py, which serves them.

The sentiment head is linear on the mean of the token rows. So the logit "negative minus positive" is exactly a sum of
one number a token, and a sentence's share of the verdict is the sum over its tokens: no second pass, no estimate.
"""

from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor

from groundswell.errors import BrokenModel
from groundswell.tagging import Span, Tag, Text
from models import catalog, sentences
from models.catalog import Config, Language
from models.encoder import Encoder, Tokens, Weights, tokenize
from models.labels import MAX_TOPICS, OTHER_TOPIC, SENTIMENTS

Floats = NDArray[np.float32]
NEGATIVE, NEUTRAL, POSITIVE = range(3)

NOTHING_TO_READ = Tag(0.0, 1.0, 0.0, True, [(OTHER_TOPIC, 1.0)], None, 0, False)


class Tagger:
    """A loaded model: texts in, tags out. Holds torch tensors; lives in the model process only."""

    def __init__(self, config: Config, tokenizer: Tokenizer, weights: Weights) -> None:
        self.config = config
        self.tokenizer = tokenizer
        # Rows of the head by label name: a model may order its labels as it likes.
        order = [config.sentiments.index(name) for name in SENTIMENTS]
        self.sentiment = weights.pop("sentiment.weight").float()[order], weights.pop("sentiment.bias").float()[order]
        self.topics = weights.pop("topics.weight").float(), weights.pop("topics.bias").float()
        self.shifts = {name: np.array(language.bias, np.float32)[order] for name, language in config.languages.items()}
        self.encoder = Encoder(config, weights)

    @classmethod
    def load(cls, folder: Path) -> "Tagger":
        """Check and read a model folder. Raises BrokenModel, which says what does not fit."""
        config = catalog.check(folder)
        try:
            tokenizer = Tokenizer.from_file(str(folder / catalog.TOKENIZER))
        except Exception as error:  # the tokenizers library raises bare Exception
            raise BrokenModel(f"{folder / catalog.TOKENIZER} cannot be read: {error}.") from error
        if tokenizer.get_vocab_size() != config.vocabulary:
            raise BrokenModel(
                f"{folder / catalog.TOKENIZER} has {tokenizer.get_vocab_size()} pieces, not {config.vocabulary}."
            )
        weights = load_file(folder / catalog.WEIGHTS)
        scale = weights.pop("embeddings.word.scale")
        weights["embeddings.word"] = weights["embeddings.word"].float() * scale.float()[:, None]
        for name, tensor in weights.items():
            if not torch.isfinite(tensor).all():
                raise BrokenModel(f"{folder / catalog.WEIGHTS}: {name} holds a value that is not finite.")
        return cls(config, tokenizer, weights)

    def tag(self, texts: Sequence[Text]) -> list[Tag]:
        """One tag a text, in order."""
        tags = [NOTHING_TO_READ] * len(texts)
        read = [tokenize(self.tokenizer, text.whole, self.config) for text in texts]
        full = [index for index, tokens in enumerate(read) if len(tokens.ids) > 2]
        for batch, lengths, hidden in self.encoder.encode([read[index].ids for index in full]):
            logits, topics, pulls = self.score(lengths, hidden)
            rows = zip(batch, logits, topics, np.split(pulls, np.cumsum(lengths)[:-1]), strict=True)
            for index, logit, topic, pull in rows:
                at = full[index]
                tags[at] = self.answer(texts[at], read[at], logit, topic, pull)
        return tags

    def score(self, lengths: Sequence[int], hidden: Tensor) -> tuple[Floats, Floats, Floats]:
        """Sentiment logits `[texts, 3]` before any language's shift, topic logits `[texts, topics]`, and each token's
        pull `[tokens]`: its exact share of its text's logit "negative minus positive"."""
        with torch.inference_mode():
            pooled = pool(hidden, lengths)
            weight, bias = self.sentiment
            logits = pooled @ weight.T + bias
            topics = pooled @ self.topics[0].T + self.topics[1]
            counts = torch.tensor(lengths, dtype=torch.float32).repeat_interleave(torch.tensor(lengths))
            pulls = (hidden @ (weight[NEGATIVE] - weight[POSITIVE]) + bias[NEGATIVE] - bias[POSITIVE]) / counts
        return logits.numpy(), topics.numpy(), pulls.numpy()

    def answer(self, text: Text, tokens: Tokens, logits: Floats, topics: Floats, pulls: Floats) -> Tag:
        name = text.lang if text.lang in self.config.languages else "other"
        fitted, shift = self.config.languages[name], self.shifts[name]
        p = calibrated(logits + shift, fitted)
        best = int(p.argmax())
        own = pulls + (shift[NEGATIVE] - shift[POSITIVE]) / len(pulls)
        negative, neutral, positive = (round(float(x), 3) for x in p)
        return Tag(
            negative,
            neutral,
            positive,
            unsure=bool(p[best] < fitted.unsure_under),
            topics=chosen(self.config, topics),
            deciding=deciding(text.whole, tokens.spans, own, best),
            tokens=len(tokens.ids),
            truncated=tokens.truncated,
        )


def pool(hidden: Tensor, lengths: Sequence[int]) -> Tensor:
    """The mean row of each text: `[rows, hidden]` and lengths to `[texts, hidden]`."""
    return torch.segment_reduce(hidden, "mean", lengths=torch.tensor(lengths), axis=0)


def calibrated(logits: Floats, fitted: Language) -> Floats:
    """Softmax of logits over the language's temperature, in the order of SENTIMENTS."""
    scaled = logits / fitted.temperature
    powers = np.exp(scaled - scaled.max())
    p: Floats = powers / powers.sum()
    return p


def chosen(config: Config, logits: Floats) -> list[tuple[str, float]]:
    """The likeliest topics that reach their thresholds, at most three; `other` when there is none."""
    p = 1 / (1 + np.exp(-logits.astype(np.float64)))
    ranked = sorted(zip(p, config.topics, config.topic_thresholds, strict=True), reverse=True)
    found = [(topic, round(float(x), 3)) for x, topic, threshold in ranked if x >= threshold]
    return found[:MAX_TOPICS] or [(OTHER_TOPIC, round(1 - max(p.tolist(), default=0.0), 3))]


def deciding(text: str, spans: Sequence[Span], pulls: Floats, verdict: int) -> Span | None:
    """The sentence with the largest pull towards the verdict; for a neutral text, with the largest pull either way."""
    found = sentences.split(text)
    if len(found) < 2:
        return found[0] if found else None
    ends = [end for _, end in found]
    sums = np.zeros(len(found))
    for (start, end), pull in zip(spans, pulls, strict=True):
        if end > start:
            sums[min(bisect_left(ends, end), len(ends) - 1)] += pull
    if verdict == NEUTRAL:
        return found[int(np.abs(sums).argmax())]
    return found[int((sums if verdict == NEGATIVE else -sums).argmax())]

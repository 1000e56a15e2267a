"""Makes the texts that the tagger's benchmark reads: never the same twice, own-written, as long as texts in the wild are.

A text is sentences of models/rows with names filled in, joined until a length drawn from quantiles measured on public
sets is reached, and cut there. Or the texts of a file, in its order. Next: tagger_rounds.py, which deals them out.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from itertools import islice, pairwise

from tokenizers import Tokenizer

from groundswell import feed, language
from groundswell.errors import Misconfigured
from groundswell.tagging import Span, Text
from groundswell.text import normalise
from models.catalog import Config
from models.learn import rows
from models.learn.rows import Row

# (share of texts, tokens with both special ones). p50, p90 and p99 are measured: English tweets about shares (20,000 of
# StockNet) and Chinese investors' posts (FinFE); the other three points are set so that the means are met, 42 and 24.
LENGTHS: dict[str, list[tuple[float, int]]] = {
    "en": [(0.0, 6), (0.1, 26), (0.5, 42), (0.9, 58), (0.99, 71), (1.0, 85)],
    "zh": [(0.0, 4), (0.1, 8), (0.5, 19), (0.9, 44), (0.99, 62), (1.0, 80)],
}
JOINED = {"en": " ", "zh": ""}
SPECIAL_TOKENS = 2

Source = Iterator[Text]


class TooFewTexts(Misconfigured):
    """The file has fewer texts than the benchmark reads: none is read twice, since repeats flatter every runner."""

    reason = "too_few_texts"
    remedy = "Give a file with more texts, measure less (--rounds, --window), or leave --texts out."


def own(tokenizer: Tokenizer, config: Config, seed: int) -> Source:
    """Endless distinct texts, Chinese and English in turn by chance; the same for the same seed. The places asked for
    are those whose polarity the rows know."""
    rng = random.Random(seed)
    known = {lang: (rows.load(lang), rows.slots(lang)) for lang in LENGTHS}
    seen: set[str] = set()
    while True:
        lang = rng.choice(sorted(known))
        wanted = max(min(length_at(LENGTHS[lang], rng.random()), config.max_tokens) - SPECIAL_TOKENS, 1)
        text = compose(tokenizer, *known[lang], JOINED[lang], wanted, rng, lang)
        if text.text not in seen:
            seen.add(text.text)
            yield text


def compose(
    tokenizer: Tokenizer, sentences: Sequence[Row], slots: dict[str, dict[str, list[str]]], joint: str,
    wanted: int, rng: random.Random, lang: str,
) -> Text:  # fmt: skip
    """Sentences in chance order until `wanted` tokens are reached, cut to just so many."""
    whole, places, tokens = "", list[Span](), 0
    while tokens < wanted:
        filled = rows.fill(rng.choice(sentences), slots, "train", rng)
        start = len(whole) + len(joint) if whole else 0
        whole = f"{whole}{joint}{filled.text}" if whole else filled.text
        places += [(start + a, start + b) for (a, b), _ in filled.targets]
        tokens = len(tokenizer.encode(whole, add_special_tokens=False))
    text = cut(tokenizer, whole, wanted)
    return Text(text, lang=lang, spans=[span for span in places if span[1] <= len(text)])


def from_file(path: str, tokenizer: Tokenizer, config: Config) -> Source:
    """The distinct texts of a file, normalised as ingest does, cut to one window so that every runner reads the same
    tokens. Raises BadFile, and TooFewTexts when it ends."""
    seen: set[str] = set()
    for line in feed.read(path, {}):
        fields = line.fields or {}
        said = "\n".join(str(fields[part]) for part in ("title", "text") if fields.get(part))
        text = cut(tokenizer, normalise(said), config.max_tokens - SPECIAL_TOKENS)
        if text and text not in seen:
            seen.add(text)
            yield Text(text, lang=language.language(text))
    raise TooFewTexts(f"{path} has only {len(seen):,} distinct texts.")


def window(source: Source, texts: int) -> list[Text]:
    return list(islice(source, texts))


def cut(tokenizer: Tokenizer, text: str, tokens: int) -> str:
    """The beginning of `text` that holds at most `tokens` tokens."""
    while True:
        encoding = tokenizer.encode(text, add_special_tokens=False)
        # A cut may split the last piece in two: then once more, a little shorter.
        if len(encoding) <= tokens:
            return text
        text = text[: min(encoding.offsets[tokens - 1][1], len(text) - 1)].rstrip()


def length_at(quantiles: Sequence[tuple[float, int]], share: float) -> int:
    """The length under which `share` of the texts lie, straight between the points of `quantiles`."""
    for (low, short), (high, long) in pairwise(quantiles):
        if share <= high:
            return round(short + (long - short) * (share - low) / (high - low))
    return quantiles[-1][1]


def lengths(tokenizer: Tokenizer, texts: Sequence[Text]) -> list[int]:
    """Tokens of each text with both special ones."""
    each = tokenizer.encode_batch_fast([text.whole for text in texts], add_special_tokens=False)
    return [len(encoding) + SPECIAL_TOKENS for encoding in each]


def described(found: Sequence[int], batch: int = 32) -> dict[str, float]:
    """What a reader needs to know of the texts: their lengths in tokens, and how much of a batch in order of arrival
    is padding."""
    ranked = sorted(found)
    quantile: Callable[[float], int] = lambda share: ranked[min(int(share * len(ranked)), len(ranked) - 1)]  # noqa: E731
    padded = sum(len(part) * max(part) for n in range(0, len(found), batch) if (part := found[n : n + batch]))
    return {
        "texts": len(found),
        "tokens_mean": round(sum(found) / len(found), 1),
        "tokens_p50": quantile(0.5),
        "tokens_p90": quantile(0.9),
        "tokens_p99": quantile(0.99),
        "padding_share_in_order_of_arrival": round(1 - sum(found) / padded, 3),
    }

"""A transformers sequence classifier as a tagger: the same answers as heads.py, as far as it can give them.

It knows the sentiment of a text and nothing else. So its one topic is `other`, it names no words, a company is judged
by the sentence that holds its first mention, and the sentence that decides is the one that by itself speaks most for
the verdict. Probabilities are the model's own, not calibrated. Bodies of the BERT family run on our encoder
(packed_classifier.py), all others in transformers. Only models/worker.py's process loads this file.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import structlog
import torch
import transformers
from numpy.typing import NDArray
from torch import Tensor

from groundswell.errors import BrokenModel
from groundswell.tagging import Polarity, Span, Tag, Text
from models import classifier_folder, linear, sentences
from models.batching import fill
from models.catalog import Language
from models.classifier_folder import Facts
from models.heads import NOTHING_TO_READ, polarity
from models.labels import OTHER_TOPIC, SENTIMENTS
from models.packed import BUDGET_TOKENS, MAX_SEQUENCES
from models.packed_classifier import NotPackable, PackedClassifier, packed

Floats = NDArray[np.float32]

log = structlog.get_logger(stage="model")

MAX_TOKENS = 512
# Sentences of one text that are scored by themselves, those with a company first.
MAX_SENTENCES = 16
# Nothing is fitted for a model of somebody else: the default floor, and one that no answer reaches.
TRUSTED = Language([0.0] * 3, 1.0, unsure_under=0.55)
UNTRUSTED = Language([0.0] * 3, 1.0, unsure_under=1.1)
_CHARACTERS_A_TOKEN = 8
_PAD_TO = 8  # few matrix shapes: oneDNN compiles a kernel for each
_SAMPLES = ("The company reported a heavy loss, and its shares fell.", "公司业绩大幅增长，股价创新高。", "OK")


class Classifier:
    """A loaded classifier: texts in, tags out. Every answer is unsure in a language that `config` does not name."""

    def __init__(self, facts: Facts, tokenizer: Any, model: Any, device: str = "cpu") -> None:
        self.config = facts
        self.tokenizer = tokenizer
        self.device = device
        # Two positions less than there are: some models begin to count at their padding's number.
        positions = getattr(model.config, "max_position_embeddings", None) or MAX_TOKENS + 2
        room = min(MAX_TOKENS, int(positions) - 2, int(tokenizer.model_max_length))
        self.max_tokens = max(_PAD_TO, room // _PAD_TO * _PAD_TO)
        self.model: Any = None
        self.packed: PackedClassifier | None = None
        samples = tokenizer(list(_SAMPLES), truncation=True, max_length=self.max_tokens)["input_ids"]
        try:
            self.packed = packed(model, samples, threads=torch.get_num_threads(), device=device)
        except NotPackable as reason:
            self.why = f"it has {reason}"
            self.model = model.to(device)
            log.warning("this model runs in transformers, which is slower", model=facts.name, why=self.why)

    @classmethod
    def load(cls, folder: Path, device: str = "cpu") -> "Classifier":
        """Check and read a folder, from this machine only. Raises BrokenModel, which says what does not fit."""
        facts = classifier_folder.read(folder)
        dtype = linear.chosen("auto", 768, 768).dtype
        here: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        try:
            with silent():
                tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **here)
                model, loaded = transformers.AutoModelForSequenceClassification.from_pretrained(
                    folder, use_safetensors=True, dtype=dtype, output_loading_info=True, **here
                )
        except Exception as error:  # the library raises whatever it stumbles over
            raise BrokenModel(f"{folder} cannot be loaded: {str(error)[:300]}") from error
        if missing := sorted(loaded["missing_keys"]):
            raise BrokenModel(
                f"{folder} has no weights for {missing[0]} ({len(missing)} tensors missing): it was not trained to classify.",
                remedy="Choose a model fine-tuned for sentiment, not the body it was made from.",
            )
        for name, tensor in model.named_parameters():
            if not torch.isfinite(tensor).all():
                raise BrokenModel(f"{folder}: {name} holds a value that is not finite.")
        if tokenizer.pad_token_id is None:
            raise BrokenModel(f"{folder}: its tokenizer has no padding token, so texts cannot be read in batches.")
        if len(tokenizer) > model.get_input_embeddings().num_embeddings:
            raise BrokenModel(f"{folder}: its tokenizer has more pieces than the model; they do not belong together.")
        return cls(classifier_folder.hashed(facts, folder), tokenizer, model.eval(), device)

    def describe(self) -> str:
        if self.packed:
            return self.packed.encoder.describe()
        return f"{str(self.model.dtype).removeprefix('torch.')} in transformers, not packed: {self.why}"

    def warm_up(self) -> None:
        if self.packed:
            self.packed.encoder.warm_up()

    def trust(self, languages: Sequence[str]) -> None:
        """From now on answers in these languages may be sure."""
        self.config = msgspec.structs.replace(self.config, languages=list(languages))

    def tag(self, texts: Sequence[Text]) -> list[Tag]:
        """One tag a text, in order."""
        p, tokens, truncated = self.score([text.whole for text in texts])
        verdicts = [self.polarity(row, text.lang) for row, text in zip(p, texts, strict=True)]
        split = [sentences.split(text.whole) for text in texts]
        asked = [
            (n, span)
            for n, (text, verdict) in enumerate(zip(texts, verdicts, strict=True))
            for span in singled_out(split[n], text.spans, verdict)
        ]
        each, *_ = self.score([texts[n].whole[slice(*span)] for n, span in asked])
        alone: list[dict[Span, Floats]] = [{} for _ in texts]
        for (n, span), row in zip(asked, each, strict=True):
            alone[n][span] = row
        return [
            self.answer(text, verdicts[n], split[n], alone[n], tokens[n], truncated[n]) for n, text in enumerate(texts)
        ]

    def answer(
        self, text: Text, verdict: Polarity, found: list[Span], alone: dict[Span, Floats], tokens: int, truncated: bool
    ) -> Tag:
        """The tag of one text; `alone` are the probabilities of the sentences that were scored by themselves."""
        if not found:
            return msgspec.structs.replace(NOTHING_TO_READ, targets=[None] * len(text.spans))
        targets: list[Polarity | None] = []
        for span in text.spans:
            home = holder(found, span)
            scored = alone.get(home) if home else None
            targets.append(
                verdict if home and len(found) == 1 else None if scored is None else self.polarity(scored, text.lang)
            )
        deciding = found[0] if len(found) == 1 else None
        if alone and verdict.polarity != "neutral":
            said = SENTIMENTS.index(verdict.polarity)
            deciding = max(alone, key=lambda span: (alone[span][said], -span[0]))
        return Tag(
            verdict.negative, verdict.neutral, verdict.positive, verdict.unsure,
            topics=[(OTHER_TOPIC, 1.0)], deciding=deciding, tokens=tokens, truncated=truncated, targets=targets,
        )  # fmt: skip

    def polarity(self, p: Floats, lang: str) -> Polarity:
        return polarity(p, TRUSTED if lang in self.config.languages else UNTRUSTED)

    def score(self, texts: Sequence[str]) -> tuple[Floats, list[int], list[bool]]:
        """Probabilities `[texts, 3]` in the order of SENTIMENTS (0 for a neutral that the model does not know), the
        tokens read of each text, and whether it was cut."""
        p = np.zeros((len(texts), len(SENTIMENTS)), np.float32)
        if not texts:
            return p, [], []
        columns = [SENTIMENTS.index(name) for name in self.config.sentiments]
        # What cannot be read is dropped before it costs anything.
        reach = self.max_tokens * _CHARACTERS_A_TOKEN
        with silent():
            read = self.tokenizer([text[:reach] for text in texts], truncation=True, max_length=self.max_tokens)
            lengths = [len(ids) for ids in read["input_ids"]]
            logits = self.packed.logits(read["input_ids"]) if self.packed else self.padded(read, lengths)
        p[:, columns] = logits.softmax(-1).numpy()
        cut = [len(text) > reach or length >= self.max_tokens for text, length in zip(texts, lengths, strict=True)]
        return p, lengths, cut

    def padded(self, read: Any, lengths: Sequence[int]) -> Tensor:
        """Logits `[texts, labels]` by the model's own forward, on batches of texts of about one length."""
        answers = torch.empty(len(lengths), len(self.config.labels))
        for batch in fill(lengths, BUDGET_TOKENS, MAX_SEQUENCES):
            rows = self.tokenizer.pad(
                {key: [read[key][n] for n in batch] for key in read}, pad_to_multiple_of=_PAD_TO, return_tensors="pt"
            ).to(self.device)
            with torch.inference_mode():
                answers[batch] = self.model(**rows).logits.float().cpu()
        return answers


def singled_out(found: Sequence[Span], places: Sequence[Span], verdict: Polarity) -> list[Span]:
    """The sentences worth a look of their own: those that hold a mention, and all when the text takes a side."""
    if len(found) < 2:
        return []
    homes = [home for place in places if (home := holder(found, place))]
    rest = found if verdict.polarity != "neutral" else []
    return list(dict.fromkeys([*homes, *rest]))[:MAX_SENTENCES]


def holder(found: Sequence[Span], place: Span) -> Span | None:
    """The sentence in which a place begins."""
    n = bisect_right([start for start, _ in found], place[0]) - 1
    return found[n] if n >= 0 and place[0] < found[n][1] else None


@contextmanager
def silent() -> Iterator[None]:
    """Without the library's progress bars and hints: standard error is for what a person has to know."""
    settings = transformers.utils.logging
    level, bars = settings.get_verbosity(), settings.is_progress_bar_enabled()
    settings.set_verbosity(50)
    settings.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        settings.set_verbosity(level)
        if bars:
            settings.enable_progress_bar()  # type: ignore[no-untyped-call]

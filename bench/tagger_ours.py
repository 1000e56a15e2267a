"""Our own runners in the tagger's benchmark, and the limit they are held against; tagger_child.py runs them.

`ours` gives the answer that the peers give too (text in, sentiment out), with all heads of the one pass; `whole` gives
the whole tag: topics, companies, and the sentence that decided, which asks negative texts again. `limit` is the time of
the matrix products alone, on the same shapes: no runner on this processor can be faster without other arithmetic.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from bench.tagger_child import Answer, Made, Runner
from groundswell.tagging import Text
from models import catalog, stored, windows
from models.batching import grid
from models.encoder import Encoder, Weights
from models.heads import Reading, Tagger
from models.windows import Windows

HOMES: dict[str, dict[str, Any]] = {
    "ours": {},
    "ours_without_kernels": {"kernels": False},
    "ours_float32": {"numbers": "float32"},
}


def make(home: str, model: str) -> Made:
    """The runners of one home, and how its encoder computes."""
    torch.set_num_threads(1)
    config, tokenizer, weights = stored.load(catalog.locate(model))
    body = {name: tensor for name, tensor in weights.items() if name.startswith(("embeddings.", "layers."))}
    tagger = Tagger(config, tokenizer, weights)
    if HOMES[home]:
        tagger.encoder = Encoder(config, dict(body), threads=1, **HOMES[home])
    if hasattr(tagger.encoder, "warm_up"):
        tagger.encoder.warm_up()  # as a server does at its start
    facts: dict[str, Any] = {
        "version": config.version,
        "encoder": tagger.encoder.describe(),
        "torch": str(torch.__version__),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "amx": amx(),
    }
    made: dict[str, Runner] = {home: lambda texts: sentiment(tagger, texts)}
    if home == "ours":
        made["whole"] = lambda texts: whole(tagger, texts)
        made["tokenise"] = lambda texts: tokenised(tagger, texts)
        made |= apart(tagger, body)
    return made, facts


def amx() -> bool:
    try:
        return bool(torch.cpu._is_amx_tile_supported())  # noqa: SLF001
    except AttributeError:
        return False


def read(tagger: Tagger, texts: Sequence[Text]) -> list[Windows]:
    return [windows.read(tagger.tokenizer, text.whole, tagger.config) for text in texts]


def sentiment(tagger: Tagger, texts: Sequence[Text]) -> Answer:
    """Tokenise, one pass, all heads that need no place, the label."""
    cut = read(tagger, texts)
    found = tagger.readings(cut, [[]] * len(cut))
    labels: list[str] = []
    for text, read_of_it, readings in zip(texts, cut, found, strict=True):
        shift = tagger.shift(text.lang, read_of_it.parts, readings)
        labels.append(tagger.verdict(text, read_of_it, readings, shift).polarity)
    return Answer([soft(each) for each in found], labels)


def tokenised(tagger: Tagger, texts: Sequence[Text]) -> Answer:
    tokens = sum(each.tokens for each in read(tagger, texts))
    return Answer(extra={"tokens": tokens})


def soft(readings: Sequence[Reading]) -> list[float]:
    powers = np.exp(readings[0].logits - readings[0].logits.max())
    return [float(x) for x in powers / powers.sum()]


def apart(tagger: Tagger, weights: Weights) -> dict[str, Runner]:
    """`model` and `limit`: both get token ids for nothing, so these are made before the clock starts."""

    def model(texts: Sequence[Text]) -> Answer:
        cut = read(tagger, texts)
        cost = Clock()
        tagger.readings(cut, [[]] * len(cut))
        return Answer(extra=cost.read())

    def limit(texts: Sequence[Text]) -> Answer:
        heights = [
            grid(sum(lengths))
            for _, lengths, _ in tagger.encoder.encode(
                [part.ids for each in read(tagger, texts) for part in each.parts]
            )
        ]
        cost = Clock()
        products.run(heights)
        return Answer(extra=cost.read())

    products = Products(weights, tagger.encoder)
    return {"model": model, "limit": limit}


class Clock:
    """Processor and wall seconds since it was made."""

    def __init__(self) -> None:
        self.cpu_s, self.wall_s = time.process_time(), time.perf_counter()

    def read(self) -> dict[str, float]:
        return {"cpu_s": time.process_time() - self.cpu_s, "wall_s": time.perf_counter() - self.wall_s}


class Products:
    """The four matrix products of each layer with this model's weights, nothing between them."""

    def __init__(self, weights: Weights, encoder: Encoder) -> None:
        dtype = torch.bfloat16 if encoder.describe().startswith("bf") else torch.float32
        names = ("qkv", "attention_out", "up", "down")
        self.layers = [
            [
                product(weights[f"layers.{n}.{name}.weight"].to(dtype), weights[f"layers.{n}.{name}.bias"].to(dtype))
                for name in names
            ]
            for n in range(encoder.config.layers)
        ]
        inner, hidden = weights["layers.0.up.weight"].shape
        self.inputs = {width: torch.randn(16_384, width).to(dtype) for width in {hidden, inner}}
        self.widths = (hidden, hidden, hidden, inner)

    def run(self, heights: Sequence[int]) -> None:
        with torch.inference_mode():
            for height in heights:
                for layer in self.layers:
                    for width, multiply in zip(self.widths, layer, strict=True):
                        multiply(self.inputs[width][:height])


def product(weight: Tensor, bias: Tensor) -> Callable[[Tensor], Tensor]:
    """With the weight prepacked, as the fastest product of this torch goes; plain where that does not work."""
    try:
        packed = torch.ops.mkldnn._reorder_linear_weight(weight, 1_024)  # noqa: SLF001
        linear = torch.ops.mkldnn._linear_pointwise  # noqa: SLF001
        linear(torch.zeros(16, weight.shape[1], dtype=weight.dtype), packed, bias, "none", [], "")
    except (AttributeError, RuntimeError):
        return lambda x: functional.linear(x, weight, bias)
    return lambda x: linear(x, packed, bias, "none", [], "")


def whole(tagger: Tagger, texts: Sequence[Text]) -> Answer:
    """`Tagger.tag`, with the processor seconds of its parts: tokeniser, body, heads, and all the rest."""
    spent = dict.fromkeys(("tokeniser", "body", "heads"), 0.0)

    def watched(part: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **options: Any) -> Any:
            began = time.process_time()
            try:
                return call(*args, **options)
            finally:
                spent[part] += time.process_time() - began

        return run

    def batches(encode: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
        def run(*args: Any, **options: Any) -> Iterator[Any]:
            found = encode(*args, **options)
            step = watched("body", lambda: next(found, None))
            while (batch := step()) is not None:
                yield batch

        return run

    reader, encode, score = windows.read, tagger.encoder.encode, tagger.score
    windows.read = watched("tokeniser", reader)
    tagger.encoder.encode = batches(encode)  # type: ignore[method-assign]
    tagger.score = watched("heads", score)  # type: ignore[method-assign]
    began = time.process_time()
    try:
        tags = tagger.tag(texts)
    finally:
        windows.read = reader
        tagger.encoder.encode, tagger.score = encode, score  # type: ignore[method-assign]
    rest = time.process_time() - began - sum(spent.values())
    return Answer(labels=[tag.polarity for tag in tags], extra={**spent, "rest": rest})

"""A whole model folder small enough to make in a test: random weights, a dozen pieces."""

import hashlib
import json

import msgspec
import torch
from safetensors.torch import save_file

from models import catalog
from models.catalog import Config, Language
from models.labels import SENTIMENTS, TOPICS
from models.learn import body
from models.learn.sources import TWEET_TOPICS

PIECES = [
    "<s>",
    "<pad>",
    "</s>",
    "<unk>",
    "▁",
    *"abcdefgh",
    "▁profit",
    "▁fell",
    "▁loss",
    "▁good",
    "▁bad",
    *"坏好消息。",
]
ORDER_SWAPPED = ["positive", "negative", "neutral"]
NEUTRAL_FIT = Language([0.0] * 3, 1.0, 0.5)


def tiny_model(folder, order=SENTIMENTS, **changes):
    """Write a valid folder and return it; `changes` are laid over its config."""
    generator = torch.Generator().manual_seed(3)
    pieces = [(piece, -1.0 - index / 10) for index, piece in enumerate(PIECES)]
    tokenizer = body.tokenizer_of(pieces, 3)
    tokenizer.save(str(folder / catalog.TOKENIZER))
    config = Config(
        format=catalog.FORMAT, version="tiny", normaliser_version=1, sentiments=list(order), topics=list(TOPICS),
        topic_thresholds=[0.5] * len(TOPICS), languages={"other": NEUTRAL_FIT}, targets={"other": NEUTRAL_FIT},
        tweet_topics=list(TWEET_TOPICS), weights_sha256="",
        layers=2, heads=2, hidden=8, inner=16, vocabulary=len(PIECES), positions=64, layer_norm_eps=1e-5,
        bos_id=0, eos_id=2, max_tokens=32,
    )  # fmt: skip
    weights = {}
    for name, shape in catalog.expected_shapes(config).items():
        weights[name] = torch.randn(shape, generator=generator)
        if name == "embeddings.word":
            weights[name] = (weights[name] * 50).clamp(-127, 127).to(torch.int8)
    rows = [SENTIMENTS.index(name) for name in order]
    for name in ("sentiment.weight", "sentiment.bias", "target.down.weight", "target.down.bias"):
        weights[name] = weights[name][rows].contiguous()
    save_file(weights, folder / catalog.WEIGHTS)
    digest = hashlib.sha256((folder / catalog.WEIGHTS).read_bytes()).hexdigest()
    settled = msgspec.to_builtins(config) | {"weights_sha256": digest} | changes
    (folder / catalog.CONFIG).write_text(json.dumps(settled))
    return folder

"""Puts a transformers classifier of the BERT family on our own encoder; next: encoder.py, which runs it.

BERT, MiniLM, e5, RoBERTa and XLM-R are one design: the weights are the same matrices by other names. Whatever is not
exactly that design, or does not answer the same, keeps its own forward, and `refusal` says why. Only classifier.py
imports this file.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from models.encoder import Encoder, Weights

# Model types by how they read out: BERT pools the first token, the others have the same two layers in their head.
POOLED, HEADED = frozenset({"bert"}), frozenset({"roberta", "xlm-roberta"})
# bfloat16 moves a probability by 0.02 at most; another design moves them anywhere.
SAME_WITHIN = 0.06
LINEARS = {
    "attention.output.dense": "attention_out",
    "intermediate.dense": "up",
    "output.dense": "down",
    "attention.output.LayerNorm": "attention_norm",
    "output.LayerNorm": "out_norm",
}


class NotPackable(Exception):
    """The model is not of the one design; the text says in what."""


@dataclass(frozen=True)
class Shape:
    """What an encoder needs to know; see `encoder.Body`."""

    layers: int
    heads: int
    layer_norm_eps: float


class PackedClassifier:
    """A classifier's body on an encoder, and its head: token ids in, logits out."""

    def __init__(self, encoder: Encoder, dense: tuple[Tensor, Tensor], out: tuple[Tensor, Tensor]) -> None:
        self.encoder = encoder
        self._dense, self._out = dense, out

    def logits(self, texts: Sequence[Sequence[int]]) -> Tensor:
        """`[texts, labels]` in float32, for ids with their special tokens."""
        answers = torch.empty(len(texts), len(self._out[0]))
        with torch.inference_mode():
            for batch, lengths, hidden in self.encoder.encode(texts):
                sizes = torch.tensor(lengths)
                first = hidden[sizes.cumsum(0) - sizes]
                answers[batch] = functional.linear(functional.linear(first, *self._dense).tanh(), *self._out)
        return answers


def packed(model: Any, samples: Sequence[Sequence[int]], **encoder: Any) -> PackedClassifier:
    """`model`, a loaded sequence classifier, on an encoder made with the options `encoder`. Its answers to `samples`
    (token ids) are compared with its own forward. Raises NotPackable."""
    config = model.config
    if config.model_type not in POOLED | HEADED:
        raise NotPackable(f"a body of type {config.model_type}")
    if config.hidden_act != "gelu":
        raise NotPackable(f"the activation {config.hidden_act}")
    if (kind := getattr(config, "position_embedding_type", None) or "absolute") != "absolute":
        raise NotPackable(f"{kind} positions")
    if getattr(config, "is_decoder", False):
        raise NotPackable("a decoder")
    state = {name: tensor.detach() for name, tensor in model.state_dict().items()}
    weights = renamed(state, config)
    names = (
        ("bert.pooler.dense", "classifier")
        if config.model_type in POOLED
        else ("classifier.dense", "classifier.out_proj")
    )
    try:
        dense, out = ((state[f"{name}.weight"].float(), state[f"{name}.bias"].float()) for name in names)
    except KeyError as error:
        raise NotPackable(f"no tensor {error}") from error
    shape = Shape(config.num_hidden_layers, config.num_attention_heads, config.layer_norm_eps)
    made = PackedClassifier(Encoder(shape, weights, **encoder), dense, out)
    apart = difference(model, made, samples)
    if not apart <= SAME_WITHIN:  # NaN is not
        raise NotPackable(f"answers that differ by {apart:.2f} from its own forward")
    return made


def renamed(state: Mapping[str, Tensor], config: Any) -> Weights:
    """The body's weights by our names. Raises NotPackable when one is missing or left over."""
    prefix = "bert." if config.model_type in POOLED else "roberta."
    left = {
        name.removeprefix(prefix): tensor
        for name, tensor in state.items()
        if name.startswith(prefix) and not name.startswith(prefix + "pooler.") and tensor.is_floating_point()
    }
    # RoBERTa counts positions from the one after its padding's number.
    first = config.pad_token_id + 1 if config.model_type in HEADED else 0
    try:
        # A classifier's texts are all of the first token type, so that is part of the position table.
        position = left.pop("embeddings.position_embeddings.weight")[first:]
        weights = {
            "embeddings.word": left.pop("embeddings.word_embeddings.weight"),
            "embeddings.position": position.float() + left.pop("embeddings.token_type_embeddings.weight")[0].float(),
        }
        for part in ("weight", "bias"):
            weights[f"embeddings.norm.{part}"] = left.pop(f"embeddings.LayerNorm.{part}")
            for n in range(config.num_hidden_layers):
                of, to = f"encoder.layer.{n}.", f"layers.{n}."
                weights[f"{to}qkv.{part}"] = torch.cat(
                    [left.pop(f"{of}attention.self.{name}.{part}") for name in ("query", "key", "value")]
                )
                for theirs, ours in LINEARS.items():
                    weights[f"{to}{ours}.{part}"] = left.pop(f"{of}{theirs}.{part}")
    except KeyError as error:
        raise NotPackable(f"no tensor {error}") from error
    if left:
        raise NotPackable(f"the tensor {min(left)}")
    return weights


def difference(model: Any, made: PackedClassifier, samples: Sequence[Sequence[int]]) -> float:
    """How far two probabilities for a sample are apart at most."""
    with torch.inference_mode():
        own = torch.cat([model(input_ids=torch.tensor([list(ids)])).logits.float() for ids in samples])
        return float((own.softmax(-1) - made.logits(samples).softmax(-1)).abs().max())

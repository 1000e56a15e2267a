"""Runs the body: token ids in, hidden states out, in plain torch on packed rows; next: heads.py.

A batch is one matrix of token rows with no padding between texts. Linear layers see all rows at once; attention runs
once per distinct length, on views of the same rows, which is exact and needs no mask. Training and serving share
`forward`.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from models.batching import fill, grid
from models.catalog import Config

BUDGET_TOKENS = 1_024
MAX_SEQUENCES = 256

Weights = dict[str, Tensor]


class Shape(Protocol):
    """What `forward` needs to know of the body; `catalog.Config` is one."""

    @property
    def layers(self) -> int: ...
    @property
    def heads(self) -> int: ...
    @property
    def layer_norm_eps(self) -> float: ...


def forward(
    weights: Weights, shape: Shape, ids: Tensor, lengths: Sequence[int], *, first_layer: int = 0, dropout: float = 0.0
) -> Tensor:
    """Hidden states `[rows, hidden]` of the last layer for packed `ids` `[rows]`.

    `lengths` must be grouped by value (sorted will do) and sum to at most `rows`; rows beyond the sum belong to no
    text and come out as noise. Layers under `first_layer` and the embeddings run without gradients.
    """
    with torch.set_grad_enabled(torch.is_grad_enabled() and first_layer == 0):
        positions = torch.cat([torch.arange(n) for n in lengths] + [torch.zeros(len(ids) - sum(lengths))]).int()
        word = functional.embedding(ids, weights["embeddings.word"])
        x = word + functional.embedding(positions, weights["embeddings.position"])
        x = normalised(weights, "embeddings.norm", x, shape.layer_norm_eps)
    for n in range(shape.layers):
        with torch.set_grad_enabled(torch.is_grad_enabled() and n >= first_layer):
            p = dropout if n >= first_layer else 0.0
            x = layer(weights, n, shape, x, lengths=lengths, dropout=p)
    return x


def layer(
    weights: Weights, number: int, shape: Shape, x: Tensor, *, lengths: Sequence[int], dropout: float = 0.0
) -> Tensor:
    """One post-norm transformer layer, as in BERT."""
    at, eps = f"layers.{number}.", shape.layer_norm_eps
    attended = attend(linear(weights, at + "qkv", x), lengths, shape.heads)
    attended = functional.dropout(linear(weights, at + "attention_out", attended), dropout, training=dropout > 0)
    x = normalised(weights, at + "attention_norm", x + attended, eps)
    inner = functional.gelu(linear(weights, at + "up", x))
    inner = functional.dropout(linear(weights, at + "down", inner), dropout, training=dropout > 0)
    return normalised(weights, at + "out_norm", x + inner, eps)


def attend(qkv: Tensor, lengths: Sequence[int], heads: int) -> Tensor:
    """Softmax attention inside each text; `qkv` is `[rows, 3 x hidden]`, the answer `[rows, hidden]`."""
    rows, width = qkv.shape
    hidden = width // 3
    answers, start = [], 0
    for length, same in groupby(lengths):
        count = len(list(same))
        end = start + count * length
        q, k, v = qkv[start:end].view(count, length, 3, heads, hidden // heads).permute(2, 0, 3, 1, 4)
        # Spelled out, since texts are short: torch's fused attention takes 2 x as long here, 5 x with gradients.
        scores = torch.matmul(q * (hidden // heads) ** -0.5, k.transpose(-1, -2))
        mixed = torch.matmul(scores.softmax(-1), v)
        answers.append(mixed.transpose(1, 2).reshape(count * length, hidden))
        start = end
    if start < rows:
        answers.append(qkv.new_zeros(rows - start, hidden))
    return torch.cat(answers)


def linear(weights: Weights, name: str, x: Tensor) -> Tensor:
    return functional.linear(x, weights[name + ".weight"], weights[name + ".bias"])


def normalised(weights: Weights, name: str, x: Tensor, eps: float) -> Tensor:
    return functional.layer_norm(x, x.shape[-1:], weights[name + ".weight"], weights[name + ".bias"], eps)


class Encoder:
    """The body ready to serve: weights in the fastest number format of this machine, a batch at a time."""

    def __init__(self, config: Config, weights: Weights) -> None:
        self.config = config
        dtype = torch.bfloat16 if fast_bfloat16() else torch.float32
        self.weights = {name: tensor.to(dtype) for name, tensor in weights.items()}

    def encode(self, texts: Sequence[Sequence[int]]) -> Iterator[tuple[list[int], list[int], Tensor]]:
        """Yield batches `(indices into texts, their lengths, hidden states [sum of lengths, hidden] in float32)`.

        Each text is in exactly one batch; its rows follow each other in the order of the indices.
        """
        lengths = [len(ids) for ids in texts]
        for batch in fill(lengths, BUDGET_TOKENS, MAX_SEQUENCES):
            flat = [token for index in batch for token in texts[index]]
            rows = torch.zeros(grid(len(flat)), dtype=torch.int32)
            rows[: len(flat)] = torch.tensor(flat, dtype=torch.int32)
            sizes = [lengths[index] for index in batch]
            with torch.inference_mode():
                hidden = forward(self.weights, self.config, rows, sizes)[: len(flat)].float()
            yield batch, sizes, hidden


def fast_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 in hardware; where it does not, float32 is faster."""
    try:
        return bool(torch.cpu._is_avx512_bf16_supported())  # noqa: SLF001
    except AttributeError:
        return False

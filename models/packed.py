"""Runs the body for serving: packed rows in, hidden states out, as fast as this processor can; next: gpu.py.

The same layers as `encoder.forward`, which training uses and tests compare with, but with weights laid out once
(linear.py), attention and add + LayerNorm by our own kernels (kernels.py) where they were built, and matrix heights from
the shape grid. Without kernels, attention runs once per distinct length, so equal lengths must follow each other.
"""

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from models.attention import attend
from models.batching import grid, grid_sizes
from models.kernels import HEAD_SIZES, LANES, MAX_HIDDEN, Kernels
from models.linear import Format, Linear

Ints = NDArray[np.int32]

BUDGET_TOKENS = 1_024
MAX_SEQUENCES = 256


class Norm(NamedTuple):
    """Weight and bias, float32 for the own kernel, else of the format's type."""

    weight: Tensor
    bias: Tensor


class Layer(NamedTuple):
    qkv: Linear
    attention_out: Linear
    attention_norm: Norm
    up: Linear
    down: Linear
    out_norm: Norm


class Packed:
    """The body on the processor. `kernels` None: torch alone."""

    budget_tokens, max_sequences, ahead = BUDGET_TOKENS, MAX_SEQUENCES, 0

    def __init__(
        self, weights: dict[str, Tensor], layers: int, heads: int, eps: float, format_: Format, kernels: Kernels | None
    ) -> None:
        self.heads, self.eps, self.format = heads, eps, format_
        self.word = weights["embeddings.word"].to(format_.dtype).contiguous()
        self.position = weights["embeddings.position"].to(format_.dtype).contiguous()
        self.hidden = self.word.shape[1]
        fits = self.hidden % LANES == 0 and self.hidden <= MAX_HIDDEN
        self.kernels = kernels if fits and self.hidden // heads in HEAD_SIZES else None
        norms = torch.float32 if self.kernels else format_.dtype

        def norm(name: str) -> Norm:
            return Norm(*(weights[f"{name}.{part}"].to(norms).contiguous() for part in ("weight", "bias")))

        def product(name: str) -> Linear:
            return Linear(weights[name + ".weight"], weights[name + ".bias"], format_)

        self.norm = norm("embeddings.norm")
        self.layers = [
            Layer(
                product(at + "qkv"), product(at + "attention_out"), norm(at + "attention_norm"),
                product(at + "up"), product(at + "down"), norm(at + "out_norm"),
            )
            for at in (f"layers.{n}." for n in range(layers))
        ]  # fmt: skip

    def describe(self) -> str:
        return f"{self.format}, {f'own kernels ({self.kernels.level})' if self.kernels else 'torch alone'}"

    def vocabulary(self) -> tuple[int, int]:
        """How many pieces and positions the tables hold."""
        return len(self.word), len(self.position)

    @staticmethod
    def height(tokens: int) -> int:
        return grid(tokens)

    def launch(self, ids: Ints, positions: Ints, lengths: Sequence[int]) -> Callable[[], Tensor]:
        """`run`, done at once: there is nothing to overlap with."""
        return self.run(ids, positions, lengths).float

    def run(self, ids: Ints, positions: Ints, lengths: Sequence[int]) -> Tensor:
        """Hidden states `[rows, hidden]` of the last layer for `ids` and `positions`, both `[rows]`; text after text,
        of these lengths. Rows beyond their sum are nobody's and mean nothing."""
        with torch.inference_mode():
            x = self.embedded(torch.from_numpy(ids), torch.from_numpy(positions))
            starts = torch.tensor([0, *accumulate(lengths)], dtype=torch.int32)
            for layer in self.layers:
                x = self.through(layer, x, starts, lengths)
            return x

    def through(self, layer: Layer, x: Tensor, starts: Tensor, lengths: Sequence[int]) -> Tensor:
        """One post-norm layer."""
        attended = layer.attention_out(self.attend(layer.qkv(x), starts, lengths))
        x = self.add_norm(x, attended, layer.attention_norm)
        return self.add_norm(x, layer.down(layer.up(x, gelu=True)), layer.out_norm)

    def embedded(self, ids: Tensor, positions: Tensor) -> Tensor:
        if self.kernels:
            return self.add_norm(self.word, self.position, self.norm, ids, positions)
        word, position = functional.embedding(ids, self.word), functional.embedding(positions, self.position)
        return self.add_norm(word, position, self.norm)

    def attend(self, qkv: Tensor, starts: Tensor, lengths: Sequence[int]) -> Tensor:
        """Attention inside each text: `[rows, 3 x hidden]` to `[rows, hidden]`, zero for the rows of nobody."""
        if not self.kernels:
            # In float32, since batches of small bfloat16 matrices are slow in torch: 8 % of all the time.
            return attend(qkv.float(), lengths, self.heads).to(qkv.dtype)
        out = qkv.new_empty(len(qkv), self.hidden)
        out[sum(lengths) :].zero_()
        self.kernels.attend(
            qkv.dtype == torch.bfloat16, qkv.data_ptr(), out.data_ptr(), starts.data_ptr(), lengths,
            self.heads, self.hidden // self.heads,
        )  # fmt: skip
        return out

    def add_norm(
        self, x: Tensor, y: Tensor, norm: Norm, x_at: Tensor | None = None, y_at: Tensor | None = None
    ) -> Tensor:
        """LayerNorm of `x + y`, or of their rows `x_at` and `y_at` (own kernels only)."""
        if not self.kernels:
            return functional.layer_norm(x + y, (self.hidden,), norm.weight, norm.bias, self.eps)
        rows = len(x) if x_at is None else len(x_at)
        out = x.new_empty(rows, self.hidden)
        self.kernels.add_norm(
            x.dtype == torch.bfloat16,
            (x.data_ptr(), None if x_at is None else x_at.data_ptr()),
            (y.data_ptr(), None if y_at is None else y_at.data_ptr()),
            (norm.weight.data_ptr(), norm.bias.data_ptr()),
            out.data_ptr(), rows, self.hidden, self.eps,
        )  # fmt: skip
        return out

    def warm_up(self) -> None:
        """Meet every height of the grid once: one that oneDNN has not seen costs milliseconds."""
        with torch.inference_mode():
            for rows in grid_sizes(BUDGET_TOKENS):
                x = torch.zeros(rows, self.hidden, dtype=self.format.dtype)
                starts = torch.tensor([0, 2], dtype=torch.int32)
                self.through(self.layers[0], x, starts, [2])

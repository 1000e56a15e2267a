"""The body: token ids in, hidden states out. `forward` is for training, `Encoder` for serving; next: packed.py.

A batch is one matrix of token rows with no padding between texts. Linear layers see all rows at once; attention stays
inside each text, which needs no mask.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from models import kernels, linear
from models.attention import attend
from models.batching import fill
from models.kernels import Kernels, NoKernels
from models.linear import Numbers
from models.packed import Ints, Packed

Weights = dict[str, Tensor]


class Body(Protocol):
    """What one needs to know of the body; `catalog.Config` is one."""

    @property
    def layers(self) -> int: ...
    @property
    def heads(self) -> int: ...
    @property
    def layer_norm_eps(self) -> float: ...


def forward(
    weights: Weights, shape: Body, ids: Tensor, lengths: Sequence[int], *, first_layer: int = 0, dropout: float = 0.0
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
    weights: Weights, number: int, shape: Body, x: Tensor, *, lengths: Sequence[int], dropout: float = 0.0
) -> Tensor:
    """One post-norm transformer layer, as in BERT."""
    at, eps = f"layers.{number}.", shape.layer_norm_eps
    attended = attend(product(weights, at + "qkv", x), lengths, shape.heads)
    attended = functional.dropout(product(weights, at + "attention_out", attended), dropout, training=dropout > 0)
    x = normalised(weights, at + "attention_norm", x + attended, eps)
    inner = functional.gelu(product(weights, at + "up", x))
    inner = functional.dropout(product(weights, at + "down", inner), dropout, training=dropout > 0)
    return normalised(weights, at + "out_norm", x + inner, eps)


def product(weights: Weights, name: str, x: Tensor) -> Tensor:
    return functional.linear(x, weights[name + ".weight"], weights[name + ".bias"])


def normalised(weights: Weights, name: str, x: Tensor, eps: float) -> Tensor:
    return functional.layer_norm(x, x.shape[-1:], weights[name + ".weight"], weights[name + ".bias"], eps)


class Runner(Protocol):
    """Where a body runs: packed.py on the processor, gpu.py on a device. `ahead` batches are begun before one is read."""

    budget_tokens: int
    max_sequences: int
    ahead: int

    def describe(self) -> str: ...
    def vocabulary(self) -> tuple[int, int]: ...
    def height(self, tokens: int) -> int: ...
    def warm_up(self) -> None: ...
    def launch(self, ids: Ints, positions: Ints, lengths: Sequence[int]) -> Callable[[], Tensor]: ...


class Encoder:
    """The body ready to serve: weights in the fastest number format of this machine, a batch at a time.

    `numbers` "auto" is settled by a short measurement; `kernels` False, or none built, leaves attention to torch;
    `threads` split the work of the own kernels (torch has its own setting). All three are about the processor; a
    `device` "cuda:0" has its own ways.
    """

    def __init__(
        self,
        config: Body,
        weights: Weights,
        *,
        numbers: Numbers = "auto",
        kernels: bool = True,
        threads: int = 1,
        device: str = "cpu",
    ) -> None:
        self.config = config
        shape = config.layers, config.heads, config.layer_norm_eps
        self.runner: Runner
        if device == "cpu":
            inner, hidden = weights["layers.0.up.weight"].shape
            own = own_kernels(threads) if kernels else None
            self.runner = Packed(weights, *shape, linear.chosen(numbers, hidden, inner), own)
        else:
            from models.gpu import Gpu

            self.runner = Gpu(weights, *shape, device)

    def describe(self) -> str:
        """How this encoder computes, for the log, the hello and whoever compares: "bf16 prepacked, own kernels (avx2)"."""
        return self.runner.describe()

    def warm_up(self) -> None:
        """Meet every batch height once, so that no text has to wait for what is done at the first of its kind."""
        self.runner.warm_up()

    def encode(self, texts: Sequence[Sequence[int]]) -> Iterator[tuple[list[int], list[int], Tensor]]:
        """Yield batches `(indices into texts, their lengths, hidden states [sum of lengths, hidden] in float32)`.

        Each text is in exactly one batch; its rows follow each other in the order of the indices. Raises ValueError
        for empty texts, ids beyond the vocabulary and texts with more tokens than there are positions.
        """
        lengths = [len(ids) for ids in texts]
        begun: deque[tuple[list[int], list[int], Callable[[], Tensor]]] = deque()
        for batch in fill(lengths, self.runner.budget_tokens, self.runner.max_sequences):
            sizes = [lengths[index] for index in batch]
            begun.append((batch, sizes, self.launch([texts[index] for index in batch], sizes)))
            if len(begun) > self.runner.ahead:
                yield read(*begun.popleft())
        while begun:
            yield read(*begun.popleft())

    def launch(self, texts: Sequence[Sequence[int]], sizes: Sequence[int]) -> Callable[[], Tensor]:
        """Begin one batch; rows above the texts' own are filled with piece 0 and belong to nobody."""
        tokens = sum(sizes)
        ids, positions = (np.zeros(self.runner.height(tokens), np.int32) for _ in range(2))
        ids[:tokens] = np.fromiter(chain.from_iterable(texts), np.int32, tokens)
        positions[:tokens] = np.arange(tokens) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        pieces, most = self.runner.vocabulary()
        # The kernels read their tables unchecked.
        if ids.min() < 0 or ids.max() >= pieces:
            raise ValueError(f"an id outside the vocabulary of {pieces} pieces")
        if not 0 < min(sizes) <= max(sizes) <= most:
            raise ValueError(f"a text of {min(sizes)} or {max(sizes)} tokens, for {most} positions")
        return self.runner.launch(ids, positions, sizes)


def read(batch: list[int], sizes: list[int], hidden: Callable[[], Tensor]) -> tuple[list[int], list[int], Tensor]:
    return batch, sizes, hidden()[: sum(sizes)]


def own_kernels(threads: int = 1) -> Kernels | None:
    """Those of this processor, or None where they were not built."""
    try:
        return kernels.load(threads)
    except NoKernels:
        return None

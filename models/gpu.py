"""Runs the body on a CUDA device: the same packed rows as packed.py, launched ahead of the one who reads the answers.

Three things make short texts fast there, and each is left out alone where it is missing: torch's attention over texts
of different lengths, CUDA graphs (one launch instead of a hundred) and pinned memory, so that copies overlap. A graph
is bound to its shapes, so batches come in few heights, and rows of nobody are made texts of their own, which keeps
every row inside the offsets that attention was given. Never measured on a device by the project's own tests: those run
the same functions on the processor.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import structlog
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from models.attention import attend

Ints = NDArray[np.int32]
Weights = dict[str, Tensor]

log = structlog.get_logger(stage="model")

BUDGET_TOKENS = 16_384
MAX_SEQUENCES = 1_024
# Texts of a batch, its rows of nobody cut to texts, and spare zero-length ones, so that graphs have one size of offsets.
OFFSETS = 2 * MAX_SEQUENCES
SMALLEST = 256
# Attention is told the longest text; a graph is bound to what it was told.
LONGEST = (64, 128, 512)


@dataclass
class Graph:
    """A captured pass over `[rows]` ids, and the tensors that it reads and writes."""

    graph: torch.cuda.CUDAGraph
    ids: Tensor
    positions: Tensor
    starts: Tensor
    hidden: Tensor


class Gpu:
    """The body on one device. `device` "cpu" runs the same functions without graphs, for tests."""

    budget_tokens, max_sequences, ahead = BUDGET_TOKENS, MAX_SEQUENCES, 1

    def __init__(self, weights: Weights, layers: int, heads: int, eps: float, device: str) -> None:
        self.device = torch.device(device)
        self.weights = {name: tensor.to(self.device, torch.bfloat16) for name, tensor in weights.items()}
        self.layers, self.heads, self.eps = layers, heads, eps
        self.cuda = self.device.type == "cuda"
        self.varlen = self.cuda and has_varlen()
        self.graphs: dict[tuple[int, int], Graph] = {}
        self.use_graphs = self.varlen
        self.copies = torch.cuda.Stream(self.device) if self.cuda else None  # type: ignore[no-untyped-call]

    def describe(self) -> str:
        name = torch.cuda.get_device_name(self.device) if self.cuda else "cpu"
        attention = "varlen attention" if self.varlen else "attention by length"
        return f"bf16 on {name}, {attention}, {'CUDA graphs' if self.use_graphs else 'eager'}"

    @staticmethod
    def height(tokens: int) -> int:
        """The next of 256, 384, 512, 768, 1,024 ...: powers of two and the halves between them."""
        size = SMALLEST
        while size < tokens:
            size *= 2
        return size * 3 // 4 if size > SMALLEST and size * 3 // 4 >= tokens else size

    def vocabulary(self) -> tuple[int, int]:
        """How many pieces and positions the tables hold."""
        return len(self.weights["embeddings.word"]), len(self.weights["embeddings.position"])

    def warm_up(self) -> None:
        """Capture a graph for each height and each longest text that fits it."""
        sizes = {self.height(n) for n in range(1, BUDGET_TOKENS + 1, SMALLEST // 2)}
        for rows in sorted(sizes, reverse=True):
            for longest in LONGEST:
                if self.use_graphs and longest <= self.vocabulary()[1]:
                    self.captured(rows, longest)

    def launch(self, ids: Ints, positions: Ints, lengths: Sequence[int]) -> Callable[[], Tensor]:
        """Begin a pass over `ids` `[rows]`; the function waits for its hidden states `[rows, hidden]`, float32, here."""
        rows, tokens = len(ids), sum(lengths)
        longest = next((n for n in LONGEST if n >= max(lengths)), max(lengths))
        nobody = rows - tokens
        texts = [*lengths, *[longest] * (nobody // longest), *([nobody % longest] if nobody % longest else [])]
        offsets = [0, *accumulate(texts)]
        with torch.inference_mode():
            sent_ids, sent_positions = self.sent(torch.from_numpy(ids)), self.sent(torch.from_numpy(positions))
            if self.use_graphs and len(offsets) <= OFFSETS and (graph := self.captured(rows, longest)):
                offsets += [rows] * (OFFSETS - len(offsets))
                graph.ids.copy_(sent_ids)
                graph.positions.copy_(sent_positions)
                graph.starts.copy_(self.sent(torch.tensor(offsets, dtype=torch.int32)))
                graph.graph.replay()
                hidden = graph.hidden.clone()  # the next replay writes there again
            else:
                starts = self.sent(torch.tensor(offsets, dtype=torch.int32))
                hidden = self.forward(sent_ids, sent_positions, starts, longest, texts)
            return self.fetched(hidden)

    def forward(self, ids: Tensor, positions: Tensor, starts: Tensor, longest: int, texts: Sequence[int]) -> Tensor:
        """All layers; `texts` are the lengths, which only attention by length needs."""
        w = self.weights
        x = functional.embedding(ids, w["embeddings.word"])
        x = self.normalised("embeddings.norm", x, functional.embedding(positions, w["embeddings.position"]))
        for at in (f"layers.{n}." for n in range(self.layers)):
            qkv = self.linear(at + "qkv", x)
            mixed = self.attend(qkv, starts, longest) if self.varlen else attend(qkv, texts, self.heads)
            x = self.normalised(at + "attention_norm", x, self.linear(at + "attention_out", mixed))
            inner = functional.gelu(self.linear(at + "up", x))
            x = self.normalised(at + "out_norm", x, self.linear(at + "down", inner))
        return x

    def linear(self, name: str, x: Tensor) -> Tensor:
        return functional.linear(x, self.weights[name + ".weight"], self.weights[name + ".bias"])

    def normalised(self, name: str, x: Tensor, y: Tensor) -> Tensor:
        weight, bias = self.weights[name + ".weight"], self.weights[name + ".bias"]
        return functional.layer_norm(x + y, weight.shape, weight, bias, self.eps)

    def attend(self, qkv: Tensor, starts: Tensor, longest: int) -> Tensor:
        """Attention inside each text by torch. One split, so that company never changes an answer."""
        from torch.nn.attention.varlen import varlen_attn

        q, k, v = qkv.view(len(qkv), 3, self.heads, -1).unbind(1)
        mixed = varlen_attn(q, k, v, starts, starts, longest, longest, num_splits=1)
        assert isinstance(mixed, Tensor)
        return mixed.reshape(len(qkv), -1)

    def captured(self, rows: int, longest: int) -> Graph | None:
        """The graph of a shape, captured when it is first asked for; None, for good, when capturing fails."""
        if known := self.graphs.get((rows, longest)):
            return known
        zeros = torch.zeros(rows, dtype=torch.int32, device=self.device)
        ids, positions = zeros, zeros.clone()
        cuts = [*range(0, rows, longest), rows]
        starts = torch.tensor(cuts + [rows] * (OFFSETS - len(cuts)), dtype=torch.int32, device=self.device)
        try:
            side = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
            side.wait_stream(torch.cuda.current_stream(self.device))
            with torch.inference_mode(), torch.cuda.stream(side):
                for _ in range(2):  # libraries choose and allocate before a capture, not in it
                    self.forward(ids, positions, starts, longest, [])
            torch.cuda.current_stream(self.device).wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            with torch.inference_mode(), torch.cuda.graph(graph):
                hidden = self.forward(ids, positions, starts, longest, [])
        except RuntimeError as error:
            log.warning("no CUDA graphs on this device; each operation is launched by itself", cause=str(error)[:200])
            self.use_graphs = False
            return None
        self.graphs[rows, longest] = Graph(graph, ids, positions, starts, hidden)
        return self.graphs[rows, longest]

    def sent(self, x: Tensor) -> Tensor:
        """On the device; the copy overlaps with what runs there."""
        return x.pin_memory().to(self.device, non_blocking=True) if self.cuda else x

    def fetched(self, hidden: Tensor) -> Callable[[], Tensor]:
        """Start to copy back on a stream of its own; the function waits for that alone."""
        if self.copies is None:
            return hidden.float
        here = torch.empty(hidden.shape, dtype=hidden.dtype, pin_memory=True)
        self.copies.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(self.copies):
            here.copy_(hidden, non_blocking=True)
            hidden.record_stream(self.copies)
            done = torch.cuda.Event()  # type: ignore[no-untyped-call]
            done.record(self.copies)

        def wait() -> Tensor:
            done.synchronize()
            return here.float()

        return wait


def has_varlen() -> bool:
    """Whether this torch brings attention over texts of different lengths."""
    try:
        from torch.nn.attention import varlen
    except ImportError:
        return False
    return hasattr(varlen, "varlen_attn")

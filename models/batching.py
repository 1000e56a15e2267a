"""Fills batches to a token budget, and rounds their sizes to a grid; next: encoder.py, which runs them.

Pure functions of lengths: no tensors, no clock. Lengths are tokens of one sequence, its two special tokens included.
"""

from collections.abc import Sequence


def fill(lengths: Sequence[int], budget_tokens: int, max_sequences: int) -> list[list[int]]:
    """Deal the indices of `lengths` into batches, shortest sequences first, so that equal lengths meet in one batch.

    Every index is in exactly one batch; no batch is empty, holds more than `max_sequences`, or more than
    `budget_tokens` tokens, except that a sequence longer than the budget gets a batch of its own.
    """
    if budget_tokens < 1 or max_sequences < 1:
        raise ValueError("budget_tokens and max_sequences must be at least 1")
    batches: list[list[int]] = []
    room = 0
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        if not batches or len(batches[-1]) == max_sequences or lengths[index] > room:
            batches.append([])
            room = budget_tokens
        batches[-1].append(index)
        room -= lengths[index]
    return batches


def grid(tokens: int) -> int:
    """The next size of the shape grid: steps of 16 to 256, 32 to 512, 64 to 1,024, then 128.

    oneDNN compiles a kernel for every new matrix height (milliseconds each), so batches come in few heights.
    """
    step = 16 if tokens <= 256 else 32 if tokens <= 512 else 64 if tokens <= 1024 else 128
    return -(-tokens // step) * step


def grid_sizes(most: int) -> list[int]:
    """All sizes of the grid that `most` tokens and fewer can need, ascending."""
    sizes = [grid(1)]
    while sizes[-1] < most:
        sizes.append(grid(sizes[-1] + 1))
    return sizes

"""Draws the pictures of the model card: confusion matrices and the training curve.

matplotlib is a tool of development: without it the card has no pictures.
"""

import csv
from collections.abc import Mapping
from math import ceil
from pathlib import Path
from typing import Any

COLUMNS = 4
READABLE = 4  # classes; a larger matrix gets a picture of its own


def confusions(results: Mapping[str, Mapping[str, Any]], folder: Path) -> list[str]:
    """Write `confusion.png`, all sets of few classes, and `confusion-<set>.png` for each of many; return the names."""
    known = {name: result for name, result in results.items() if result.get("confusion")}
    small = {name: result for name, result in known.items() if len(result["labels"]) <= READABLE}
    made = []
    if small:
        made.append("confusion.png")
        grid(small, folder / made[-1])
    for name in known.keys() - small.keys():
        made.append(f"confusion-{name}.png")
        grid({name: known[name]}, folder / made[-1], inches=7.5)
    return made


def grid(results: Mapping[str, Mapping[str, Any]], path: Path, inches: float = 2.7) -> None:
    """One confusion matrix a set, rows true, in shares of the row."""
    import numpy as np

    pyplot = plotter()
    columns = min(COLUMNS, len(results))
    lines = ceil(len(results) / columns)
    figure, axes = pyplot.subplots(lines, columns, figsize=(inches * columns, inches * lines + 0.3), squeeze=False)
    for axis in axes.flat[len(results) :]:
        axis.set_axis_off()
    for axis, (name, result) in zip(axes.flat, results.items(), strict=False):
        counts, labels = np.array(result["confusion"]), result["labels"]
        shares = counts / counts.sum(1, keepdims=True).clip(1)
        axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        few = len(labels) <= READABLE
        for (y, x), share in np.ndenumerate(shares):
            if few or share >= 0.05:
                text = f"{share:.2f}\n{counts[y, x]:,}" if few else f"{share:.2f}".removeprefix("0")
                axis.text(x, y, text, ha="center", va="center", fontsize=7 if few else 6,
                          color="white" if share > 0.55 else "black")  # fmt: skip
        axis.set_title(f"{name}  {result['accuracy']:.3f}", fontsize=9)
        short = [label[:3] for label in labels] if few else labels
        axis.set_xticks(range(len(labels)), short, fontsize=7, rotation=0 if few else 90)
        axis.set_yticks(range(len(labels)), short, fontsize=7)
    figure.supylabel("true", fontsize=8)
    figure.supxlabel("predicted", fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=100, metadata={"Software": None})
    pyplot.close(figure)


def curve(source: Path, path: Path) -> None:
    """The loss over the steps, from a CSV with the columns `step` and `loss`."""
    pyplot = plotter()
    with source.open(encoding="utf-8", newline="") as lines:
        rows = [(int(row["step"]), float(row["loss"])) for row in csv.DictReader(lines)]
    figure, axis = pyplot.subplots(figsize=(6, 2.6))
    axis.plot([step for step, _ in rows], [loss for _, loss in rows], color="#1f5a99", linewidth=1.2)
    axis.set_xlabel("step", fontsize=8)
    axis.set_ylabel("loss, running mean", fontsize=8)
    axis.tick_params(labelsize=7)
    axis.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=100, metadata={"Software": None})
    pyplot.close(figure)


def plotter() -> Any:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    return plt

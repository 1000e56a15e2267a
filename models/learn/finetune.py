"""Fine-tunes a model on a user's own labelled texts: `groundswell finetune`; next: before_after.py, which says what it brought.

The file is cleaned and split, a student (student.py) learns, its calibration is fitted again (refit.py), and it is
written as an adapter or as a whole model. The test side is only measured with.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from safetensors.torch import save_file

from groundswell.errors import Misconfigured
from models import adapter, catalog
from models.adapter import Adapter
from models.catalog import Config
from models.labels import SENTIMENTS, TOPICS
from models.learn import before_after, cleaning, student, train
from models.learn.augment import Link
from models.learn.cleaning import Cleaning
from models.learn.corpus import Corpus
from models.learn.refit import refit
from models.learn.sources import UNKNOWN, Example
from models.learn.split import Parts, split
from models.learn.student import Kind, Plan, Student


class UnfitBase(Misconfigured):
    """This model cannot be fine-tuned here."""

    reason = "unfit_base"
    remedy = (
        "Bases that can be adapted: `bundled`, or a folder that `groundswell train` or "
        "`groundswell finetune --adapter full` made."
    )


def finetune(
    data: Path,
    out: Path,
    *,
    base: str = catalog.BUNDLED,
    plan: Plan | None = None,
    public: Path | None = None,
    link: Link = lambda _: (),
    standing: Sequence[str] | None = None,
    console: Console | None = None,
) -> dict[str, Any]:
    """Learn from the labelled file `data`, write an adapter (or a whole model) with its report to `out`, and return the
    report, JSON-ready.

    `public` is the folder of public sets, rehearsed and measured too if given; `link` finds names in a text, which
    are swapped; `standing` names the sets measured beside the user's own (all that can be by default).
    The result depends only on the files, the plan and the processor. Raises BadLabelledFile, TooFewRows, UnfitBase,
    UnknownModel, BrokenModel, MissingData.
    """
    console, plan = console or Console(stderr=True), plan or Plan()
    folder = fit_base(base, out, plan.kind)
    texts, found = cleaning.read(data)
    parts = split(texts)
    console.print(before_after.cleaned(found, parts), markup=False)
    learner = student.enrol(folder, plan, parts)
    corpus = Corpus.read(public) if public else Corpus.own_rows()
    history = student.learn(learner, parts, corpus, plan, link, console)
    held_out = {name: examples for name, examples in corpus.dev(plan.seed).items() if examples}
    learner.config = refit(learner.tagger(), parts.dev, held_out)
    learned_from = numbers(data, found, parts, history, plan)
    write(out, learner, folder, base, plan, learned_from)
    console.print("measuring before and after")
    report = {"base": base, "adapter": plan.kind, "out": str(out), "plan": asdict(plan), "learned_from": learned_from}
    report |= before_after.report(folder, out, found, parts, public, standing, console) | {"epochs": history}
    if not learned_from["best_epoch"]:
        report["verdict"] = f"{before_after.NOTHING_LEARNED} {report['verdict']}"
    before_after.write(out, report)
    return report


def fit_base(base: str, out: Path, kind: Kind) -> Path:
    """The base's folder. Raises UnfitBase for one that cannot be adapted, or that `out` would overwrite."""
    folder = catalog.locate(base)
    if catalog.is_classifier(folder):
        raise UnfitBase(
            f"{base} is a transformers classifier: it can be served and measured, but not fine-tuned by this command."
        )
    if adapter.is_one(folder) and kind == "lora":
        raise UnfitBase(
            f"{base} is an adapter itself, and an adapter changes a whole model.",
            remedy=f"Fine-tune its base ({adapter.read(folder).base}) with all your texts, or pass --adapter full.",
        )
    config = catalog.check(folder)
    if config.sentiments != list(SENTIMENTS) or config.topics != list(TOPICS):
        raise UnfitBase(f"{base} orders its labels in a way of its own.")
    if out.exists() and out.resolve() == folder.resolve():
        raise UnfitBase(f"{out} is the base itself.", remedy="Write to another folder with --out.")
    return folder


def numbers(
    data: Path, found: Cleaning, parts: Parts, history: Sequence[dict[str, float]], plan: Plan
) -> dict[str, Any]:
    """What the adapter was learned from, in numbers: no text of the user's."""
    learned: list[Example] = [text.example for text in parts.train]
    return {
        "file_sha256": hashlib.sha256(data.read_bytes()).hexdigest(),
        "rows": found.rows,
        **{side: len(parts.of(side)) for side in ("train", "dev", "test")},
        "with_sentiment": sum(example.sentiment != UNKNOWN for example in learned),
        "companies": sum(len(example.targets) for example in learned),
        "with_topics": sum(1 in example.topics for example in learned),
        "languages": {lang: sum(text.lang == lang for text in parts.train) for lang in ("en", "zh", "other")},
        "best_epoch": int(max(history, key=lambda entry: entry["dev"])["epoch"]),
        "epochs": len(history) - 1,
        "rehearsed": plan.rehearsed,
        "seed": plan.seed,
    }


def write(out: Path, learner: Student, folder: Path, base: str, plan: Plan, learned_from: dict[str, Any]) -> None:
    """Write the adapter's two files, or a whole model folder; what the other kind left in `out` goes."""
    out.mkdir(parents=True, exist_ok=True)
    for name in (adapter.ADAPTER, adapter.FACTORS, catalog.CONFIG, catalog.TOKENIZER, catalog.WEIGHTS):
        (out / name).unlink(missing_ok=True)
    if plan.kind == "full":
        train.write(out, learner.now(), learner.config, learner.tokenizer)
        settled = msgspec.structs.replace(
            learner.config, weights_sha256=catalog.read_config(out / catalog.CONFIG).weights_sha256
        )
        version = f"finetuned-{mark(settled.weights_sha256, settled)}"
        train.write_config(out, msgspec.structs.replace(settled, version=version))
        return
    save_file({name: t.detach().contiguous() for name, t in sorted(learner.learned.items())}, out / adapter.FACTORS)
    (out / adapter.FACTORS).chmod(0o644)
    digest = hashlib.sha256((out / adapter.FACTORS).read_bytes()).hexdigest()
    was = catalog.check(folder)
    found = Adapter(
        format=adapter.FORMAT,
        version=f"{was.version}+{mark(digest, learner.config)}",
        base=base if base == catalog.BUNDLED else str(folder.resolve()),
        base_version=was.version,
        base_sha256=was.weights_sha256,
        weights_sha256=digest,
        rank=plan.rank,
        alpha=plan.alpha,
        topic_thresholds=learner.config.topic_thresholds,
        languages=learner.config.languages,
        targets=learner.config.targets,
        styles=learner.config.styles,
        learned_from=learned_from,
    )
    text = json.dumps(msgspec.to_builtins(found), indent=1, ensure_ascii=False)
    (out / adapter.ADAPTER).write_text(text + "\n", "utf-8")


def mark(digest: str, config: Config) -> str:
    """Twelve digits that change with the weights and with every fitted number."""
    fitted = msgspec.json.encode([config.languages, config.targets, config.topic_thresholds, config.styles])
    return hashlib.sha256(digest.encode() + fitted).hexdigest()[:12]

"""A model that learns a user's texts, epoch by epoch, until the dev side gains no more; next: finetune.py, which has it.

Each epoch mixes the user's texts, varied, with as many of the sentences that the model was made from (rehearsal:
Robins 1995), so that what it could do before is kept.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import torch
from rich.console import Console
from tokenizers import Tokenizer
from torch import Tensor

from models import adapter, low_rank, stored
from models.catalog import Config
from models.encoder import Weights, forward
from models.heads import Tagger, habit
from models.labels import SENTIMENTS, TOPICS
from models.learn import augment, fit, train
from models.learn.augment import Link
from models.learn.corpus import Corpus, Sample
from models.learn.sources import CASHTAG, SOURCES, UNKNOWN, YOURS
from models.learn.split import Parts
from models.measure import figures

Kind = Literal["lora", "full"]
LEAST_REHEARSED = 1_500
# Long texts are learned from their first page, and fitted and tested as they are served.
LEARNED_TOKENS = 192


@dataclass(frozen=True)
class Plan:
    """How to learn. `rehearsed`: texts of the model's own to one of the user's; learning stops when `patience` epochs
    in a row brought nothing on the dev side; rates are AdamW's peak rates."""

    kind: Kind = "lora"
    rank: int = 8
    alpha: float = 16.0
    epochs: int = 6
    patience: int = 2
    rehearsed: float = 1.0
    factor_rate: float = 1e-3
    head_rate: float = 5e-4
    body_rate: float = 5e-5
    layer_decay: float = 0.85
    seed: int = 7


@dataclass
class Student:
    """The model that learns: what it was, and what of it changes."""

    config: Config
    tokenizer: Tokenizer
    weights: Weights
    learned: Weights
    scale: float

    def now(self) -> Weights:
        """All weights as they are at this moment, differentiable in `learned`."""
        return low_rank.merged(self.weights, self.learned, self.scale)

    def tagger(self) -> Tagger:
        return Tagger(self.config, self.tokenizer, {name: tensor.detach() for name, tensor in self.now().items()})


def enrol(folder: Path, plan: Plan, parts: Parts) -> Student:
    """The base with a style for the user's texts, and what will learn: thin matrices beside the body's, or the body."""
    config, tokenizer, stored_weights = stored.load(folder)
    weights = {name: tensor.float() for name, tensor in stored_weights.items()}
    priors = train.habits([text.example for text in parts.train])[SOURCES.index(YOURS)]
    if YOURS not in config.styles:
        rows = weights["style.weight"], weights["style.bias"]
        some = len(config.styles) > 0
        more = [tensor.mean(0, keepdim=True) if some else tensor.new_zeros(1, *tensor.shape[1:]) for tensor in rows]
        weights["style.weight"], weights["style.bias"] = (
            torch.cat(pair).contiguous() for pair in zip(rows, more, strict=True)
        )
    config = msgspec.structs.replace(config, styles={**config.styles, YOURS: priors.tolist()})
    generator = torch.Generator().manual_seed(plan.seed)
    learned = {name: weights[name].clone() for name in adapter.heads(config)}
    if plan.kind == "lora":
        learned |= low_rank.fresh(config, weights, plan.rank, generator)
    else:
        learned |= {name: tensor.clone() for name, tensor in weights.items() if name.startswith("layers.")}
    for tensor in learned.values():
        tensor.requires_grad_()
    # Texts like those of the other styles may not come up here at all: only the user's own row learns.
    mine = list(config.styles).index(YOURS)
    for name in ("style.weight", "style.bias"):
        learned[name].register_hook(lambda gradient: only_row(gradient, mine))  # type: ignore[no-untyped-call]
    return Student(config, tokenizer, weights, learned, plan.alpha / plan.rank)


def only_row(gradient: Tensor, row: int) -> Tensor:
    kept = torch.zeros_like(gradient)
    kept[row] = gradient[row]
    return kept


def learn(
    student: Student, parts: Parts, corpus: Corpus, plan: Plan, link: Link, console: Console
) -> list[dict[str, float]]:
    """Epochs until the dev side gains no more; `student` is left as it was at its best. One entry an epoch, the first
    before any: its loss and what the dev side scores."""
    torch.manual_seed(plan.seed)
    first = lessons(0, student, parts, corpus, plan, link)
    total = len(first) * plan.epochs
    optimizer = torch.optim.AdamW(
        [{"params": [tensor], "lr": rate_of(name, student.config, plan)} for name, tensor in student.learned.items()],
        weight_decay=0.0,
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: train.rate_at(step, total))
    best, kept = dev_score(student, parts), copied(student.learned)
    history, idle = [{"epoch": 0, "dev": figures.rounded(best)}], 0
    console.print(f"before: your dev side {best:.3f}; at most {plan.epochs} epochs")
    pace = train.Pace(sum(len(batch.ids) for batch in first) * plan.epochs, console)
    with pace.bar:
        for epoch in range(plan.epochs):
            steps = lessons(epoch, student, parts, corpus, plan, link) if epoch else first
            log_priors = priors(student.config, steps)
            losses = []
            for step, batch in enumerate(steps):
                torch.manual_seed(plan.seed * 1_000_003 + epoch * 100_003 + step)
                losses.append(take_step(student, log_priors, batch, optimizer))
                schedule.step()
                pace.tick(len(batch.ids), losses[-1])
            score = dev_score(student, parts)
            history.append(
                {"epoch": epoch + 1, "loss": figures.rounded(np.mean(losses)), "dev": figures.rounded(score)}
            )
            console.print(f"epoch {epoch + 1}: loss {np.mean(losses):.3f}, your dev side {score:.3f}")
            idle = 0 if score > best else idle + 1
            if score > best:
                best, kept = score, copied(student.learned)
            if idle == plan.patience:
                console.print(f"nothing gained for {idle} epochs: stopped")
                break
    with torch.no_grad():
        for name, tensor in student.learned.items():
            tensor.copy_(kept[name])
    return history


def lessons(epoch: int, student: Student, parts: Parts, corpus: Corpus, plan: Plan, link: Link) -> list[train.Batch]:
    """The batches of one epoch: the user's texts, varied, among those that are rehearsed."""
    rng = random.Random(f"{plan.seed}-{epoch}")
    whole = [text.example.text for text in parts.train]
    tickers = sorted({tag.upper() for text in whole for tag in CASHTAG.findall(text)})
    chosen = [
        augment.varied(
            text.example, corpus.slots.get(text.lang, corpus.slots["en"])["train"]["NAME"], tickers, link, rng
        )
        for text in parts.train
    ]
    if plan.rehearsed:
        others = corpus.epoch(epoch, plan.seed, Sample(fillings=1))
        # Topics weigh three times in those, where few others tell; here that would drown the user's.
        others = [replace(example, topic_weight=1.0) for example in others]
        chosen += others[: max(LEAST_REHEARSED, round(plan.rehearsed * len(chosen)))]
    rng.shuffle(chosen)
    most = min(LEARNED_TOKENS, student.config.max_tokens)
    return train.batches(chosen, student.config, student.tokenizer, rng, most)


def priors(config: Config, steps: Sequence[train.Batch]) -> Tensor:
    """The habits of all sources: where serving knows one, that one, so that what is learned fits it."""
    found = train.habits([example for batch in steps for example in batch.examples])
    for name, habits in config.styles.items():
        found[SOURCES.index(name)] = torch.tensor(habits)
    return found


def take_step(student: Student, log_priors: Tensor, batch: train.Batch, optimizer: torch.optim.Optimizer) -> float:
    weights = student.now()
    with torch.autocast("cpu", torch.bfloat16):
        hidden = forward(weights, student.config, batch.ids, batch.lengths, dropout=train.DROPOUT)
    loss = train.loss_of(weights, log_priors, hidden.float(), batch, list(student.config.styles))
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(list(student.learned.values()), 1.0)
    optimizer.step()
    return loss.item()


def rate_of(name: str, config: Config, plan: Plan) -> float:
    if name.endswith((".a", ".b")):
        return plan.factor_rate
    recipe = train.Recipe(body_rate=plan.body_rate, layer_decay=plan.layer_decay, head_rate=plan.head_rate)
    return train.rate_of(name, config.layers, recipe)


def dev_score(student: Student, parts: Parts) -> float:
    """The mean of the macro-F1 figures that the dev side allows: of whole texts, of companies, of topics."""
    examples = [text.example for text in parts.dev]
    said = fit.logits_of(student.tagger(), examples)
    scores = []
    sentiment = np.array([example.sentiment for example in examples])
    if (known := sentiment != UNKNOWN).any():
        own = {name: np.array(row, np.float32) for name, row in student.config.styles.items()}
        guess = (said.sentiment + habit(said.styles[0], own, [YOURS])).argmax(1)
        scores.append(figures.brief(sentiment[known], guess[known], len(SENTIMENTS))["macro_f1"])
    if len(said.labels):
        scores.append(figures.brief(said.labels, said.targets.argmax(1), len(SENTIMENTS))["macro_f1"])
    topics = np.array([example.topics for example in examples])
    if (topics == 1).any():
        thresholds = np.array(student.config.topic_thresholds)
        claimed = 1 / (1 + np.exp(-said.topics.astype(np.float64))) >= thresholds
        scores.append(figures.topics_f1(topics == 1, claimed, TOPICS, topics != UNKNOWN)["macro_f1"])
    return float(np.mean(scores)) if scores else 0.0


def copied(weights: Weights) -> Weights:
    return {name: tensor.detach().clone() for name, tensor in weights.items()}

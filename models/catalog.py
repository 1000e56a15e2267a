"""Finds a model by name and refuses one whose files do not fit together; next: loading.py, which loads it.

A name is `bundled`, a folder, or a hub id (hub.py). A folder of our own is three files: `model.safetensors` (weights),
`tokenizer.json`, `config.json` (a `Config`); the other kind is a transformers classifier (classifier_folder.py). No
weight format that can run code is ever opened. Labels are mapped by name, never by position. This file imports no torch.
"""

import hashlib
import json
import struct
from pathlib import Path

import msgspec

from groundswell.errors import BrokenModel, UnknownModel
from groundswell.text import NORMALISER_VERSION
from models import classifier_folder, hub
from models.labels import SENTIMENTS, TOPICS
from models.safe_files import read_json, refuse_code

BUNDLED = "bundled"
FORMAT = 2
WEIGHTS, TOKENIZER, CONFIG = "model.safetensors", "tokenizer.json", "config.json"
# What the target head looks at of one mention: itself, its neighbourhood, the whole text, itself times the text.
TARGET_VIEWS = 4
TARGET_WIDTH = 128
DTYPES = {"I8", "BF16", "F16", "F32"}


class Language(msgspec.Struct, frozen=True):
    """What was fitted for one language on held-out rows, for whole texts or for the companies in them.

    `styles` are the kinds of text (`Config.styles`) that it comes in. `bias` is added to the logits (order of
    `Config.sentiments`), then all are divided by `temperature`; an answer whose best probability is under
    `unsure_under` is called unsure: above 1, every one is.
    """

    bias: list[float]
    temperature: float
    unsure_under: float
    styles: list[str] = []


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """`config.json`: all that is needed to run the weights, and nothing that can run code.

    `styles` holds, for each kind of text, the log share of each sentiment in it (order of `sentiments`); its order is
    that of the style head. `tweet_topics` names the classes of a head that is only measured with.
    """

    format: int
    version: str
    normaliser_version: int
    sentiments: list[str]
    topics: list[str]
    topic_thresholds: list[float]
    languages: dict[str, Language]
    targets: dict[str, Language]
    tweet_topics: list[str] = []
    styles: dict[str, list[float]] = {}
    weights_sha256: str
    layers: int
    heads: int
    hidden: int
    inner: int
    vocabulary: int
    positions: int
    layer_norm_eps: float
    bos_id: int
    eos_id: int
    max_tokens: int


def locate(name: str, *, download: bool = False) -> Path:
    """The folder of `bundled`, of a model given by its path, or of a hub id that this machine holds; with `download`
    one that it does not hold is fetched. Raises UnknownModel when there is none."""
    folder = Path(__file__).parent / BUNDLED if name == BUNDLED else Path(name).expanduser()
    if folder.is_dir():
        return folder
    if hub.HUB_ID.fullmatch(name):
        return hub.folder_of(name, download=download)
    raise UnknownModel(f"there is no model folder {folder}.")


def is_classifier(folder: Path) -> bool:
    """Whether the folder holds a transformers classifier, and not a model of our own format."""
    return classifier_folder.is_one(folder)


def verify(folder: Path) -> None:
    """Everything about a folder that can be checked without opening its weights. Raises BrokenModel."""
    if is_classifier(folder):
        classifier_folder.read(folder)
    else:
        check(folder)


def check(folder: Path) -> Config:
    """Read the folder's config and compare everything else with it; of an adapter, its base's too, and the numbers are
    the adapter's. Raises BrokenModel with the first misfit."""
    from models import adapter

    refuse_code(folder)
    if adapter.is_one(folder):
        return adapter.check(folder)
    for name in (CONFIG, TOKENIZER, WEIGHTS):
        if not (folder / name).is_file():
            raise BrokenModel(f"{folder / name} is missing.")
    config = read_config(folder / CONFIG)
    with (folder / WEIGHTS).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != config.weights_sha256:
        raise BrokenModel(f"{folder / WEIGHTS} is not the file its config names (sha256 {digest[:12]}…).")
    check_shapes(folder / WEIGHTS, expected_shapes(config))
    return config


def read_config(path: Path) -> Config:
    found = read_json(path)
    if found.get("format", FORMAT) != FORMAT:
        raise BrokenModel(f"{path} has format {found['format']!r}; this version reads {FORMAT}.")
    try:
        config = msgspec.convert(found, Config)
    except msgspec.ValidationError as error:
        raise BrokenModel(f"{path} cannot be read: {error}.") from error
    check_config(config, path)
    return config


def check_config(config: Config, path: Path) -> None:
    """Compare the config, read from `path`, with itself and with how texts are normalised here. Raises BrokenModel."""
    if config.normaliser_version != NORMALISER_VERSION:
        raise BrokenModel(
            f"{path} learned from texts of normaliser {config.normaliser_version}; here texts are of {NORMALISER_VERSION}.",
            remedy="Train it again with this version, or use the version that it was trained with.",
        )
    if sorted(config.sentiments) != sorted(SENTIMENTS):
        raise BrokenModel(
            f"{path} names the sentiments {config.sentiments}; they must be {list(SENTIMENTS)}, in any order."
        )
    if unknown := set(config.topics) - set(TOPICS):
        raise BrokenModel(f"{path} names unknown topics: {', '.join(sorted(unknown))}.")
    if len(config.topic_thresholds) != len(config.topics):
        raise BrokenModel(f"{path} has {len(config.topics)} topics and {len(config.topic_thresholds)} thresholds.")
    sizes = (config.layers, config.heads, config.hidden, config.inner, config.vocabulary)
    if min(sizes) < 1 or config.hidden % config.heads or not 0 <= max(config.bos_id, config.eos_id) < config.vocabulary:
        raise BrokenModel(f"{path}: its sizes do not fit together.")
    if "other" not in config.languages or config.languages.keys() != config.targets.keys():
        raise BrokenModel(f"{path} must name the same languages for texts and targets, `other` among them.")
    for name, language in (*config.languages.items(), *config.targets.items()):
        if len(language.bias) != len(SENTIMENTS) or not language.temperature > 0:
            raise BrokenModel(f"{path}: the numbers for language {name!r} are not usable.")
    if not 8 <= config.max_tokens <= config.positions:
        raise BrokenModel(f"{path}: max_tokens {config.max_tokens} does not fit {config.positions} positions.")


def expected_shapes(config: Config) -> dict[str, list[int]]:
    """Every tensor a model of this config has, by name, with its shape."""
    h, inner = config.hidden, config.inner
    shapes = {
        "embeddings.word": [config.vocabulary, h],
        "embeddings.word.scale": [config.vocabulary],
        "embeddings.position": [config.positions, h],
        "embeddings.norm.weight": [h],
        "embeddings.norm.bias": [h],
        "sentiment.weight": [len(config.sentiments), h],
        "sentiment.bias": [len(config.sentiments)],
        "topics.weight": [len(config.topics), h],
        "topics.bias": [len(config.topics)],
        "style.weight": [len(config.styles), h],
        "style.bias": [len(config.styles)],
        "target.up.weight": [TARGET_WIDTH, TARGET_VIEWS * h],
        "target.up.bias": [TARGET_WIDTH],
        "target.down.weight": [len(config.sentiments), TARGET_WIDTH],
        "target.down.bias": [len(config.sentiments)],
    }
    if config.tweet_topics:
        shapes |= {
            "tweet_topics.weight": [len(config.tweet_topics), h],
            "tweet_topics.bias": [len(config.tweet_topics)],
        }
    for n in range(config.layers):
        at = f"layers.{n}."
        for name, rows, columns in (("qkv", 3 * h, h), ("attention_out", h, h), ("up", inner, h), ("down", h, inner)):
            shapes |= {f"{at}{name}.weight": [rows, columns], f"{at}{name}.bias": [rows]}
        for name in ("attention_norm", "out_norm"):
            shapes |= {f"{at}{name}.weight": [h], f"{at}{name}.bias": [h]}
    return shapes


def check_shapes(path: Path, expected: dict[str, list[int]]) -> None:
    """Compare the header of a safetensors file (8 bytes length, then JSON) with these names and shapes; reads no weights."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(min(length, 1 << 20)))
        found = {name: (entry["shape"], entry["dtype"]) for name, entry in header.items() if name != "__metadata__"}
    except (OSError, ValueError, KeyError, TypeError, struct.error) as error:
        raise BrokenModel(f"{path} is not a safetensors file: {error}.") from error
    if missing := expected.keys() - found.keys():
        raise BrokenModel(f"{path} lacks {min(missing)} ({len(missing)} tensors missing).")
    if extra := found.keys() - expected.keys():
        raise BrokenModel(f"{path} holds {min(extra)}, which its config does not name.")
    for name, (shape, dtype) in found.items():
        if shape != expected[name] or dtype not in DTYPES:
            raise BrokenModel(f"{path}: {name} is {dtype} {shape}, the config says {expected[name]}.")

"""Finds a model folder by name and refuses one whose files do not fit together; next: encoder.py, which runs it.

A model is a folder of three files: `model.safetensors` (weights), `tokenizer.json`, `config.json` (a `Config`). No
other weight format is ever opened, since the others can run code. Labels are mapped by name, never by position.
This file imports no torch.
"""

import hashlib
import json
import struct
from pathlib import Path

import msgspec

from groundswell.errors import BrokenModel, UnknownModel
from models.labels import SENTIMENTS, TOPICS

BUNDLED = "bundled"
FORMAT = 1
WEIGHTS, TOKENIZER, CONFIG = "model.safetensors", "tokenizer.json", "config.json"
DTYPES = {"I8", "BF16", "F16", "F32"}


class Language(msgspec.Struct, frozen=True):
    """What was fitted for one language on held-out rows.

    `bias` is added to the sentiment logits (order of `Config.sentiments`), then all are divided by `temperature`; a
    text whose best probability is under `unsure_under` is called unsure.
    """

    bias: list[float]
    temperature: float
    unsure_under: float


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """`config.json`: all that is needed to run the weights, and nothing that can run code."""

    format: int
    version: str
    normaliser_version: int
    sentiments: list[str]
    topics: list[str]
    topic_thresholds: list[float]
    languages: dict[str, Language]
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
    tail_tokens: int


def locate(name: str) -> Path:
    """The folder of `bundled`, or of a model given by its path. Raises UnknownModel when there is none."""
    folder = Path(__file__).parent / BUNDLED if name == BUNDLED else Path(name).expanduser()
    if not folder.is_dir():
        raise UnknownModel(f"there is no model folder {folder}.")
    return folder


def check(folder: Path) -> Config:
    """Read the folder's config and compare everything else with it. Raises BrokenModel with the first misfit."""
    for path in folder.iterdir():
        if path.suffix in {".bin", ".pt", ".pth", ".pkl", ".ckpt", ".py"}:
            raise BrokenModel(f"{path} is refused: this format can run code; only safetensors are read.")
    for name in (CONFIG, TOKENIZER, WEIGHTS):
        if not (folder / name).is_file():
            raise BrokenModel(f"{folder / name} is missing.")
    config = read_config(folder / CONFIG)
    with (folder / WEIGHTS).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != config.weights_sha256:
        raise BrokenModel(f"{folder / WEIGHTS} is not the file its config names (sha256 {digest[:12]}…).")
    check_shapes(folder / WEIGHTS, config)
    return config


def read_config(path: Path) -> Config:
    try:
        raw = path.read_bytes()
        if "auto_map" in json.loads(raw):
            raise BrokenModel(f"{path} asks to run code of its own (auto_map): refused.")
        config = msgspec.json.decode(raw, type=Config)
    except (OSError, ValueError, TypeError) as error:
        raise BrokenModel(f"{path} cannot be read: {error}.") from error
    if config.format != FORMAT:
        raise BrokenModel(f"{path} has format {config.format}; this version reads {FORMAT}.")
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
    if "other" not in config.languages:
        raise BrokenModel(f"{path} has no entry for the language `other`.")
    for name, language in config.languages.items():
        if len(language.bias) != len(SENTIMENTS) or not language.temperature > 0:
            raise BrokenModel(f"{path}: the numbers for language {name!r} are not usable.")
    if not 8 <= config.max_tokens <= config.positions or not 0 < config.tail_tokens < config.max_tokens - 2:
        raise BrokenModel(f"{path}: max_tokens {config.max_tokens} does not fit {config.positions} positions.")
    return config


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
    }
    for n in range(config.layers):
        at = f"layers.{n}."
        for name, rows, columns in (("qkv", 3 * h, h), ("attention_out", h, h), ("up", inner, h), ("down", h, inner)):
            shapes |= {f"{at}{name}.weight": [rows, columns], f"{at}{name}.bias": [rows]}
        for name in ("attention_norm", "out_norm"):
            shapes |= {f"{at}{name}.weight": [h], f"{at}{name}.bias": [h]}
    return shapes


def check_shapes(path: Path, config: Config) -> None:
    """Compare the header of a safetensors file (8 bytes length, then JSON) with the config; reads no weights."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(min(length, 1 << 20)))
        found = {name: (entry["shape"], entry["dtype"]) for name, entry in header.items() if name != "__metadata__"}
    except (OSError, ValueError, KeyError, TypeError, struct.error) as error:
        raise BrokenModel(f"{path} is not a safetensors file: {error}.") from error
    expected = expected_shapes(config)
    if missing := expected.keys() - found.keys():
        raise BrokenModel(f"{path} lacks {min(missing)} ({len(missing)} tensors missing).")
    if extra := found.keys() - expected.keys():
        raise BrokenModel(f"{path} holds {min(extra)}, which its config does not name.")
    for name, (shape, dtype) in found.items():
        if shape != expected[name] or dtype not in DTYPES:
            raise BrokenModel(f"{path}: {name} is {dtype} {shape}, the config says {expected[name]}.")

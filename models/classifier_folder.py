"""What a folder of a transformers sequence classifier says of itself, read without its weights; next: classifier.py.

Labels are mapped by name: models in the wild disagree on which number means negative, and one whose labels are only
numbers (LABEL_0) is refused, however many of its kind mean it in the usual order. This file imports no torch.
"""

import hashlib
import re
from pathlib import Path
from typing import Any

import msgspec

from groundswell.errors import BrokenModel
from groundswell.text import safe
from models import hub
from models.labels import OTHER_TOPIC, SENTIMENTS
from models.measure.labelled_file import SPELLINGS
from models.safe_files import read_json, refuse_code

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
NAME_CHARS = 64
MEANING = {spelling: name for name, spellings in SPELLINGS.items() for spelling in spellings}
REMEDY = "Write what each output means into `id2label` of its config.json (negative, neutral, positive); plain sentences verify it."


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a classifier; the names are those of `catalog.Config` where both have them.

    `sentiments[n]` is what output `n` means, `labels[n]` how the model calls it. `languages` are those in which it
    answered plain sentences rightly: none before they were asked.
    """

    name: str
    version: str
    labels: list[str]
    sentiments: list[str]
    topics: list[str]
    languages: list[str]


def is_one(folder: Path) -> bool:
    """Whether the folder's config is that of a transformers model; only our own has a `format`."""
    path = folder / CONFIG
    if not path.is_file():
        return False
    config = read_json(path)
    return "model_type" in config and "format" not in config


def says_it_classifies(folder: Path) -> bool:
    """Whether the config names a sequence classifier; others only lend their body to one."""
    named = read_json(folder / CONFIG).get("architectures")
    return isinstance(named, list) and any("SequenceClassification" in str(one) for one in named)


def read(folder: Path) -> Facts:
    """The facts of a folder whose files are in order; the version is still without its hash. Raises BrokenModel."""
    refuse_code(folder)
    config = read_json(folder / CONFIG)
    if (folder / "tokenizer_config.json").is_file():
        read_json(folder / "tokenizer_config.json")
    weights_of(folder)
    labels = labels_of(config.get("id2label"), folder)
    name = re.sub(r"[^A-Za-z0-9._/-]", "_", hub.id_of(folder))[:NAME_CHARS]
    meant = meanings(labels, folder)
    return Facts(name=name, version=name, labels=labels, sentiments=meant, topics=[OTHER_TOPIC], languages=[])


def labels_of(named: Any, folder: Path) -> list[str]:
    """`{"0": "Positive", "1": ...}` as a list by output number."""
    if not isinstance(named, dict) or not all(isinstance(label, str) for label in named.values()):
        raise BrokenModel(f"{folder / CONFIG} does not name its labels (id2label).", remedy=REMEDY)
    by_number = {str(number): label for number, label in named.items()}
    if by_number.keys() != {str(number) for number in range(len(named))}:
        raise BrokenModel(f"{folder / CONFIG}: its labels are not numbered from 0.", remedy=REMEDY)
    return [by_number[str(number)] for number in range(len(named))]


def meanings(labels: list[str], folder: Path) -> list[str]:
    """Each label as a name of SENTIMENTS. Neutral may be missing, nothing may be double. Raises BrokenModel."""
    meant = [MEANING.get(label.strip().casefold()) for label in labels]
    known = [name for name in meant if name is not None]
    if len(known) < len(labels) or len(set(known)) < len(known) or not {"negative", "positive"} <= set(known):
        shown = ", ".join(safe(label, 30) for label in labels[:8])
        raise BrokenModel(
            f"{folder / CONFIG} names the labels {shown}; they must be {', '.join(SENTIMENTS)} in common spellings, "
            "each once (neutral may be missing).",
            remedy=REMEDY,
        )
    return known


def weights_of(folder: Path) -> list[Path]:
    """The files with the weights, one or several by an index. Raises BrokenModel when one is missing."""
    files = [folder / WEIGHTS]
    if not files[0].is_file() and (folder / INDEX).is_file():
        parts = read_json(folder / INDEX).get("weight_map")
        if not isinstance(parts, dict) or not parts:
            raise BrokenModel(f"{folder / INDEX} names no files.")
        # Only plain names: an index must not lead out of its folder.
        files = [folder / Path(str(name)).name for name in sorted(set(parts.values()), key=str)]
    for file in files:
        if not file.is_file() or file.suffix != ".safetensors":
            raise BrokenModel(
                f"{file} is missing: only weights as safetensors are read.",
                remedy="Choose a model that has them, or save it again: recent transformers write nothing else.",
            )
    return files


def hashed(facts: Facts, folder: Path) -> Facts:
    """With a version that changes whenever the weights do, or the config that says what they mean."""
    digest = hashlib.sha256()
    for file in (*weights_of(folder), folder / CONFIG):
        with file.open("rb") as content:
            digest.update(hashlib.file_digest(content, "sha256").digest())
    return msgspec.structs.replace(facts, version=f"{facts.name}-{digest.hexdigest()[:12]}")

"""Fills and splits the sentences written for training (`rows/*.jsonl`); next: sources.py, which reads the public sets.

A row is a skeleton with slots, its label and its topics. Filling multiplies names and numbers, not meaning, so splits
are by skeleton and the test split has names of its own. The rows are synthetic and the model card says so.
"""

import hashlib
import json
import random
import re
from pathlib import Path
from typing import Literal

import msgspec

from groundswell.errors import Misconfigured
from models.labels import OTHER_TOPIC, SENTIMENTS, TOPICS

FOLDER = Path(__file__).parent / "rows"
SLOT = re.compile(r"\{([A-Z]+)\}")
Part = Literal["train", "dev", "test"]


class BadRow(Misconfigured):
    """A line of the own-written rows is not usable."""

    reason = "bad_row"
    remedy = "Mend the line in models/rows."


class Row(msgspec.Struct, frozen=True):
    """One sentence with slots. `hard` names what makes it difficult, if anything does."""

    skeleton: str
    label: str
    topics: list[str] = []
    register: str = "wire"
    hard: str | None = None


def load(language: str, folder: Path = FOLDER) -> list[Row]:
    """All distinct rows of one language. Raises BadRow with file and line."""
    path = folder / f"{language}.jsonl"
    rows: dict[str, Row] = {}
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = msgspec.json.decode(line, type=Row)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BadRow(f"{path.name} line {number}: {error}.") from error
        if row.label not in SENTIMENTS or set(row.topics) - {*TOPICS, OTHER_TOPIC}:
            raise BadRow(f"{path.name} line {number}: unknown label or topic.")
        rows.setdefault(row.skeleton, row)
    return list(rows.values())


def part_of(skeleton: str) -> Part:
    """Which split a skeleton is in, for ever: 75 % train, 10 % dev, 15 % test."""
    place = int.from_bytes(hashlib.sha256(skeleton.encode()).digest()[:4]) % 100
    return "test" if place < 15 else "dev" if place < 25 else "train"


def slots(language: str, folder: Path = FOLDER) -> dict[str, dict[str, list[str]]]:
    """Fillers by slot under `train` and under `test`; the two share no name."""
    fillers: dict[str, dict[str, list[str]]] = json.loads((folder / f"slots_{language}.json").read_text("utf-8"))
    return fillers


def fill(skeleton: str, fillers: dict[str, dict[str, list[str]]], part: Part, rng: random.Random) -> str:
    """The skeleton with every slot filled; the same slot twice gets two different fillers."""
    pools = {slot: list(names) for slot, names in fillers["test" if part == "test" else "train"].items()}

    def filler(match: re.Match[str]) -> str:
        pool = pools[match[1]]
        picked = rng.choice(pool)
        if len(pool) > 1:
            pool.remove(picked)
        return picked

    try:
        return SLOT.sub(filler, skeleton)
    except KeyError as error:
        raise BadRow(f"no fillers for the slot {error} of {skeleton!r}.") from error

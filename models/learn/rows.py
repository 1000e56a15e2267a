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
from groundswell.tagging import Span
from groundswell.text import normalise
from models.labels import OTHER_TOPIC, SENTIMENTS, TOPICS

FOLDER = Path(__file__).parents[1] / "rows"
SLOT = re.compile(r"\{([A-Z]+)\}")
# These stand for one company each, the same wherever they occur in a skeleton: what is said of each is labelled.
LETTERS = ("A", "B", "C")
# {ORG} may also be filled with "the retailer" or 该公司.
DESCRIBED = 0.12
Part = Literal["train", "dev", "test"]


class BadRow(Misconfigured):
    """A line of the own-written rows is not usable."""

    reason = "bad_row"
    remedy = "Mend the line in models/rows."


class Row(msgspec.Struct, frozen=True, omit_defaults=True):
    """One sentence with slots. `hard` names what makes it difficult, if anything does; `targets` is what it says of
    the companies that its letters stand for."""

    skeleton: str
    label: str
    topics: list[str] = []
    register: str = "wire"
    hard: str | None = None
    targets: dict[str, str] = {}


class Filled(msgspec.Struct, frozen=True):
    """A row with names and numbers in place: a normalised text, and where the companies stand whose polarity is known."""

    text: str
    targets: list[tuple[Span, str]] = []


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
        letters = {slot for slot in SLOT.findall(row.skeleton) if slot in LETTERS}
        if letters != row.targets.keys() or not set(row.targets.values()) <= set(SENTIMENTS):
            raise BadRow(f"{path.name} line {number}: its letters and its targets do not agree.")
        rows.setdefault(row.skeleton, row)
    return list(rows.values())


class Translated(msgspec.Struct, frozen=True):
    """A sentence of the training part as somebody would put it in the other language; all but the words are `of`'s."""

    of: str
    skeleton: str


def translated(language: str, folder: Path = FOLDER) -> list[Row]:
    """Rows of this language that say what training rows of the other one say. They are learned from, and never measured
    or fitted with. Raises BadRow with file and line."""
    path = folder / f"{language}_translated.jsonl"
    other = {row.skeleton: row for row in load("en" if language == "zh" else "zh", folder)}
    found: dict[str, Row] = {}
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            told = msgspec.json.decode(line, type=Translated)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BadRow(f"{path.name} line {number}: {error}.") from error
        of = other.get(told.of)
        if of is None or part_of(told.of) != "train":
            raise BadRow(f"{path.name} line {number}: not a translation of a sentence that is learned from.")
        if set(SLOT.findall(told.skeleton)) & set(LETTERS) != of.targets.keys():
            raise BadRow(f"{path.name} line {number}: its letters are not those of its original.")
        found.setdefault(told.skeleton, msgspec.structs.replace(of, skeleton=told.skeleton))
    return list(found.values())


def part_of(skeleton: str) -> Part:
    """Which split a skeleton is in, for ever: 75 % train, 10 % dev, 15 % test."""
    place = int.from_bytes(hashlib.sha256(skeleton.encode()).digest()[:4]) % 100
    return "test" if place < 15 else "dev" if place < 25 else "train"


def slots(language: str, folder: Path = FOLDER) -> dict[str, dict[str, list[str]]]:
    """Fillers by slot under `train` and under `test`; the two share no name. `NAME` fills the letters and {ORG}."""
    fillers: dict[str, dict[str, list[str]]] = json.loads((folder / f"slots_{language}.json").read_text("utf-8"))
    return fillers


def fill(row: Row, fillers: dict[str, dict[str, list[str]]], part: Part, rng: random.Random) -> Filled:
    """The row with every slot filled: a letter with one name throughout, any other slot anew each time.

    A row without letters that names exactly one company says of it what it says as a whole. Raises BadRow for a slot
    that has no fillers.
    """
    pools = fillers["test" if part == "test" else "train"]
    letters: dict[str, str] = {}
    taken: set[str] = set()
    text, targets, end = "", [], 0
    alone = not row.targets and row.skeleton.count("{ORG}") == 1
    for match in SLOT.finditer(row.skeleton):
        slot = match[1]
        text += row.skeleton[end : match.start()]
        end = match.end()
        filler = letters.get(slot) or pick(pools, slot, taken, rng)
        if (slot in LETTERS and slot not in letters) or (slot == "ORG" and alone):
            targets.append(((len(text), len(text) + len(filler)), row.targets.get(slot, row.label)))
        if slot in LETTERS:
            letters[slot] = filler
        taken.add(filler)
        text += filler
    text += row.skeleton[end:]
    settled = normalise(text)
    # Names and numbers are plain text, so normalising changes next to nothing; where it does, places are unknown.
    return Filled(settled, targets if settled == text else [])


def pick(pools: dict[str, list[str]], slot: str, taken: set[str], rng: random.Random) -> str:
    """A filler that the sentence does not hold yet. Raises BadRow for a slot without fillers."""
    named = slot in LETTERS or (slot == "ORG" and rng.random() >= DESCRIBED)
    pool = pools.get("NAME" if named else slot, [])
    if not pool:
        raise BadRow(f"no fillers for the slot {slot}.")
    return rng.choice([name for name in pool if name not in taken] or pool)

"""Finds texts that say the same in nearly the same words, and runs of words that two texts share; next: check_rows.py.

Near copies are found by the prefix filter of all-pairs similarity search (Bayardo, Ma and Srikant, 2007): two sets as
alike as asked share one of their few rarest members, so only texts that meet there are compared.
"""

import csv
import gzip
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from math import ceil
from pathlib import Path
from typing import IO

from groundswell.text import fold, normalise

RUN_WORDS = 8
RUN_HAN = 10
# A sentence is contained in a text when this share of its pairs of neighbours is, and it has enough of them to tell.
CONTAINED = 0.8
ENOUGH_WORD_PAIRS = 4
ENOUGH_HAN_PAIRS = 8

DATA_FILES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".json", ".json.gz", ".jsonl", ".jsonl.gz", ".txt", ".txt.gz")

_HAN = re.compile("[\u3400-\u9fff]")
_HAN_RUN = re.compile(f"[\u3400-\u9fff]{{{RUN_HAN},}}")
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")


def units(text: str) -> list[str]:
    """What is compared: the characters of the folded text in Chinese, else its words."""
    folded = fold(text)
    # Folding drops signs; where they are most of a text, as in a row of emoji, they are what it says.
    if 2 * len(folded) < len("".join(text.split())):
        return list("".join(text.split()))
    return list(folded.replace(" ", "")) if _HAN.search(folded) else folded.split()


def shingles(text: str) -> frozenset[tuple[str, str]]:
    """Pairs of neighbouring units; the ends of the text count as units."""
    return frozenset(pairwise(["", *units(text), ""]))


def near_copies(texts: Sequence[str], alike: float) -> list[tuple[int, int, float]]:
    """Pairs `(earlier, later, similarity)` of texts whose shingles have a Jaccard similarity of at least `alike`."""
    sets = [shingles(text) for text in texts]
    common = Counter(shingle for each in sets for shingle in each)
    met: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    found = []
    for n, own in enumerate(sets):
        rarest = sorted(own, key=lambda shingle: (common[shingle], shingle))
        prefix = rarest[: len(own) - ceil(alike * len(own)) + 1]
        for other in sorted({m for shingle in prefix for m in met[shingle]}):
            similarity = len(own & sets[other]) / len(own | sets[other])
            if similarity >= alike:
                found.append((other, n, similarity))
        for shingle in prefix:
            met[shingle].append(n)
    return found


def contained(sentences: Sequence[Sequence[str]], texts: Sequence[str]) -> list[tuple[int, int]]:
    """Pairs `(sentence, text)` where the text holds nearly all of the sentence, given as its parts between slots."""
    inner = [frozenset(pair for part in parts for pair in pairwise(units(part))) for parts in sentences]
    holders: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for n, pairs in enumerate(inner):
        han = any(_HAN.search(part) for part in sentences[n])
        if len(pairs) >= (ENOUGH_HAN_PAIRS if han else ENOUGH_WORD_PAIRS):
            for pair in pairs:
                holders[pair].append(n)
    return [
        (n, m)
        for m, text in enumerate(texts)
        for n, count in Counter(n for pair in shingles(text) for n in holders.get(pair, ())).items()
        if count >= CONTAINED * len(inner[n])
    ]


def runs(text: str) -> Iterator[str]:
    """Every run of RUN_WORDS words, in lower case, and of RUN_HAN Han characters with nothing between them."""
    words = _WORD.findall(text.casefold())
    for n in range(len(words) - RUN_WORDS + 1):
        yield " ".join(words[n : n + RUN_WORDS])
    for match in _HAN_RUN.finditer(text):
        for n in range(len(match[0]) - RUN_HAN + 1):
            yield match[0][n : n + RUN_HAN]


def runs_in(folder: Path, wanted: Mapping[str, object]) -> dict[str, str]:
    """Those of the `wanted` runs that a text of some file under `folder` holds, each with the first such file."""
    found: dict[str, str] = {}
    for path in sorted(path for path in folder.rglob("*") if path.name.endswith(DATA_FILES)):
        for text in texts_of(path):
            for run in runs(text):
                if run in wanted:
                    found.setdefault(run, str(path.relative_to(folder)))
    return found


def texts_of(path: Path) -> Iterator[str]:
    """Every cell, string or line of a file of DATA_FILES, normalised; what is too short to hold a run is left out."""
    with (
        gzip.open(path, "rt", encoding="utf-8", newline="")
        if path.suffix == ".gz"
        else path.open(encoding="utf-8", newline="") as file
    ):
        yield from (normalise(text) for text in strings_of(file, path.name) if len(text) >= RUN_HAN)


def strings_of(file: IO[str], name: str) -> Iterable[str]:
    kind = name.removesuffix(".gz").rpartition(".")[2]
    if kind in {"csv", "tsv"}:
        return (cell for row in csv.reader(file, delimiter="\t" if kind == "tsv" else ",") for cell in row)
    if kind == "json":
        return strings(json.load(file))
    if kind == "jsonl":
        return (text for line in file if line.strip() for text in strings(json.loads(line)))
    return file


def strings(value: object) -> Iterator[str]:
    """All strings in decoded JSON, keys too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from (text for entry in value.items() for part in entry for text in strings(part))
    elif isinstance(value, list):
        yield from (text for part in value for text in strings(part))

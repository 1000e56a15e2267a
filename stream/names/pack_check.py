"""Proves a domain pack by its own examples and looks for what would surprise its author; `packs.py` is what is proved.

`groundswell packs check FOLDER` prints the report. A finding that is `serious` fails the pack, the others are advice.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec
from msgspec import Struct

from groundswell.errors import BrokenCatalogue, BrokenPack
from groundswell.language import language
from groundswell.tagging import Tag, Text
from groundswell.text import fold, normalise
from stream.names.entities import link
from stream.names.pack_answers import Packs
from stream.names.packs import ENTITIES, EXAMPLES, FILE, Pack, phrases_of, read
from stream.names.phrases import Phrases, parsed
from stream.names.subjects import FOLDER, Catalogue, Strength, load, matchable

UNDECIDED = Tag(0.333, 0.334, 0.333, True, [("other", 1.0)], None, 0, False)


class Example(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line of `examples.jsonl`. `topics` and `subjects` are all that may be found; `polarity` is the verdict of a model
    that cannot decide, once the pack has spoken ("silent": the pack says nothing). `trap` says what tempts."""

    text: str
    topics: list[str] = []
    subjects: list[str] = []
    polarity: Literal["negative", "neutral", "positive", "silent"] | None = None
    trap: str = ""


class Outcome(NamedTuple):
    """What became of one example; `wrong` is empty when it passed."""

    line: int
    lang: str
    example: Example
    wrong: list[str]


class Finding(NamedTuple):
    """Something to set right, or to know."""

    place: str
    what: str
    remedy: str
    serious: bool = True


class Report(NamedTuple):
    """All that was seen of one pack. `subjects` and `names` are what it adds to the catalogue."""

    pack: Pack
    subjects: int
    names: int
    outcomes: list[Outcome]
    findings: list[Finding]

    @property
    def failed(self) -> bool:
        return any(outcome.wrong for outcome in self.outcomes) or any(found.serious for found in self.findings)


def check(folder: Path) -> Report:
    """Read the pack, run its examples, compare it with the catalogue. Raises BrokenPack when it cannot be read at all."""
    pack = read(folder)
    findings = [*repeated(pack), *_never_needed(pack)]
    plain = load()
    try:
        catalogue = load([FOLDER], pack.catalogue_files)
    except BrokenCatalogue as error:
        findings.append(Finding(f"{folder / ENTITIES}", str(error), "Take that name or code out, or mend the entry."))
        catalogue = plain
    findings += _collisions(pack, catalogue)
    outcomes, of_examples = _examples(pack, catalogue)
    added = len(catalogue.names) - len(plain.names)
    return Report(pack, len(catalogue) - len(plain), added, outcomes, findings + of_examples)


def examples(folder: Path) -> list[tuple[int, Example]]:
    """Line number and example. Raises BrokenPack."""
    file, found = folder / EXAMPLES, []
    try:
        lines = file.read_bytes().splitlines()
    except OSError as error:
        raise BrokenPack(f"{file}: {error.strerror or error}. A pack's examples are its tests.") from error
    for number, raw in enumerate(lines, 1):
        if raw.strip():
            try:
                found.append((number, msgspec.json.decode(raw, type=Example)))
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise BrokenPack(f"{file}:{number}: {error}.") from error
    return found


def repeated(pack: Pack) -> Iterator[Finding]:
    """Phrases that stand in one list twice, or name two topics."""
    places: dict[Any, list[tuple[Any, str, str]]] = defaultdict(list)
    for key, phrase, entry in phrases_of(pack):
        if key.role in {"phrases", "weak", "rule", "lexicon"}:
            kind = key.role if key.role in {"rule", "lexicon"} else "topic"
            places[kind, frozenset(parsed(phrase))].append((key, phrase, entry))
    for same in places.values():
        if len(same) > 1:
            entries = " and ".join(dict.fromkeys(entry for _, _, entry in same))
            twice = len({key for key, *_ in same}) < len(same)
            remedy = "Keep one." if twice else "Keep it where it tells; or leave it, if a text with it is about both."
            yield Finding(FILE, f'"{same[0][1]}" is in {entries} more than once.', remedy, serious=twice)


def _never_needed(pack: Pack) -> Iterator[Finding]:
    """Phrases that hold another one of the same topic, which finds the text already."""
    told = [(key, phrase) for key, phrase, _ in phrases_of(pack) if key.role == "phrases"]
    book = Phrases(((key, phrase), phrase) for key, phrase in told)
    for key, phrase in told:
        shown = phrase.replace("*", "").replace(" + ", " ")
        inside = {other for keys in book.find(shown).keys for of, other in keys if of == key and other != phrase}
        if inside:
            shorter = min(inside, key=len)
            yield Finding(
                FILE, f'"{phrase}" of {key.of} is never needed: "{shorter}" finds it.', "Drop it.", serious=False
            )


def _collisions(pack: Pack, catalogue: Catalogue) -> Iterator[Finding]:
    for key, phrase, entry in phrases_of(pack):
        if key.role not in {"phrases", "weak", "lexicon", "rule"} or " + " in phrase:
            continue
        name = catalogue.names.get(matchable(phrase.removesuffix("*")), None)
        if name is None:
            continue
        if name.strength is Strength.STOP:
            yield Finding(FILE, f'"{phrase}" ({entry}) is a stop phrase of the catalogue.',
                          "It still counts here; be sure that the text is about it.", serious=False)  # fmt: skip
        elif key.role != "weak":
            yield Finding(FILE, f'"{phrase}" ({entry}) is a name of {name.subject}: all talk about it would count.',
                          "Make it weak, or add a second part.")  # fmt: skip


def _examples(pack: Pack, catalogue: Catalogue) -> tuple[list[Outcome], list[Finding]]:
    packs = Packs([pack])
    outcomes: list[Outcome] = []
    findings: list[Finding] = []
    seen: dict[str, int] = {}
    shown: Counter[tuple[str, str]] = Counter()
    known = {topic.id for topic in pack.topics}
    for line, example in examples(pack.folder):
        text = normalise(example.text)
        lang = language(text)
        place = f"{EXAMPLES}:{line}"
        outcomes.append(Outcome(line, lang, example, _wrong(packs, catalogue, pack.name, example)))
        if lang == "other":
            findings.append(Finding(place, "The text is taken for neither Chinese nor English.", "Write more of it."))
        if unknown := sorted(set(example.topics) - known):
            findings.append(Finding(place, f"There is no topic {unknown[0]}.", f"Known: {', '.join(sorted(known))}."))
        if (before := seen.setdefault(fold(text), line)) != line:
            findings.append(Finding(place, f"The text is that of line {before}.", "Write another one."))
        shown.update((topic, lang) for topic in set(example.topics))
    for topic in pack.topics:
        for lang, phrases in topic.phrases.items():
            if phrases and not shown[topic.id, lang]:
                findings.append(Finding(EXAMPLES, f"No example shows the topic {topic.id} in {lang}.", "Write one."))
    traps = sum(bool(outcome.example.trap) for outcome in outcomes)
    if traps * 3 < len(outcomes):
        findings.append(Finding(EXAMPLES, f"Only {traps} of {len(outcomes)} examples are traps.",
                                "Write texts that hold a phrase's words and mean something else.", serious=False))  # fmt: skip
    return outcomes, findings


def _wrong(packs: Packs, catalogue: Catalogue, name: str, example: Example) -> list[str]:
    """What is not as the example says, one phrase each."""
    text = normalise(example.text)
    mentions = link(catalogue, text)
    spans = [(mention.start, mention.end) for mention in mentions]
    asked = Text(text, lang=language(text), spans=spans)
    said = packs.answer(asked, msgspec.structs.replace(UNDECIDED, targets=[UNDECIDED] * len(spans)))
    topics = {topic.removeprefix(f"{name}:") for topic, _ in said.topics} - {"other"}
    wrong = [
        *_difference("topics", topics, example.topics),
        *_difference("subjects", {mention.subject for mention in mentions}, example.subjects),
    ]
    polarity = "silent" if _undecided(said) else said.polarity
    if example.polarity and polarity != example.polarity:
        wrong.append(f"polarity: {example.polarity} wanted, {polarity} found")
    return wrong


def _undecided(said: Tag) -> bool:
    return (said.negative, said.positive) == (UNDECIDED.negative, UNDECIDED.positive)


def _difference(what: str, found: set[str], wanted: Sequence[str]) -> Iterator[str]:
    if found != set(wanted):
        yield f"{what}: {', '.join(sorted(wanted)) or 'none'} wanted, {', '.join(sorted(found)) or 'none'} found"

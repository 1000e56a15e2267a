"""Reads domain packs, the folders that teach an industry's words; `pack_answers.py` uses them, docs/packs.md shows one.

A pack is a folder: `pack.toml` (topics, lexicon, rules), `entities.json` and `stop_phrases.json` in the catalogue's own
format, and `examples.jsonl`, its tests (`pack_check.py`).
"""

import hashlib
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec
from msgspec import Struct

from groundswell.errors import BrokenPack, UnknownPack
from groundswell.settings import Settings
from stream.names.phrases import BadPhrase, denies, parsed

SHIPPED = Path(__file__).parent / "industries"
FILE, EXAMPLES = "pack.toml", "examples.jsonl"
ENTITIES, STOPS = "entities.json", "stop_phrases.json"

_NAME = re.compile(r"[a-z][a-z0-9-]{1,30}")
LANGUAGES = ("en", "zh")

Name = Literal["negative", "neutral", "positive"]
Words = dict[Literal["en", "zh"], list[str]]


class Topic(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Found by any of `phrases`, or by one of `weak` in a text that also holds one of `required`. A sentence with one of
    `forbidden` does not count."""

    id: str
    title: dict[Literal["en", "zh"], str]
    phrases: Words
    weak: Words = {}
    required: Words = {}
    forbidden: Words = {}


class Rule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A sentence that holds one of `phrases`, and none of `forbidden`, leans to `polarity`."""

    id: str
    polarity: Name
    phrases: Words
    forbidden: Words = {}


class Lexicon(Struct, frozen=True, forbid_unknown_fields=True):
    """The industry's words for good and bad: where they agree, they help an unsure verdict on a text with a topic of the pack."""

    negative: Words = {}
    positive: Words = {}


class _File(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: str
    title: dict[Literal["en", "zh"], str]
    topics: list[Topic] = []
    lexicon: Lexicon = Lexicon()
    rules: list[Rule] = []


@dataclass(frozen=True)
class Pack:
    """A folder that was read and is sound by itself. `version` changes with anything that changes an answer."""

    folder: Path
    version: str
    name: str
    title: dict[Literal["en", "zh"], str]
    topics: Sequence[Topic]
    lexicon: Lexicon
    rules: Sequence[Rule]

    @property
    def catalogue_files(self) -> list[Path]:
        return [self.folder / name for name in (ENTITIES, STOPS) if (self.folder / name).exists()]


class Key(NamedTuple):
    """What a phrase stands for: its role, and `pack:ID` of its topic or rule, or `pack:POLARITY` of its lexicon."""

    role: Literal["phrases", "weak", "required", "forbidden", "rule", "rule forbidden", "lexicon"]
    of: str


def packs_of(settings: Settings) -> list[Pack]:
    """The packs that the settings name. Raises UnknownPack, BrokenPack."""
    packs = [read(locate(name)) for name in dict.fromkeys(settings.packs)]
    for n, pack in enumerate(packs):
        for other in packs[:n]:
            if other.name == pack.name:
                raise BrokenPack(f"{other.folder} and {pack.folder} are both called {pack.name}.")
    return packs


def shipped() -> list[str]:
    return sorted(path.parent.name for path in SHIPPED.glob(f"*/{FILE}"))


def locate(name: str) -> Path:
    """The folder of a shipped pack, or the folder itself. Raises UnknownPack."""
    if name in shipped():
        return SHIPPED / name
    if (Path(name) / FILE).is_file():
        return Path(name)
    raise UnknownPack(f"There is no pack {name}. Shipped: {', '.join(shipped())}.")


def read(folder: Path) -> Pack:
    """Check and read a folder; its examples are `pack_check.py`'s. Raises BrokenPack, naming file and entry."""
    file = folder / FILE
    try:
        raw = file.read_bytes()
        found = msgspec.convert(tomllib.loads(raw.decode()), _File)
    except OSError as error:
        raise BrokenPack(f"{file}: {error.strerror or error}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise BrokenPack(f"{file}: {error}.") from error
    digest = hashlib.blake2b(raw, digest_size=3)
    for name in (ENTITIES, STOPS):
        if (folder / name).exists():
            digest.update((folder / name).read_bytes())
    pack = Pack(
        folder, f"{found.name}.{digest.hexdigest()}", found.name, found.title, found.topics, found.lexicon, found.rules
    )
    _check(file, pack)
    return pack


def phrases_of(pack: Pack) -> list[tuple[Key, str, str]]:
    """Every phrase of a pack: what it stands for, itself, and the entry it is written in."""
    lists: list[tuple[Key, Words, str]] = []
    for topic in pack.topics:
        of = f"{pack.name}:{topic.id}"
        lists.append((Key("phrases", of), topic.phrases, f"topic {topic.id}, phrases"))
        lists.append((Key("weak", of), topic.weak, f"topic {topic.id}, weak"))
        lists.append((Key("required", of), topic.required, f"topic {topic.id}, required"))
        lists.append((Key("forbidden", of), topic.forbidden, f"topic {topic.id}, forbidden"))
    for rule in pack.rules:
        lists.append((Key("rule", f"{pack.name}:{rule.id}"), rule.phrases, f"rule {rule.id}, phrases"))
        lists.append((Key("rule forbidden", f"{pack.name}:{rule.id}"), rule.forbidden, f"rule {rule.id}, forbidden"))
    lists.append((Key("lexicon", f"{pack.name}:negative"), pack.lexicon.negative, "lexicon, negative"))
    lists.append((Key("lexicon", f"{pack.name}:positive"), pack.lexicon.positive, "lexicon, positive"))
    return [(key, phrase, f"{entry}.{lang}") for key, words, entry in lists for lang in words for phrase in words[lang]]


def _check(file: Path, pack: Pack) -> None:
    if not _NAME.fullmatch(pack.name):
        raise BrokenPack(f"{file}: the name {pack.name!r} is not made of small letters, digits and hyphens.")
    seen = set()
    entries: list[tuple[str, Topic | Rule]] = [
        *(("topic", one) for one in pack.topics),
        *(("rule", one) for one in pack.rules),
    ]
    for kind, entry in entries:
        if not _NAME.fullmatch(entry.id):
            raise BrokenPack(f"{file}: the {kind} id {entry.id!r} is not made of small letters, digits and hyphens.")
        if (kind, entry.id) in seen:
            raise BrokenPack(f"{file}: the {kind} {entry.id} is there twice.")
        seen.add((kind, entry.id))
        if not any(entry.phrases.values()):
            raise BrokenPack(f"{file}: the {kind} {entry.id} has no phrase.")
    for title, whose in ((pack.title, "the pack"), *((topic.title, f"the topic {topic.id}") for topic in pack.topics)):
        if missing := [lang for lang in LANGUAGES if not title.get(lang)]:  # type: ignore[call-overload]
            raise BrokenPack(f"{file}: {whose} has no title.{missing[0]}.")
    for topic in pack.topics:
        if any(topic.weak.values()) and not any(topic.required.values()):
            raise BrokenPack(f"{file}: the topic {topic.id} has weak phrases and no required ones: they never count.")
    for key, phrase, place in phrases_of(pack):
        try:
            parsed(phrase)
        except BadPhrase as error:
            raise BrokenPack(f"{file}: {place}: {phrase!r}: {error}.") from error
        if key.role in {"rule", "lexicon"} and denies(phrase):
            raise BrokenPack(f"{file}: {place}: {phrase!r} denies, and a sentence that denies is left to the model.")

"""Gives invented talk (`traffic.py`) its words: own-written sentences of models/rows about companies of the catalogue.

A company's stories go through a shuffled deck of sentences, so that within a day hardly any says what another said; a copy
is its story's text with somebody's prefix or tail. The tagger has learned from most of these sentences: what is measured
with them is the road and the detector, not the tagger.
"""

import random
from collections.abc import Iterator, Sequence
from typing import Any

from bench.traffic import NEGATIVE, NEUTRAL, POSITIVE, Asked, Said, Traffic
from groundswell import times
from models.learn import rows
from models.learn.rows import Row
from stream.names.subjects import Entry

LABELS = {NEGATIVE: "negative", NEUTRAL: "neutral", POSITIVE: "positive"}
HOME_SHARE = 0.85  # of what is said of a company is in the language of its market
HOME = {"XSHG": "zh", "XHKG": "zh"}
PUBLISHERS = {
    "en": ("Civic Monitor", "Chipfront", "Ledger Street", "Harbour Wire", "The Tradewind", "Northgate Business"),
    "zh": ("衡山路商报", "江岸财经", "晨钟证券报", "南埠日报", "东篱产业观察", "长桥新闻"),
}
NAMES = {"ORG", "NAME", "TICKER", *rows.LETTERS}
FORUMS = {"en": ("tickertalk", "harbourforum", "thread.place"), "zh": ("股友茶馆", "街角微博", "慢聊广场")}
PASSED_ON = {
    "en": ("RT @{who}: {text}", "{text} via @{who}", "{text} - {publisher}", "{text}", "so much for that: {text}"),
    "zh": ("转发 @{who}：{text}", "{text}（来源：{publisher}）", "{text}", "//@{who}: {text}", "看看这个 {text}"),
}


def nameable(entries: Sequence[Entry]) -> list[Entry]:
    """The companies whose names alone say who is meant, in both languages."""
    return [
        entry
        for entry in entries
        if entry.kind == "company"
        and entry.enabled
        and {"en", "zh"} <= entry.names.keys()
        and not {*entry.names.values()} & {*entry.needs_context, *entry.weak}
    ]


def documents(traffic: Traffic, asked: Asked) -> Iterator[dict[str, Any]]:
    """All documents in order of time, in the shape that `groundswell push` and `replay` take."""
    chance = random.Random(asked.seed)
    decks = {(tone, lang): _deck(lang, label, chance) for tone, label in LABELS.items() for lang in ("en", "zh")}
    fillers = {lang: rows.slots(lang) for lang in ("en", "zh")}
    copied = {(one.subject, one.copy_of) for one in traffic.said if one.copy_of >= 0}
    told: dict[tuple[int, int], tuple[str, str]] = {}
    places: dict[tuple[int, int, str], int] = {}
    for number, one in enumerate(traffic.said):
        entry = asked.subjects[one.subject]
        if one.copy_of < 0:
            home = HOME.get(entry.calendar, "en")
            lang = home if chance.random() < HOME_SHARE else "zh" if home == "en" else "en"
            key = (one.subject, one.tone, lang)
            deck = decks[one.tone, lang]
            # Each company begins somewhere else in the deck, so that one sentence is not said of all at once.
            places[key] = (places.get(key, chance.randrange(len(deck))) + 1) % len(deck)
            text = _filled(deck[places[key]], entry.names[lang], fillers[lang], chance)  # type: ignore[index]
            if (one.subject, one.story) in copied:
                told[one.subject, one.story] = text, lang
        else:
            text, lang = told[one.subject, one.copy_of]
            text = chance.choice(PASSED_ON[lang]).format(
                text=text, who=f"reader{chance.randrange(4000)}", publisher=chance.choice(PUBLISHERS[lang])
            )
        yield _document(one, f"sim-{asked.seed}-{number}", text, lang, chance)


def _deck(lang: str, label: str, chance: random.Random) -> list[Row]:
    """Sentences of one company only, shuffled."""
    found = [row for row in rows.load(lang) if row.label == label and _names(row) in (["ORG"], ["A"])]
    chance.shuffle(found)
    return found


def _names(row: Row) -> list[str]:
    return [slot for slot in rows.SLOT.findall(row.skeleton) if slot in NAMES]


def _filled(row: Row, name: str, fillers: dict[str, dict[str, list[str]]], chance: random.Random) -> str:
    pools = {"train": {**fillers["train"], "NAME": [name], "ORG": [name]}}
    return rows.fill(row, pools, "train", chance).text


def _document(one: Said, identity: str, text: str, lang: str, chance: random.Random) -> dict[str, Any]:
    document: dict[str, Any] = {
        "id": identity,
        "text": text,
        "source": chance.choice(PUBLISHERS[lang] if one.news else FORUMS[lang]),
        "feed": "news" if one.news else "comments",
        "lang": lang,
        "published_at": times.rfc3339(one.at_ms),
    }
    if one.author >= 0:
        document["author"] = f"reader{one.author}"
    return document

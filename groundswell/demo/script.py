"""Turns the demo's texts into a stream with times: a quiet day, a storm of copies that must stay silent, and one believable surge.

Pure: the same seed and the same end give the same documents. commands/demo.py plays them.
"""

import random
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec

from groundswell import times

PLANTED = "XDEM:BLUW"
HISTORY_MS = 26 * 3_600_000  # longer than a day: after that a subject is no longer learning
QUIET_MS = 12 * 60_000  # before now the history ends
STORM_COPIES = 120
SURGE_MS = 6 * 60_000
LATER_SHARE = 0.35  # of the surge that is said after the first alert, while people watch

Document = dict[str, Any]  # as pushed: news and comments of one story, so one topic with one order


def catalogue() -> Path:
    """The catalogue of the ten companies."""
    return Path(str(resources.files("groundswell.demo") / "catalogue.json"))


def opening(end_ms: int, seed: int = 7) -> list[Document]:
    """Everything up to `end_ms`, in order of time: the quiet day, the storm, and the first part of the surge."""
    chance = random.Random(seed)  # noqa: S311 - a play, not a secret
    texts = _texts()
    lines = list(_history(texts, end_ms, chance)) + list(_storm(texts, end_ms, chance))
    surge = _woven(texts, "surge")
    now = surge[: round(len(surge) * (1 - LATER_SHARE))]
    for i, text in enumerate(now):
        # It begins slowly and swells: the gaps shrink.
        at_ms = end_ms - SURGE_MS + round(SURGE_MS * (i / len(now)) ** 0.6)
        lines.append(_line(text, f"surge-{i}", at_ms))
    return sorted(lines, key=lambda line: (line["published_at"], line["id"]))


def rest_of_surge(start: int = 0) -> list[Document]:
    """What is said after the alert; times are given when it is played."""
    surge = _woven(_texts(), "surge")
    later = surge[round(len(surge) * (1 - LATER_SHARE)) :]
    return [_line(text, f"later-{start + i}", None) for i, text in enumerate(later)]


def reposts(seed: int) -> Iterator[Document]:
    """Everyday lines passed on without end: reach, no mentions; the page keeps moving and nothing may fire."""
    chance = random.Random(seed)  # noqa: S311
    history = _woven(_texts(), "history")
    recent = history[len(history) // 3 :]
    number = 0
    while True:
        number += 1
        text = chance.choice(recent)
        yield _line({**text, "author": f"reader{chance.randrange(4000)}"}, f"repost-{seed}-{number}", None)


def _texts() -> dict[str, list[dict[str, Any]]]:
    folder = resources.files("groundswell.demo")
    return {
        lang: [
            msgspec.json.decode(line) for line in (folder / f"{lang}.jsonl").read_bytes().splitlines() if line.strip()
        ]
        for lang in ("zh", "en")
    }


def _woven(texts: dict[str, list[dict[str, Any]]], part: str) -> list[dict[str, Any]]:
    """Both languages' lines of one part, evenly mixed, each in its own order."""
    chosen = {lang: [{**text, "lang": lang} for text in texts[lang] if text["part"] == part] for lang in texts}
    placed = [((i + 0.5) / len(lines), lang, text) for lang, lines in chosen.items() for i, text in enumerate(lines)]
    return [text for _, _, text in sorted(placed, key=lambda one: one[:2])]


def _history(texts: dict[str, list[dict[str, Any]]], end_ms: int, chance: random.Random) -> Iterator[Document]:
    lines = _woven(texts, "history")
    span_ms = HISTORY_MS - QUIET_MS
    for i, text in enumerate(lines):
        place = (i + chance.random()) / len(lines)
        yield _line(text, f"history-{i}", end_ms - HISTORY_MS + round(span_ms * place))


def _storm(texts: dict[str, list[dict[str, Any]]], end_ms: int, chance: random.Random) -> Iterator[Document]:
    start_ms, span_ms = end_ms - QUIET_MS, 4 * 60_000
    for lang in ("zh", "en"):
        lines = [{**text, "lang": lang} for text in texts[lang] if text["part"] == "storm"]
        yield _line(lines[0], f"storm-{lang}-0", start_ms)
        for i in range(1, STORM_COPIES // 2 + 1):
            yield _line(
                _copied(chance.choice(lines), chance),
                f"storm-{lang}-{i}",
                start_ms + round(span_ms * i / STORM_COPIES * 2),
            )


def _copied(text: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    """A repost: somebody else's name, a prefix or a tail, the same words."""
    who = f"reader{chance.randrange(4000)}"
    words = chance.choice(("RT @{who}: {text}", "{text} via @{who}", "{text}", "//@{who}: {text}"))
    return {
        **text, "title": None, "feed": "comments", "author": who, "source": "repost",
        "text": words.format(who=who, text=text["text"]),
    }  # fmt: skip


def _line(text: dict[str, Any], identity: str, at_ms: int | None) -> Document:
    document = {
        "id": f"demo-{identity}",
        "text": text["text"],
        "source": text.get("source") or "demo",
        "feed": text["feed"],
    }
    for name in ("title", "author"):
        if text.get(name):
            document[name] = text[name]
    if at_ms is not None:
        document["published_at"] = times.rfc3339(at_ms)
    return document

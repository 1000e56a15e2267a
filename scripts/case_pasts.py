"""What was said over one invented weekend, of three invented companies: the pasts of the cases that docs/cases.md tells.

Pure: the same seed gives the same documents. `case_pasts.json` has the companies and the texts; cases.py plays them.
"""
# ruff: noqa: INP001 - beside a script that is run, not a package

import json
import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

Document = dict[str, Any]

HERE = ZoneInfo("Asia/Shanghai")
BEGIN, END = datetime(2026, 11, 6, 0, tzinfo=HERE), datetime(2026, 11, 9, 20, tzinfo=HERE)  # Friday to Monday
RUMOUR, DENIED = (
    datetime(2026, 11, 7, 20, 4, tzinfo=HERE),
    datetime(2026, 11, 7, 21, 10, tzinfo=HERE),
)  # Saturday evening
NIGHT, OPENING = datetime(2026, 11, 8, 3, 10, tzinfo=HERE), datetime(2026, 11, 9, 9, 10, tzinfo=HERE)  # Sunday; Monday
DEFAULT = datetime(2026, 11, 9, 16, 12, tzinfo=HERE)  # Monday afternoon
DAIRY, ESTATES, SOLAR = "XCAS:LKHD", "XCAS:KSTQ", "XCAS:TDLS"
TRUSTED = "Harbour Wire"

HOURS = (0.5,) * 6 + (0.6, 0.8, 1.1, 1.9, 1.3, 1.2, 1.1, 1.2, 1.3, 1.3, 1.1, 1.0, 1.0, 1.1, 1.1, 0.9, 0.7, 0.6)
WEEKEND = 0.5  # of a weekday's talk
NEGATIVE = 0.35  # of everyday talk, and of an opening
COPIES, COPIED_MIN = 160, 35
POSTS, POSTED_MIN = 64, 60  # of an opening
VOICES, VOICES_MIN = 90, 100  # after the default


def texts() -> dict[str, Any]:
    """The companies, and what is said of them."""
    found: dict[str, Any] = json.loads(Path(__file__).with_suffix(".json").read_bytes())
    return found


def pasts(seed: int = 11) -> dict[str, list[Document]]:
    """The documents of each case, oldest first. Pure."""
    told, parts = texts(), {}
    for number, (name, subject, case, an_hour) in enumerate(
        (("rumour", DAIRY, _rumour, 4.0), ("default", ESTATES, _default, 4.0), ("opening", SOLAR, _openings, 24.0))
    ):
        chance = random.Random(seed + number)  # noqa: S311 - a play, not a secret
        company = next(one for one in told["companies"] if one["id"] == subject)
        lines = [*case(told, company, chance), *_usual(told, company, an_hour, chance)]
        lines.sort(key=lambda line: str(line["published_at"]))
        parts[name] = [{"id": f"{name}-{place}", **line} for place, line in enumerate(lines)]
    return parts


def _line(at: datetime, text: str, author: str = "", *, source: str = "forum.example", title: str = "") -> Document:
    line = {
        "published_at": at.isoformat(timespec="seconds"),
        "text": text,
        "source": source,
        "feed": "comments" if author else "news",
    }
    return line | ({"author": author} if author else {"title": title})


def _short(told: dict[str, Any], company: dict[str, Any], negative: float, chance: random.Random) -> str:
    words: str = chance.choice(told["negative" if chance.random() < negative else "calm"])
    return words.replace("{zh}", company["names"]["zh"]).replace("{ticker}", company["cashtags"][0])


def _reader(chance: random.Random) -> str:
    return f"reader{chance.randrange(4000)}"


def _usual(told: dict[str, Any], company: dict[str, Any], an_hour: float, chance: random.Random) -> Iterator[Document]:
    """Everyday talk by the hour of the week; where a case sets an opening, that is the talk of the hour."""
    at = BEGIN
    while at < END:
        weight = HOURS[at.hour] * (WEEKEND if at.weekday() >= 5 else 1.0)
        at += timedelta(seconds=chance.expovariate(an_hour * weight / 3600))
        taken = company["id"] == SOLAR and OPENING <= at < OPENING + timedelta(minutes=POSTED_MIN)
        if at < END and not taken:
            yield _line(at, _short(told, company, NEGATIVE, chance), _reader(chance))


def _rumour(told: dict[str, Any], _company: dict[str, Any], chance: random.Random) -> Iterator[Document]:
    """One text copied, one author who says it in ever other words, a few who ask; then the denial."""
    case = told["rumour"]
    yield _line(RUMOUR, case["text"], case["author"])
    for place in range(COPIES):
        who, frame = _reader(chance), chance.choice(case["frames"])
        at = RUMOUR + timedelta(minutes=COPIED_MIN * (place + 1) / COPIES)
        yield _line(at, frame.format(text=case["text"], who=_reader(chance)), who)
    for place, text in enumerate(case["wordings"]):
        yield _line(RUMOUR + timedelta(minutes=3 + 1.5 * place), text, case["author"])
    for place, one in enumerate(case["others"]):
        yield _line(RUMOUR + timedelta(minutes=9 + 6 * place), one["text"], one["author"])
    for place, one in enumerate(case["denial"]):
        yield _line(DENIED + timedelta(minutes=4 * place), one["text"], source=one["source"], title=one["title"])


def _default(told: dict[str, Any], _company: dict[str, Any], chance: random.Random) -> Iterator[Document]:
    """A few uneasy texts, the first sure one, then many voices, loudest at first."""
    case = told["default"]
    for place, one in enumerate(case["slow"]):
        yield _line(DEFAULT - timedelta(hours=29 - 8 * place), one["text"], one["author"])
    first = case["first"]
    yield _line(DEFAULT, first["text"], source=first["source"], title=first["title"])
    for place, one in enumerate(case["news"]):
        yield _line(DEFAULT + timedelta(minutes=8 + 9 * place), one["text"], source=one["source"], title=one["title"])
    said = [(start, end) for lang in ("zh", "en") for start in case[lang][0] for end in case[lang][1]]
    for place, (start, end) in enumerate(chance.sample(said, VOICES)):
        at = DEFAULT + timedelta(minutes=2 + VOICES_MIN * (place / VOICES) ** 1.6)
        yield _line(at, start + (" " if start.isascii() else "") + end, _reader(chance))


def _openings(told: dict[str, Any], company: dict[str, Any], chance: random.Random) -> Iterator[Document]:
    """The same posts twice: on Sunday at night, and thirty hours later at the opening of Monday."""
    posts = [
        (chance.triangular(0, POSTED_MIN, POSTED_MIN / 3), _short(told, company, NEGATIVE, chance), _reader(chance))
        for _ in range(POSTS)
    ]
    for start in (NIGHT, OPENING):
        for minute, text, author in posts:
            yield _line(start + timedelta(minutes=minute), text, author)


def write(folder: Path, parts: dict[str, list[Document]]) -> Path:
    """The pasts as JSONL, each for `groundswell replay --step-min 1`; returns the catalogue of their companies."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, past in parts.items():
        (folder / f"{name}.jsonl").write_text(
            "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in past), encoding="utf-8"
        )
    catalogue = folder / "catalogue.json"
    catalogue.write_text(json.dumps(texts()["companies"], ensure_ascii=False), encoding="utf-8")
    return catalogue

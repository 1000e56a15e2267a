"""Negative texts as aggregate keeps them for one subject, and prices: what the tables of a subject's page are made of. All is invented."""

import math
import random
from pathlib import Path
from typing import Any

import msgspec

from groundswell.keys import MINUTE_MS, Keys
from groundswell.records import DocumentCard
from groundswell.times import rfc3339
from stream.topology import Topology
from tests import believable

STORIES: tuple[tuple[str, str, str, str, tuple[str, ...], int], ...] = (
    (
        "wirepress.example",
        "Halvorn Motors recalls 212,000 vans over brake fires",
        "en",
        "news",
        ("safety", "product"),
        84,
    ),
    ("caixun.example", "霍尔文汽车因制动起火召回二十一万辆货车", "zh", "news", ("safety",), 61),
    (
        "marketdesk.example",
        "Regulator opens probe into Halvorn brake supplier",
        "en",
        "news",
        ("regulation", "supply"),
        33,
    ),
    ("guancha.example", "霍尔文汽车盘中跌逾百分之八，供应商同步下挫", "zh", "news", ("market",), 17),
    (
        "courtwire.example",
        "Owners file first class action over parked-van fires",
        "en",
        "news",
        ("litigation", "safety"),
        9,
    ),
    ("dailyledger.example", "Analysts cut Halvorn targets as recall bill grows", "en", "news", ("analyst",), 6),
)
VOICES = (
    ("forum.example", "Mine smoked for an hour while parked. The dealer says wait six weeks.", "en", ("safety", "product")),
    ("luntan.example", "刚提车三个月就让停驶，客服电话打了一下午没人接，太失望了。", "zh", ("safety",)),
    ("chatter.example", "Second recall in a year, I am done with this brand.", "en", ("product",)),
    ("forum.example", "Sold my shares this morning, the supplier knew.", "en", ("supply", "market")),
    ("weituan.example", "供应商早就知道，股价还要跌。", "zh", ("supply", "market")),
)  # fmt: skip


def negatives(now_ms: int, *, surge_minutes: int = 27, count: int = 230, hours: int = 20) -> list[DocumentCard]:
    """Oldest first: a quiet day, then a surge whose stories are the same few."""
    chance = random.Random(5)
    times = sorted(
        [now_ms - surge_minutes * MINUTE_MS - int(chance.random() * hours * 60) * MINUTE_MS for _ in range(count // 2)]
        + [now_ms - int(surge_minutes * chance.random() ** 1.4 * MINUTE_MS) - 1 for _ in range(count - count // 2)]
    )
    cards = []
    for place, at_ms in enumerate(times):
        surging = at_ms > now_ms - surge_minutes * MINUTE_MS
        if chance.random() < (0.15 if surging else 0.5):
            told = chance.randrange(len(STORIES)) if surging else 5
            source, title, lang, feed, topics, _ = STORIES[told]
            story = f"s{told}" if surging else f"q{place}"
            excerpt = title
        else:
            source, excerpt, lang, topics = chance.choice(VOICES)
            title, feed, story = "", "comments", f"v{place}"
        if not surging:
            topics = (chance.choice(("analyst", "product", "labour", "earnings", "market")),)
        cards.append(
            DocumentCard(
                id=f"n{place:03}",
                story=story,
                published_at=at_ms,
                source=source,
                label="negative",
                negative=0.93,
                lang=lang,
                feed=feed,
                author=f"a{place}",
                title=title,
                excerpt=excerpt,
                url=f"https://{source}/{story}" if title else "",
                about=("XTST:HLVN", *(("XTST:VNTP",) if "supply" in topics else ())),
                topics=topics,
            )
        )
    return cards


def write(redis: Any, keys: Keys, topology: Topology, subject: str, cards: list[DocumentCard]) -> None:
    """As stream/store.py does."""
    home = topology.scored_partition(subject)
    redis.delete(keys.negatives(home, subject))
    redis.rpush(keys.negatives(home, subject), *(msgspec.json.encode(one) for one in cards))
    redis.hset(keys.echoes(home, subject), mapping={f"s{place}": row[5] for place, row in enumerate(STORIES)})


def write_prices(file: Path, now_ms: int, subject: str = believable.SURGE.subject, hours: int = 30) -> None:
    """A quiet share that falls when the news comes."""
    chance, price, rows = random.Random(11), 71.4, ["subject,time,price,currency"]
    for minute in range(hours * 60, 0, -1):
        at_ms = now_ms - minute * MINUTE_MS
        fall = 0.085 * (1 - math.exp(-max(0, 25 - minute) / 9))
        price += chance.gauss(0, 0.025) + (71.4 - price) * 0.01
        rows.append(f"{subject},{rfc3339(at_ms // 1000 * 1000)},{price * (1 - fall):.2f},CNY")
    file.write_text("\n".join(rows) + "\n", encoding="utf-8")

"""Makes the alerts that delivery's benchmark and kill tests send: episodes of invented companies, interleaved as they would come.

Each episode fires, is updated some times, and most are resolved; the events of one are in order, those of others lie between.
Sizes are those of real ones: two to five kB, both languages. Next: deliver_road.py, which writes them.
"""

import random
from typing import Literal, NamedTuple

import msgspec

from groundswell import times
from groundswell.records import AlertData, AlertDocument, AlertEvent, AlertRule, AlertSubject, Expected, Observed

OPEN = 40  # episodes at a time: so far apart are two events of one
UPDATES_MOST = 4
COMPANIES = 400
_FIRST = ("Harbour", "Northern", "Blue", "Summit", "Pioneer", "Cedar", "Delta", "Orion", "Silver", "Granite")
_SECOND = (
    ("Steel", "钢铁"),
    ("Foods", "食品"),
    ("Motors", "汽车"),
    ("Energy", "能源"),
    ("Bank", "银行"),
    ("Chips", "芯片"),
)
_ZH = ("海港", "北方", "蓝湾", "高峰", "先锋", "雪松", "三江", "猎户", "白银", "磐石")
_SENTENCES = (
    ("en", "Auditors refused to sign the report and the shares fell by a third within an hour."),
    ("en", "Customers say the recall covers every unit sold since spring; lawyers are collecting claims."),
    ("en", "Two directors were charged with embezzlement, people who know the case said on Friday."),
    ("zh", "公司承认三季度收入虚增，监管部门已经进场调查，股价午后跌停。"),
    ("zh", "供应商在论坛上说货款拖了半年，多家分公司的账户据称已被冻结。"),
    ("zh", "“账本有两套”——前员工的一段录音今早在投资者群里流传开来。"),
)


class Alert(NamedTuple):
    """One event and what a receiver must see of it."""

    id: str
    episode: str
    sequence: int
    body: bytes


def alerts(count: int, at_ms: int, seed: int = 1) -> list[Alert]:
    """`count` events in the order in which they are written; the same for the same arguments."""
    rng = random.Random(seed)
    under_way: list[_Episode] = []
    made: list[Alert] = []
    begun = 0
    for _ in range(count):
        if len(under_way) < OPEN:
            under_way.append(_Episode(f"ep_bench{seed}x{begun}", begun % COMPANIES, rng.randint(0, UPDATES_MOST)))
            begun += 1
            episode = under_way[-1]
        else:
            episode = rng.choice(under_way)
        made.append(episode.next(at_ms, rng))
        if episode.over:
            under_way.remove(episode)
    return made


class _Episode:
    def __init__(self, name: str, company: int, updates: int) -> None:
        self.name, self.company, self.updates = name, company, updates
        self.sequence = 0
        self.over = False

    def next(self, at_ms: int, rng: random.Random) -> Alert:
        self.sequence += 1
        kind: Literal["alert.firing", "alert.updated", "alert.resolved"] = "alert.updated"
        if self.sequence == 1:
            kind = "alert.firing"
        elif self.sequence == self.updates + 2:
            kind, self.over = "alert.resolved", True
        event = AlertEvent(
            id=f"gw_{self.name[3:]}_{self.sequence}",
            type=kind,
            timestamp=times.rfc3339(at_ms),
            data=self._data(at_ms, rng, resolved=kind == "alert.resolved"),
        )
        return Alert(event.id, self.name, self.sequence, msgspec.json.encode(event))

    def _data(self, at_ms: int, rng: random.Random, *, resolved: bool) -> AlertData:
        first, (second, zh) = self.company % len(_FIRST), _SECOND[self.company // len(_FIRST) % len(_SECOND)]
        at, negatives = times.rfc3339(at_ms), rng.randint(12, 400)
        names = {"en": f"{_FIRST[first]} {second}", "zh": f"{_ZH[first]}{zh}"}
        usual = round(rng.uniform(0.5, 20), 1)
        return AlertData(
            episode_id=self.name,
            sequence=self.sequence,
            state="resolved" if resolved else "firing",
            previous_state="pending" if self.sequence == 1 else "firing",
            test=False,
            severity="critical" if self.company % 5 == 0 else "warning",
            rule=AlertRule(id="negative-surge", version=1),
            subject=AlertSubject(id=f"XDEM:B{self.company:03d}", kind="entity", names=names),
            kind="count",
            started_at=at,
            detected_at=at,
            resolved_at=at if resolved else None,
            window_s=900,
            observed=Observed(mentions=2 * negatives, negatives=negatives, negative_share=0.5, reach=5 * negatives),
            expected=Expected(negatives=usual, low=0, high=round(3 * usual)),
            effect=round(negatives / usual, 2),
            effect_low=round(negatives / usual / 1.5, 2),
            effect_high=round(negatives / usual * 1.5, 2),
            log10_e_value=6.1,
            log10_threshold=4.2,
            fires_without_largest_story=True,
            documents=[self._document(n, at, rng) for n in range(rng.randint(3, 10))],
            documents_total=negatives,
            truncated=True,
            versions={"model": "bundled", "rule": "1"},
            summary={
                "en": f"{names['en']}: {negatives} negative mentions in 15 minutes, {usual} expected.",
                "zh": f"{names['zh']}：15 分钟内负面 {negatives} 条，通常 {usual} 条。",
            },
            links={"evidence": f"http://127.0.0.1:8080/e/{self.name}"},
        )

    def _document(self, number: int, at: str, rng: random.Random) -> AlertDocument:
        lang, sentence = rng.choice(_SENTENCES)
        return AlertDocument(
            id=f"{self.name}-{number}",
            title=sentence[:40],
            excerpt=sentence,
            source=f"wire-{rng.randrange(9)}",
            lang=lang,
            published_at=at,
            url=f"https://news.example/{self.name}/{number}",
            negative=round(rng.uniform(0.6, 0.99), 3),
            story=f"story-{rng.randrange(10_000)}",
            echoes=rng.randrange(50),
        )

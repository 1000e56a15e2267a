"""Fills a Redis with what aggregate and the relay would have left there: invented companies, a quiet day, one surge.

The formats are those of groundswell/records.py and groundswell/keys.py. `fill` writes all; the other functions make
single records for a test to change. Every company and every text is invented.
"""

import math
import random
from dataclasses import dataclass
from typing import Any

import msgspec

from groundswell.keys import HOUR_MS, MINUTE_MS, QUARTER_MS, Keys, pack_counters
from groundswell.records import (
    AlertData,
    AlertDocument,
    AlertEvent,
    AlertRule,
    AlertSubject,
    AlertView,
    Bucket,
    DocumentCard,
    Expectation,
    Expected,
    LiveRow,
    Observed,
)
from groundswell.times import rfc3339
from stream.topology import Topology

QUIET_HOURS = 26


@dataclass(frozen=True)
class Company:
    """A subject and its usual negatives a minute."""

    subject: str
    en: str
    zh: str
    level: float
    state: str = "inactive"
    evidence: float = -6.0


SURGE = Company("XTST:HLVN", "Halvorn Motors", "霍尔文汽车", 0.35, "firing", 9.4)
COMPANIES = (
    SURGE,
    Company("XTST:QILN", "Quillon Pharma", "奎隆制药", 0.5, "recovering", -1.2),
    Company("XTST:VNTP", "Vantorp Steel", "万托普钢铁", 0.6, "pending", 0.3),
    Company("XTST:ZPHR", "Zephira Cloud", "泽菲拉云", 1.1),
    Company(
        "XTST:BTIR", "Brightmoor & Thistledown International Retail Holdings", "布莱特摩尔与西斯尔当国际零售控股", 0.8
    ),
    Company("XTST:KSTG", "Kestering Grid", "凯斯特林电网", 0.4),
    Company("XTST:OSTR", "Ostrava-Lind Chips", "奥斯特林芯片", 0.9),
    Company("XTST:NRVB", "Norvaille Bank", "诺瓦伊银行", 0.7),
    Company("XTST:TSLY", "Tessaly Air", "泰萨利航空", 0.3),
    Company("XTST:MRDF", "Meridova Foods", "美瑞多瓦食品", 0.25),
    Company("topic:fraud", "Fraud", "欺诈", 0.9),
    Company("XTST:LMNW", "Lumenwick Media", "卢门威克传媒", 0.1, "learning", -9.0),
)
NEWS = (
    (
        "en",
        "wirepress.example",
        "Halvorn Motors recalls 212,000 vans over brake fires",
        "The company said braking resistors can overheat and catch fire while parked.",
    ),
    (
        "zh",
        "caixun.example",
        "霍尔文汽车因制动起火召回二十一万辆货车",
        "公司承认制动电阻在停车状态下可能过热起火，已有三起受伤报告。",
    ),
    (
        "en",
        "marketdesk.example",
        "Regulator opens probe into Halvorn brake supplier",
        "Investigators will examine whether the defect was known a year ago and kept from customers.",
    ),
    (
        "zh",
        "guancha.example",
        "霍尔文汽车盘中跌逾百分之八，供应商同步下挫",
        "分析人士认为召回费用可能吞掉全年利润的三分之一。",
    ),
    (
        "en",
        "forum.example",
        "",
        "Mine was parked for two hours when smoke came out of the rear wheel. Dealer says wait six weeks.",
    ),
    ("zh", "luntan.example", "", "刚提车三个月就让停驶，客服电话打了一下午没人接，太失望了。"),
)


EVIDENCE: dict[str, Any] = {
    "decision": "fired",
    "severity": "critical",
    "trend": "growing",
    "negatives": 49,
    "expected_since_onset": 5.4,
    "ln_m": {"combined": 23.5, "fast": 21.2, "slow": 24.1, "share": 6.3},
    "ln_h": 14.9,
    "mode": "guaranteed",
    "budget": 5.0,
    "floors": {"stories": 21, "authors": 17, "publishers": 6},
    "leave_out": {"all": 23.5, "story": 19.1, "author": 22.8, "publisher": 17.4},
    "observed": {
        "1m": {"mentions": 5, "negatives": 4, "reach": 14},
        "5m": {"mentions": 24, "negatives": 19, "reach": 70},
        "15m": {"mentions": 63, "negatives": 49, "reach": 147},
        "1h": {"mentions": 88, "negatives": 61, "reach": 180},
    },
    "expected": {
        "1m": {"negatives": 0.36, "low": 0, "high": 2},
        "5m": {"negatives": 1.8, "low": 0, "high": 4},
        "15m": {"negatives": 5.4, "low": 2, "high": 11},
        "1h": {"negatives": 21.0, "low": 12, "high": 32},
    },
    "expected_per_step": 0.36,
    "level": 0.35,
    "profile": 1.03,
    "share_p": 0.31,
    "excess": 43.6,
    "excess_by": {
        "source": [["wirepress.example", 14.5], ["luntan.example", 11.9], ["caixun.example", 10.6], ["", 6.6]],
        "story": [
            ["https://wirepress.example/0", 17.2],
            ["halvorn brake supplier probe opened by regulator", 9.1],
            ["", 17.3],
        ],
        "topic": [["safety", 29.3], ["regulation", 9.4], ["", 4.9]],
    },
    "by_source": [["wirepress.example", 11], ["luntan.example", 9], ["caixun.example", 8], ["forum.example", 5]],
}


def season(at_ms: int) -> float:
    """A day's shape: quiet at night, two peaks."""
    hour = at_ms % 86_400_000 / HOUR_MS
    return 0.35 + 0.9 * math.exp(-(((hour - 3.5) / 3.5) ** 2)) + 1.0 * math.exp(-(((hour - 14.5) / 4) ** 2))


def poisson(chance: random.Random, mean: float) -> int:
    limit, product, count = math.exp(-mean), chance.random(), 0
    while product > limit:
        product *= chance.random()
        count += 1
    return count


def mean_at(company: Company, at_ms: int, onset_ms: int) -> float:
    usual = company.level * season(at_ms)
    if company is not SURGE or at_ms < onset_ms:
        return usual
    return usual + 3.6 * (1 - math.exp(-(at_ms - onset_ms) / 480_000))


def expectation(company: Company, at_ms: int) -> Expectation:
    mean = company.level * season(at_ms)

    def band(minutes: int) -> tuple[int, int]:
        total = mean * minutes
        spread = 1.645 * math.sqrt(total * (1 + 0.12 * total))
        return max(0, round(total - spread)), math.ceil(total + spread)

    return Expectation(round(mean, 4), *band(1), *band(5), *band(60))


def buckets(company: Company, begin_ms: int, now_ms: int, onset_ms: int, seed: int = 7) -> dict[int, Bucket]:
    chance = random.Random(f"{seed}{company.subject}")
    found = {}
    for minute in range(begin_ms // MINUTE_MS * MINUTE_MS, now_ms // MINUTE_MS * MINUTE_MS, MINUTE_MS):
        mean = mean_at(company, minute, onset_ms)
        negative = poisson(chance, mean)
        found[minute] = Bucket(
            negative,
            poisson(chance, 1.4 * company.level),
            poisson(chance, 0.8 * company.level),
            0,
            poisson(chance, 2.2 * mean),
        )
    return found


def live_row(company: Company, counted: dict[int, Bucket], now_ms: int, **changes: Any) -> LiveRow:
    at = now_ms // MINUTE_MS * MINUTE_MS

    def window(minutes: int) -> list[Bucket]:
        return [counted.get(at - MINUTE_MS * (back + 1), Bucket()) for back in range(minutes)]

    quarter = window(15)
    usual = company.level * season(at) * 15
    spread = 1.645 * math.sqrt(usual * (1 + 0.12 * usual))
    negatives, mentions = sum(one.negative for one in quarter), sum(one.mentions for one in quarter)
    spark = [
        sum(counted.get(at - 300_000 * back + MINUTE_MS * place, Bucket()).negative for place in range(5))
        for back in range(36, 0, -1)
    ]
    row = LiveRow(
        subject=company.subject,
        kind="topic" if company.subject.startswith("topic:") else "company",
        names={"en": company.en, "zh": company.zh},
        state=company.state,
        at=at,
        negatives_15=negatives,
        expected_15=round(usual, 3),
        low_15=max(0, round(usual - spread)),
        high_15=math.ceil(usual + spread),
        mentions_15=mentions,
        reach_15=sum(one.reach for one in quarter),
        share=negatives / mentions if mentions else 0.0,
        evidence=company.evidence,
        spark=spark,
        minutes=[
            [minute, one.negative, one.neutral, one.positive]
            for minute in range(at - 3 * MINUTE_MS, at, MINUTE_MS)
            if (one := counted.get(minute))
        ],
        episode="ep_9a41" if company is SURGE else "",
    )
    return msgspec.structs.replace(row, **changes)


def cards(now_ms: int) -> list[DocumentCard]:
    found = []
    for place in range(18):
        lang, source, title, excerpt = NEWS[place % len(NEWS)]
        echo = place % 5 == 3
        label = "negative" if place % 6 != 4 else "neutral"
        found.append(
            DocumentCard(
                id=f"d{place:03}",
                story=f"s{place // 3}",
                published_at=now_ms - 70_000 - place * 140_000,
                source=source,
                label=label,
                negative=0.97 - 0.02 * place,
                lang=lang,
                feed="news" if title else "comments",
                title=title,
                excerpt=excerpt,
                url=f"https://{source}/{place}" if title else "",
                unsure=place == 10,
                echo=echo,
                about=(SURGE.subject, *((COMPANIES[2].subject,) if place == 2 else ())),
            )
        )
    return found


def alert(
    now_ms: int,
    *,
    episode: str = "ep_9a41",
    company: Company = SURGE,
    state: str = "firing",
    minutes_ago: int = 27,
    negatives: int = 49,
    **changes: Any,
) -> AlertView:
    onset = now_ms // MINUTE_MS * MINUTE_MS - minutes_ago * MINUTE_MS
    detected = onset + 4 * MINUTE_MS
    over = onset + 74 * MINUTE_MS if state == "resolved" else None
    documents = [
        AlertDocument(
            id=f"d{place:03}",
            title=title,
            excerpt=excerpt,
            source=source,
            lang=lang,
            published_at=rfc3339(onset + (2 + 3 * place) * MINUTE_MS),
            url=f"https://{source}/{place}" if title else None,
            negative=round(0.98 - 0.03 * place, 2),
            story=f"s{place}",
            echoes=(18, 6, 1, 0, 0, 0)[place],
        )
        for place, (lang, source, title, excerpt) in enumerate(NEWS)
    ]
    data = AlertData(
        episode_id=episode,
        sequence=2,
        state=state,
        previous_state="inactive",
        test=False,
        severity="critical" if company is SURGE else "warning",
        rule=AlertRule(id="surge", version=1),
        subject=AlertSubject(id=company.subject, kind="company", names={"en": company.en, "zh": company.zh}),
        kind="count",
        started_at=rfc3339(onset),
        detected_at=rfc3339(detected),
        resolved_at=rfc3339(over) if over else None,
        window_s=900,
        observed=Observed(
            mentions=negatives + 14,
            negatives=negatives,
            negative_share=round(negatives / (negatives + 14), 3),
            reach=3 * negatives,
        ),
        expected=Expected(negatives=5.4, low=2, high=11),
        effect=negatives / 5.4,
        effect_low=negatives / 7.4,
        effect_high=negatives / 4.1,
        log10_e_value=10.2,
        log10_threshold=6.5,
        fires_without_largest_story=True,
        documents=documents,
        documents_total=negatives,
        truncated=True,
        versions={"model": "bundled 1", "rule": "surge 1", "normaliser": "1"},
        summary={
            "en": f"{company.en}: {negatives} negative mentions in 15 minutes, where 2 to 11 are normal at this hour.",
            "zh": f"{company.zh}：15 分钟内出现 {negatives} 条负面提及，这一时段通常为 2 至 11 条。",
        },
        links={"page": f"/alerts/{episode}"},
    )
    stamp = over or detected
    event = AlertEvent(
        id=f"msg_{episode}", type="alert.resolved" if over else "alert.firing", timestamp=rfc3339(stamp), data=data
    )
    timeline = [
        {"what": "onset", "at": rfc3339(onset)},
        {"what": "firing", "at": rfc3339(detected), "id": "gw_1" if over else event.id, "type": "alert.firing"},
    ]
    if over:
        timeline.append({"what": "resolved", "at": rfc3339(over), "id": event.id, "type": "alert.resolved"})
    view = AlertView(
        episode=episode,
        subject=company.subject,
        state=state,
        event=event,
        timeline=timeline,
        evidence={event.id: EVIDENCE},
    )
    return msgspec.structs.replace(view, **changes)


def updated_at(view: AlertView) -> int:
    from groundswell.times import parse_ms

    return parse_ms(view.event.timestamp)


def write_alert(pipeline: Any, keys: Keys, view: AlertView) -> None:
    pipeline.set(keys.alert(view.episode), msgspec.json.encode(view))
    pipeline.zadd(keys.alerts, {view.episode: updated_at(view)})


def write_rows(pipeline: Any, keys: Keys, topology: Topology, rows: list[LiveRow]) -> None:
    """The live strings of all partitions that these rows live in; a row that is left out there is gone."""
    homes: dict[int, list[LiveRow]] = {}
    for row in rows:
        homes.setdefault(topology.scored_partition(row.subject), []).append(row)
    for partition, at_home in homes.items():
        pipeline.set(keys.live(partition), msgspec.json.encode(at_home))


def market(rows: list[LiveRow]) -> LiveRow:
    """The whole market as one subject."""
    companies = [row for row in rows if row.kind == "company"]
    negatives, mentions = sum(row.negatives_15 for row in companies), sum(row.mentions_15 for row in companies)
    usual = sum(row.expected_15 for row in companies)
    return LiveRow(
        subject="market",
        kind="market",
        names={"en": "Market", "zh": "市场"},
        state="inactive",
        at=rows[0].at,
        negatives_15=negatives,
        expected_15=usual,
        low_15=round(usual * 0.75),
        high_15=round(usual * 1.25),
        mentions_15=mentions,
        reach_15=sum(row.reach_15 for row in companies),
        share=negatives / mentions,
        evidence=-5.0,
        spark=[sum(column) for column in zip(*(row.spark for row in companies), strict=True)],
        minutes=[],
    )


def fill(redis: Any, keys: Keys, topology: Topology, now_ms: int, hours: int = 170) -> list[LiveRow]:
    """All of it, by a synchronous client; the surge's subject gets `hours`, others at most a day. Returns live rows."""
    onset = now_ms - 27 * MINUTE_MS
    pipeline = redis.pipeline(transaction=False)
    rows = []
    for company in COMPANIES:
        home = topology.scored_partition(company.subject)
        kept = hours if company is SURGE else 3 if company.state == "learning" else min(hours, QUIET_HOURS)
        counted = buckets(company, now_ms - kept * HOUR_MS, now_ms, onset)
        for hour in {minute // HOUR_MS for minute in counted}:
            minutes = [minute for minute in range(hour * HOUR_MS, (hour + 1) * HOUR_MS, MINUTE_MS) if minute in counted]
            packed = {
                bytes([minute % HOUR_MS // MINUTE_MS]): pack_counters(msgspec.structs.astuple(counted[minute]))
                for minute in minutes
            }
            pipeline.hset(keys.buckets(home, company.subject, hour), mapping=packed)
        if company.state != "learning":
            quarters = range((now_ms - kept * HOUR_MS) // QUARTER_MS, now_ms // QUARTER_MS + 24)
            pipeline.hset(
                keys.expectations(home, company.subject),
                mapping={str(one): msgspec.json.encode(expectation(company, one * QUARTER_MS)) for one in quarters},
            )
        rows.append(live_row(company, counted, now_ms))
        if company is SURGE:
            for card in cards(now_ms):
                pipeline.zadd(keys.documents(home, company.subject), {msgspec.json.encode(card): card.published_at})
    rows.append(market(rows))
    write_rows(pipeline, keys, topology, rows)
    write_alert(pipeline, keys, alert(now_ms))
    write_alert(
        pipeline,
        keys,
        alert(now_ms, episode="ep_51c0", company=COMPANIES[1], state="recovering", minutes_ago=96, negatives=23),
    )
    write_alert(
        pipeline,
        keys,
        alert(now_ms, episode="ep_2f7d", company=COMPANIES[7], state="resolved", minutes_ago=610, negatives=31),
    )
    pipeline.execute()
    return rows

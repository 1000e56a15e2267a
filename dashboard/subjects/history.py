"""What one subject's past looks like: minute buckets beside what was expected, and its documents.

Read groundswell/keys.py first. Arrays are columns, one place a step. null is "no data" and never zero: nothing was
expected and nothing was counted in that hour, or it has not happened yet.
"""

import math
from typing import Any

import msgspec
from msgspec import Struct
from redis.asyncio import Redis
from redis.exceptions import RedisError

from groundswell.errors import RedisAway
from groundswell.keys import HOUR_MS, MINUTE_MS, QUARTER_MS, Keys, unpack_bucket
from groundswell.records import Bucket, DocumentCard, Expectation
from groundswell.telemetry import log

STEPS_S = (60, 300, 3600)
MAX_POINTS = 400
SHARE_MS = QUARTER_MS  # as long as the share of a live row looks back

_card = msgspec.json.Decoder(DocumentCard)
_expectation = msgspec.json.Decoder(Expectation)


class Series(Struct, kw_only=True):
    """Columns of one subject from `t0` (epoch ms), a place every `step` seconds; `lo`, `hi`: 5 and 95 % quantiles.

    `share` is that of negatives among the mentions (neg, neu, pos, uns) of the last SHARE_MS, or of the step where that is
    longer: a minute of two mentions has no share worth a line. null where nothing was said.
    """

    subject: str
    t0: int
    step: int
    neg: list[int | None]
    neu: list[int | None]
    pos: list[int | None]
    uns: list[int | None]
    reach: list[int | None]
    share: list[float | None]
    mean: list[float | None]
    lo: list[int | None]
    hi: list[int | None]


async def series(
    redis: Redis,
    keys: Keys,
    scored: int,
    subject: str,
    *,
    begin_ms: int,
    end_ms: int,
    step_s: int,
    until_ms: int,
) -> Series:
    """Counts and expectations of [begin, end), cut to whole steps.

    What lies after `until_ms` and is not counted yet is null. Raises RedisAway.
    """
    step_ms = step_s * 1000
    begin = begin_ms // step_ms * step_ms
    points = max(0, math.ceil((end_ms - begin) / step_ms))
    hours = range((begin - SHARE_MS) // HOUR_MS, (begin + points * step_ms - 1) // HOUR_MS + 1)
    quarters = range(begin // QUARTER_MS, (begin + points * step_ms - 1) // QUARTER_MS + 1)
    try:
        pipeline = redis.pipeline(transaction=False)
        for hour in hours:
            pipeline.hgetall(keys.buckets(scored, subject, hour))
        if quarters:
            pipeline.hmget(keys.expectations(scored, subject), [str(quarter) for quarter in quarters])
        *raw, expected = await pipeline.execute() if quarters else [[]]
    except (RedisError, OSError, TimeoutError) as error:
        raise RedisAway(f"Redis does not answer: {type(error).__name__}.") from error
    minutes, hours_with_data = _minutes(hours, raw)
    normal = {quarter: _decoded(one) for quarter, one in zip(quarters, expected, strict=True) if one}
    answer = Series(
        subject=subject,
        t0=begin,
        step=step_s,
        neg=[],
        neu=[],
        pos=[],
        uns=[],
        reach=[],
        share=[],
        mean=[],
        lo=[],
        hi=[],
    )
    newest = [minute for minute in minutes if minute >= until_ms]
    for point in range(points):
        start = begin + point * step_ms
        bands = [one for quarter in _quarters(start, step_ms) if (one := normal.get(quarter)) is not None]
        counted = any(start <= minute < start + step_ms for minute in newest) or start < until_ms
        known = counted and (bool(bands) or start // HOUR_MS in hours_with_data)
        counts = _sum(minutes, start, step_ms) if known else None
        _append_counts(answer, counts)
        lately = counts if step_ms >= SHARE_MS else _sum(minutes, start + step_ms - SHARE_MS, SHARE_MS)
        answer.share.append(_share(lately) if known and lately else None)
        _append_band(answer, bands, step_s)
    return answer


async def documents(
    redis: Redis, keys: Keys, scored: int, subject: str, *, before: str, limit: int
) -> tuple[list[DocumentCard], str]:
    """Newest first, at most `limit`, and the key of the next page, "" at the end; `before` is one. Raises RedisAway."""
    try:
        found: Any = await redis.zrevrangebyscore(
            keys.documents(scored, subject),
            f"({int(before)}" if before else "+inf",
            "-inf",
            start=0,
            num=limit + 1,
            withscores=True,
        )
    except (RedisError, OSError, TimeoutError) as error:
        raise RedisAway(f"Redis does not answer: {type(error).__name__}.") from error
    cards = []
    for raw, _ in found[:limit]:
        try:
            cards.append(_card.decode(raw))
        except msgspec.DecodeError as error:
            log().warning("document_card_unreadable", error=str(error)[:200])
    return cards, str(int(found[limit - 1][1])) if len(found) > limit else ""


def _minutes(hours: range, raw: list[dict[bytes, bytes]]) -> tuple[dict[int, Bucket], set[int]]:
    minutes: dict[int, Bucket] = {}
    for hour, fields in zip(hours, raw, strict=True):
        for minute, packed in fields.items():
            # The field is one byte, 0 to 59.
            minutes[hour * HOUR_MS + minute[0] * MINUTE_MS] = unpack_bucket(packed)
    return minutes, {start // HOUR_MS for start in minutes}


def _quarters(start: int, step_ms: int) -> range:
    return range(start // QUARTER_MS, (start + step_ms - 1) // QUARTER_MS + 1)


def _sum(minutes: dict[int, Bucket], start: int, step_ms: int) -> Bucket:
    total = [0, 0, 0, 0, 0]
    for minute in range(start, start + step_ms, MINUTE_MS):
        bucket = minutes.get(minute)
        if bucket is not None:
            for place, count in enumerate(msgspec.structs.astuple(bucket)):
                total[place] += count
    return Bucket(*total)


def _share(bucket: Bucket) -> float | None:
    return round(bucket.negative / bucket.mentions, 4) if bucket.mentions else None


def _append_counts(answer: Series, bucket: Bucket | None) -> None:
    answer.neg.append(bucket.negative if bucket else None)
    answer.neu.append(bucket.neutral if bucket else None)
    answer.pos.append(bucket.positive if bucket else None)
    answer.uns.append(bucket.unsure if bucket else None)
    answer.reach.append(bucket.reach if bucket else None)


def _append_band(answer: Series, bands: list[Expectation], step_s: int) -> None:
    if not bands:
        answer.mean.append(None)
        answer.lo.append(None)
        answer.hi.append(None)
        return
    low, high = {60: ("low_1", "high_1"), 300: ("low_5", "high_5"), 3600: ("low_60", "high_60")}[step_s]
    answer.mean.append(round(sum(one.mean for one in bands) / len(bands) * step_s / 60, 3))
    answer.lo.append(round(sum(getattr(one, low) for one in bands) / len(bands)))
    answer.hi.append(round(sum(getattr(one, high) for one in bands) / len(bands)))


def _decoded(raw: bytes) -> Expectation | None:
    try:
        return _expectation.decode(raw)
    except msgspec.DecodeError as error:
        log().warning("expectation_unreadable", error=str(error)[:200])
        return None

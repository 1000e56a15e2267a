"""The rows that pages show of now: once a second, one string a scored partition, ready to send.

A reader needs nothing but these (64 GETs, about a millisecond); buckets are for charts.
"""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec
from redis.exceptions import RedisError

from groundswell.clients.connect import RedisClient
from groundswell.decisions import SubjectState
from groundswell.keys import MINUTE_MS, QUARTER_MS, Keys
from groundswell.records import LiveRow
from groundswell.reserved import is_test
from groundswell.telemetry import log
from stream.detection import surge, surge_reading
from stream.detection.detect import Detector
from stream.names.directory import Directory
from stream.windows import Window

if TYPE_CHECKING:
    from stream.part import Part

EVERY_S = 1.0
ROWS = 16  # of one partition: 64 partitions make 1,024
SPARK_FIVES, RECENT_MINUTES = 36, 15
TTL_S = 3_600


async def show(redis: RedisClient, keys: Keys, directory: Directory, parts: Mapping[int, "Part"]) -> None:
    """Until cancelled. A Redis that is away costs a look, nothing else."""
    while True:
        pipeline = redis.pipeline(transaction=False)
        due = 0
        for partition, part in list(parts.items()):
            if part.dirty and part.window.closed_ms:
                part.dirty = False
                due += 1
                pipeline.set(
                    keys.live(partition),
                    msgspec.json.encode(rows(part.window, part.detector, directory, warming=part.warming)),
                    ex=TTL_S,
                )
        if due:
            try:
                await pipeline.execute()
            except RedisError as error:
                log().warning("redis_away", error=repr(error))
        await asyncio.sleep(EVERY_S)


def rows(window: Window, detector: Detector, directory: Directory, *, warming: bool = False) -> list[LiveRow]:
    """The subjects of one partition worth a look: open episodes first, then by evidence and by negatives. While it is `warming`
    the counts are not of now, and no state but this one is shown."""
    newest_ms = max(
        window.closed_ms - MINUTE_MS, (window.newest_ms if window.newest_ms < window.closed_ms + QUARTER_MS else 0)
    )
    end_ms = newest_ms // MINUTE_MS * MINUTE_MS + MINUTE_MS
    expected = detector.expectations(end_ms - MINUTE_MS)
    watched = [subject for subject in detector.subjects if not is_test(subject)]
    made = [_row(subject, window, detector, directory, expected, end_ms) for subject in watched]
    made.sort(key=lambda row: (not row.episode, -max(row.evidence, -9.0), -row.negatives_15, row.subject))
    if warming:
        made = [msgspec.structs.replace(row, state=SubjectState.WARMING.value, episode="") for row in made]
    return [_learning(row, detector) if row.state == SubjectState.LEARNING.value else row for row in made[:ROWS]]


def _learning(row: LiveRow, detector: Detector) -> LiveRow:
    """With how far it has come."""
    assert detector.state is not None
    negatives, seconds = surge.seen(detector.state.take([detector.subjects.index(row.subject)]))
    return msgspec.structs.replace(row, learned_negatives=int(negatives[0]), learned_s=int(seconds[0]))


def _row(
    subject: str,
    window: Window,
    detector: Detector,
    directory: Directory,
    expected: dict[str, tuple[float, float, float]],
    end_ms: int,
) -> LiveRow:
    minutes = window.minutes.get(subject, {})
    first_ms = end_ms - 15 * MINUTE_MS
    recent = [counters for at_ms, counters in minutes.items() if first_ms <= at_ms < end_ms]
    negatives = sum(counters[0] for counters in recent)
    mentions = sum(sum(counters[:4]) for counters in recent)
    mean, phi15, _ = expected.get(subject, (0.0, 0.3, 0.3))
    low, high = (int(edge[0]) for edge in surge_reading.band([mean * 15], [phi15]))
    spark = [0] * SPARK_FIVES
    spark_start_ms = end_ms - SPARK_FIVES * 5 * MINUTE_MS
    for at_ms, counters in minutes.items():
        if spark_start_ms <= at_ms < end_ms:
            spark[(at_ms - spark_start_ms) // (5 * MINUTE_MS)] += counters[0]
    episode = detector.open_episodes.get(subject)
    about = directory[subject]
    at = min(end_ms, max(window.newest_ms, window.closed_ms))
    return LiveRow(
        subject=subject, kind=about.kind, names=about.names, state=detector.standing(subject).value, at=at,
        negatives_15=negatives, expected_15=round(mean * 15, 2), low_15=low, high_15=high, mentions_15=mentions,
        reach_15=mentions + sum(counters[4] for counters in recent), share=round(negatives / mentions, 3) if mentions else 0.0,
        evidence=round(detector.evidence(subject), 2), spark=spark,
        minutes=[[at_ms, *minutes[at_ms][:3]] for at_ms in sorted(minutes) if at_ms >= end_ms - RECENT_MINUTES * MINUTE_MS],
        episode=episode.id if episode is not None and not episode.over else "",
    )  # fmt: skip

"""What a file knows of subjects from before an installation saw them, made into baselines: a new installation need not start blind.

The file is played through the very detector (backtest.py), and what that has learned at its end goes to the baselines topic, one
`baselines.History` a subject. A partition that is taken up without state, or counted anew (`groundswell rebuild`), lays it beneath
what it has learned by itself (`lay`): from then on checkpoints hold it. A subject that knows as much already is left alone, so that
the same file twice changes nothing. Pure, but for `standing`, which only reads Redis.
"""

from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec
from redis.exceptions import RedisError

from groundswell.clients.connect import RedisClient
from groundswell.errors import RedisAway
from groundswell.keys import Keys
from groundswell.records import ScoredBatch
from groundswell.telemetry import log
from stream.baselines import History, Known
from stream.detection import surge
from stream.detection.detect import Detector
from stream.detection.policy import Policy
from stream.names.directory import Directory
from stream.past.backtest import Counted, Item, Play
from stream.past.past_file import PastFile
from stream.topology import Topology


@dataclass(frozen=True)
class Own:
    """What an installation has learned of a subject: its row, and up to when (epoch milliseconds, event time)."""

    row: surge.State
    closed_ms: int

    @property
    def first_ms(self) -> int:
        """Since when it has been learned; a history beneath it counts."""
        return self.closed_ms - round(float(surge.seen(self.row)[1][0]) * 1000)


@dataclass(frozen=True)
class Learned:
    """What a file knows of a subject, at rest."""

    subject: str
    row: surge.State
    first_ms: int
    until_ms: int


def learn(past: PastFile, known: Mapping[str, Own], policy: Policy, directory: Directory) -> list[Learned]:
    """Play a file and keep what was learned, by subject. What an installation has counted itself is not taken from the file."""
    until_ms = {subject: own.first_ms for subject, own in known.items()}
    play = Play([policy], directory, lambda _number, _transition: None, subjects=frozenset(past.subjects))
    detector, found = play.detectors[0], dict[str, Learned]()
    ends = deque(sorted((at_ms, subject) for subject, at_ms in until_ms.items()))

    def keep(subject: str) -> None:
        if detector.state is None or subject in found or subject not in detector.subjects:
            return
        row = detector.state.take([detector.subjects.index(subject)])
        row = surge.at_rest(row, policy.settings, hourly=past.hourly)
        first_ms = play.closed_ms - round(float(surge.seen(row)[1][0]) * 1000)
        found[subject] = Learned(subject, row, first_ms, play.closed_ms)

    def step(start_ms: int) -> None:
        # Each ends where the installation's own counts begin: the silence of the file behind that says nothing.
        while ends and ends[0][0] < start_ms + 2 * policy.step_ms:
            keep(ends.popleft()[1])

    play.step = step
    for number, items in past.lanes.items():
        lane = play.lane(number)
        lane.put(_before(items, until_ms))
        lane.over = True
    play.turn()
    if detector.state is not None:
        play.close_until((past.last_ms // policy.step_ms + 1) * policy.step_ms)
    for subject in list(detector.subjects):
        keep(subject)
    return [found[subject] for subject in sorted(found)]


def _before(items: Iterable[Item], until_ms: Mapping[str, int]) -> Iterable[Item]:
    never = 1 << 62
    for item in items:
        if isinstance(item, Counted):
            if item.minute_ms < until_ms.get(item.subject, never):
                yield item
        elif isinstance(item, ScoredBatch):
            documents = [
                msgspec.structs.replace(
                    one, rows=tuple(row for row in one.rows if one.published_at < until_ms.get(row.subject, never))
                )
                for one in item.documents
            ]
            yield msgspec.structs.replace(item, documents=documents)


def record(one: Learned, topology: Topology, incarnation: str, step_s: int, now_ms: int) -> History:
    """As it goes to the baselines topic."""
    return History(
        incarnation=incarnation, partition=topology.scored_partition(one.subject), subject=one.subject,
        row=surge.rows_to_bytes(one.row, 0), step_s=step_s, first_ms=one.first_ms, until_ms=one.until_ms, at=now_ms,
    )  # fmt: skip


def says_more(past: surge.State, own: surge.State | None) -> bool:
    """Whether a history is longer than all that is known of its subject: only then it is laid beneath it."""
    return own is None or float(surge.seen(past)[1][0]) > float(surge.seen(own)[1][0])


def laid(
    past: surge.State, own: surge.State | None, subject: str, directory: Directory, settings: surge.Settings
) -> surge.State:
    """A subject's row with the history beneath it."""
    return past if own is None else surge.beneath(own, past, directory[subject].prior_per_min, settings)


def unknown(histories: Mapping[str, History], subjects: Collection[Known]) -> list[str]:
    """The subjects of which a checkpoint knows less than their history."""
    if not histories:
        return []
    rows = {known.subject: surge.row_from_bytes(known.row) for known in subjects if known.subject in histories}
    return [name for name, one in sorted(histories.items()) if says_more(surge.row_from_bytes(one.row), rows.get(name))]


def lay(detector: Detector, histories: Mapping[str, History], directory: Directory) -> list[str]:
    """Lay the histories beneath what a detector knows; returns the subjects that changed. In order of name, so that what is new
    comes in the same order everywhere."""
    settings = detector.policy.settings
    rows = {subject: i for i, subject in enumerate(detector.subjects)}
    parts = (
        [detector.state.take([i]) for i in range(len(detector.subjects))]
        if detector.state is not None and histories
        else []
    )
    subjects, changed = list(detector.subjects), []
    for subject, one in sorted(histories.items()):
        past = surge.row_from_bytes(one.row)
        own = parts[rows[subject]] if subject in rows else None
        if one.step_s != settings.step_s or not says_more(past, own):
            continue
        changed.append(subject)
        if own is None:
            subjects.append(subject)
            parts.append(past)
        else:
            parts[rows[subject]] = laid(past, own, subject, directory, settings)
    if changed:
        detector.restore(subjects, surge.State.concat(parts))
        log().info("history", subjects=len(changed), learned_before=len(changed) - (len(subjects) - len(rows)))
    return changed


async def standing(redis: RedisClient, keys: Keys, topology: Topology, subjects: Sequence[str]) -> dict[str, Own]:
    """What a running installation knows of these subjects now. Raises RedisAway."""
    homes: dict[int, list[str]] = {}
    for subject in subjects:
        homes.setdefault(topology.scored_partition(subject), []).append(subject)
    pipeline = redis.pipeline(transaction=False)
    for partition, names in homes.items():
        pipeline.hget(keys.state(partition), "closed")
        pipeline.hmget(keys.detector(partition), *names)
    try:
        answers = await pipeline.execute()
    except RedisError as error:
        raise RedisAway(f"Reading what is known failed: {error!r}.") from error
    found = {}
    for names, closed, rows in zip(homes.values(), answers[::2], answers[1::2], strict=True):
        for subject, row in zip(names, rows, strict=True):
            if row is not None:
                found[subject] = Own(surge.row_from_bytes(row[8:]), int(closed or 0))
    return found


def in_words(row: surge.State | None, settings: surge.Settings) -> str:
    """Where a subject stands: for a table."""
    if row is None:
        return "not known"
    negatives, seconds = (float(one[0]) for one in surge.seen(row))
    if surge.learning(row, settings)[0]:
        return progress(negatives, seconds, settings)
    a_day = float(surge.level(row, settings)[0]) * 1440
    return f"knows {seconds / 86_400:.1f} days, {a_day:.3g} negatives a day are usual"


def progress(negatives: float, seconds: float, settings: surge.Settings) -> str:
    """How far a subject that is still learning has come; either is enough."""
    return (
        f"learning: {negatives:.0f} of {settings.learning_negatives} negatives, "
        f"{seconds // 3600:.0f} of {settings.learning_s // 3600} h"
    )

"""What people say of alerts and labels: written to the topic `feedback`, followed from there, and counted one voice a person.

The pages write (dashboard/alerts/feedback.py) and `groundswell feedback` reads; feedback_rows.py makes training rows of it. The newest
KEPT words are followed: who wants older ones reads the topic, which holds them for 400 days.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from groundswell.clients.connect import open_consumer
from groundswell.errors import BrokerAway, TopicsMissing
from groundswell.records import Feedback
from groundswell.settings import Settings
from groundswell.telemetry import log
from stream.topology import FEEDBACK, Topology

KEPT = 10_000
READ_MOST = 1_000_000  # by a command, newest first counted: what lies before is named as left out
POLL_MS, LOOKS, READY_S, READ_S = 250, 8, 20.0, 120.0
COMMENT_CHARS = 2_000

Document = tuple[str, str]  # source, id
Verdict = Literal["right", "not_a_surge"]

decode = msgspec.json.Decoder(Feedback).decode


class Remarks:
    """The newest words of feedback, by episode. `changed` hears of each episode that one is about."""

    def __init__(self, changed: Callable[[str], None] = lambda _: None, kept: int = KEPT) -> None:
        self._kept, self._changed = kept, changed
        self._all: dict[str, Feedback] = {}  # oldest first
        self._of: defaultdict[str, dict[str, Feedback]] = defaultdict(dict)

    def __len__(self) -> int:
        return len(self._all)

    def take(self, one: Feedback) -> None:
        """Take up one word; the same one again changes nothing, and the oldest goes when there are too many."""
        if one.id in self._all:
            return
        self._all[one.id] = one
        if one.episode:
            self._of[one.episode][one.id] = one
        while len(self._all) > self._kept:
            self._drop(next(iter(self._all)))
        if one.episode:
            self._changed(one.episode)

    def of(self, episode: str) -> list[Feedback]:
        """All that is known of one episode, oldest first."""
        return sorted(self._of.get(episode, {}).values(), key=_at)

    def _drop(self, name: str) -> None:
        gone = self._all.pop(name)
        about = self._of.get(gone.episode, {})
        about.pop(name, None)
        if not about:
            self._of.pop(gone.episode, None)


@dataclass(frozen=True)
class LabelVote:
    """What the people who spoke say of one text and one company in it, or of the text as a whole: votes by label, one a person.
    `label` is empty where as many say this as that."""

    newest: Feedback
    votes: dict[str, int]
    label: str


def labels(words: Iterable[Feedback]) -> list[LabelVote]:
    """The votes on labels, oldest text first. The last word of a person counts."""
    by_text: defaultdict[tuple[Document, str], dict[str, Feedback]] = defaultdict(dict)
    for one in _in_order(words):
        if one.kind == "wrong_label" and one.label and one.document:
            by_text[(one.source, one.document), one.subject][one.by] = one
    found = []
    for said in by_text.values():
        votes = Counter(one.label for one in said.values())
        best = votes.most_common(2)
        tied = len(best) == 2 and best[0][1] == best[1][1]
        newest = max(said.values(), key=_at)
        found.append(LabelVote(newest, dict(sorted(votes.items())), "" if tied else best[0][0]))
    return sorted(found, key=lambda vote: (vote.newest.published_at, vote.newest.document, vote.newest.subject))


def verdicts(words: Iterable[Feedback]) -> dict[str, dict[str, Feedback]]:
    """Episode -> person -> what that person said last, of whether it was a surge."""
    found: defaultdict[str, dict[str, Feedback]] = defaultdict(dict)
    for one in _in_order(words):
        if one.kind in ("right", "not_a_surge") and one.episode:
            found[one.episode][one.by] = one
    return dict(found)


def counted(said: Iterable[Feedback]) -> dict[Verdict, int]:
    """How many say that it was a surge, and how many that it was none."""
    kinds = Counter(one.kind for one in said)
    return {"right": kinds["right"], "not_a_surge": kinds["not_a_surge"]}


def key(one: Feedback) -> bytes:
    return (one.episode or one.document).encode()


async def follow(
    settings: Settings, topology: Topology, remarks: Remarks, stop: asyncio.Event, *, kept: int = KEPT
) -> None:
    """Keep `remarks` true until `stop`, from the newest `kept` on. Raises BrokerAway, TopicsMissing."""
    partition = TopicPartition(topology.name(FEEDBACK), 0)
    consumer = await open_consumer(settings, group=None)
    try:
        consumer.assign([partition])
        begin, end = await _ends(consumer, partition)
        consumer.seek(partition, max(begin, end - kept))
        while not stop.is_set():
            for record in (await consumer.getmany(partition, timeout_ms=POLL_MS)).get(partition, ()):
                for one in _decoded(record):
                    remarks.take(one)
    finally:
        await consumer.stop()


async def read(settings: Settings, topology: Topology, *, since_ms: int = 0) -> list[Feedback]:
    """All words since a moment, oldest first, each once; at most the newest READ_MOST. Raises BrokerAway, TopicsMissing."""
    partition = TopicPartition(topology.name(FEEDBACK), 0)
    consumer = await open_consumer(settings, group=None)
    found: dict[str, Feedback] = {}
    try:
        consumer.assign([partition])
        begin, end = await _ends(consumer, partition)
        if end - begin > READ_MOST:
            log().warning("feedback_left_out", older=end - begin - READ_MOST)
        consumer.seek(partition, max(begin, end - READ_MOST))
        async with asyncio.timeout(READ_S):
            while await consumer.position(partition) < end:
                for record in (await consumer.getmany(partition, timeout_ms=POLL_MS)).get(partition, ()):
                    found |= {one.id: one for one in _decoded(record) if one.at >= since_ms}
    except (KafkaError, TimeoutError) as error:
        raise BrokerAway(f"The feedback cannot be read: {error!r}.") from error
    finally:
        await consumer.stop()
    return sorted(found.values(), key=_at)


async def _ends(consumer: AIOKafkaConsumer, partition: TopicPartition) -> tuple[int, int]:
    try:
        async with asyncio.timeout(READY_S):
            # A topic made a moment ago may not be known to the broker that we ask.
            for _ in range(LOOKS):
                if partition.topic in await consumer.topics():
                    break
                await asyncio.sleep(POLL_MS / 1000)
            else:
                raise TopicsMissing(f"The topic {partition.topic} is missing.")
            begin = (await consumer.beginning_offsets([partition]))[partition]
            return int(begin), int((await consumer.end_offsets([partition]))[partition])
    except (KafkaError, TimeoutError) as error:
        raise TopicsMissing(f"The topic {partition.topic} cannot be read: {error!r}.") from error


def _decoded(record: Any) -> Iterator[Feedback]:
    """Hostile or foreign records cost a log line, never the process."""
    try:
        yield decode(record.value or b"")
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        log().warning("feedback_record_skipped", offset=record.offset, error=str(error)[:200])


def _in_order(words: Iterable[Feedback]) -> list[Feedback]:
    return sorted(words, key=_at)  # what was said in one millisecond stays in the order of the topic


def _at(one: Feedback) -> int:
    return one.at

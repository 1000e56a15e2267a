"""Which texts the model reads next: a bounded queue of all partitions' texts, cut into batches; next: batcher.py.

Pure: no clock, no task, no model. A partition's texts keep their order; between partitions whoever has waited longest
goes first, fresh documents before a backfill. Age is time in the queue, not time of the document: a partition that
replays last week would always be the oldest. So one partition's batch is done before the next one's begins, and while
its rows are written the model reads the next one's.
"""

import heapq
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import count
from typing import Generic, TypeVar

from groundswell.tagging import Text

BATCH_TOKENS = 1_024
# When the first in line has waited this long, batches are twice as large: a few per cent more texts a second, for
# some milliseconds that no longer matter.
LATE_S, LATE_FACTOR = 1.0, 2
MAX_TEXTS = 512
QUEUE_TOKENS = 65_536
# Of ten batches at least one is the backfill's, while one waits.
FLOOR = 10
# What one partition, and what fresh or backfill texts together, may hold of the queue while others wait at the door.
PARTITION_SHARE = 1 / 4
CLASS_SHARE = 3 / 4

# Tokens a character, fitted on the own-written sentences with the bundled vocabulary. One text is 25 % off at worst of
# twenty, a batch of 48 texts 6 %: enough to choose by; the model process counts exactly and fills its own batches.
NARROW, WIDE = 0.26, 0.82
# The bundled model reads four windows of 256 tokens and no more of any text.
MOST_TOKENS = 1_024

C = TypeVar("C")


def estimate(text: Text) -> int:
    """About how many tokens the model will read, at least 2. Characters of three bytes, such as Han, weigh most."""
    characters, size = 0, 0
    for part in (text.title, text.text):
        if part:
            characters += len(part)
            size += len(part.encode("utf-8", "replace"))
    wide = (size - characters) // 2
    return min(MOST_TOKENS, 2 + round(NARROW * (characters - wide) + WIDE * wide))


@dataclass(slots=True, eq=False)
class Waiting(Generic[C]):
    """One text in the queue: place `index` of what `caller` asked. `since_s` is when it was asked."""

    caller: C
    index: int
    text: Text
    tokens: int
    partition: int
    fresh: bool
    since_s: float
    ticket: int = 0


@dataclass(slots=True)
class Lane(Generic[C]):
    """One partition's texts in order: those `within` the queue, then those at its door."""

    within: deque[Waiting[C]] = field(default_factory=deque)
    door: deque[Waiting[C]] = field(default_factory=deque)
    tokens: int = 0


class BatchQueue(Generic[C]):
    """Put what a caller asks, take the next batch. All sizes are estimated tokens."""

    def __init__(self, limit_tokens: int = QUEUE_TOKENS, batch_tokens: int = BATCH_TOKENS) -> None:
        self._limit = limit_tokens
        self.batch_tokens = batch_tokens
        self._lanes: defaultdict[int, Lane[C]] = defaultdict(Lane)
        self._held = {True: 0, False: 0}  # tokens within, fresh and backfill
        self._at_door = {True: 0, False: 0}  # texts
        self._tickets = count()
        self._passed_over = 0

    @property
    def tokens(self) -> int:
        """What is in the queue; never above the limit, except for one text that is larger by itself."""
        return sum(self._held.values())

    @property
    def full_batch(self) -> bool:
        """Whether a batch taken now would be a full one."""
        return self.tokens >= self.batch_tokens

    def put(self, texts: Iterable[Waiting[C]]) -> None:
        """Queue a caller's texts, behind those of the same partition. What has no room stays at the door, in order."""
        ticket = next(self._tickets)
        for text in texts:
            text.ticket = ticket
            self._lanes[text.partition].door.append(text)
            self._at_door[text.fresh] += 1
        self._admit()

    def take(self, now_s: float) -> list[Waiting[C]]:
        """The next batch; empty when nothing waits. The longest waiting of the favoured class is its first text, and
        a text that does not fit lets those of other partitions pass, once: next time it is the first."""
        heads = [lane.within[0] for lane in self._lanes.values() if lane.within]
        if not heads:
            return []
        waiting_backfill = any(not head.fresh for head in heads)
        backfill = waiting_backfill and self._passed_over >= FLOOR - 1
        late = now_s - min(head.since_s for head in heads) > LATE_S
        room = self.batch_tokens * (LATE_FACTOR if late else 1)
        batch: list[Waiting[C]] = []
        line = [(head.fresh == backfill, head.ticket, head.partition) for head in heads]
        heapq.heapify(line)
        while line and len(batch) < MAX_TEXTS:
            lane = self._lanes[line[0][2]]
            head = lane.within[0]
            if batch and head.tokens > room:
                heapq.heappop(line)
                continue
            batch.append(lane.within.popleft())
            room -= head.tokens
            self._leave(lane, head)
            if lane.within:
                following = lane.within[0]
                heapq.heapreplace(line, (following.fresh == backfill, following.ticket, following.partition))
            else:
                heapq.heappop(line)
        self._passed_over = self._passed_over + 1 if waiting_backfill and batch[0].fresh else 0
        self._admit()
        return batch

    def drop(self, gone: Callable[[C], bool]) -> None:
        """Forget the texts of callers that wait no more."""
        for lane in self._lanes.values():
            for text in lane.within:
                if gone(text.caller):
                    self._leave(lane, text)
            lane.within = deque(text for text in lane.within if not gone(text.caller))
            for text in lane.door:
                self._at_door[text.fresh] -= gone(text.caller)
            lane.door = deque(text for text in lane.door if not gone(text.caller))
        self._admit()

    def _admit(self) -> None:
        """Let in from the doors what may come in: fresh first, then by age, each as far as its shares go."""
        line = [(not lane.door[0].fresh, lane.door[0].ticket, n) for n, lane in self._lanes.items() if lane.door]
        heapq.heapify(line)
        alone = sum(bool(lane.within or lane.door) for lane in self._lanes.values()) == 1
        while line:
            lane = self._lanes[line[0][2]]
            text = lane.door[0]
            if not self._may_enter(lane, text, alone=alone):
                heapq.heappop(line)
                continue
            lane.within.append(lane.door.popleft())
            lane.tokens += text.tokens
            self._held[text.fresh] += text.tokens
            self._at_door[text.fresh] -= 1
            if lane.door:
                following = lane.door[0]
                heapq.heapreplace(line, (not following.fresh, following.ticket, following.partition))
            else:
                heapq.heappop(line)

    def _may_enter(self, lane: Lane[C], text: Waiting[C], *, alone: bool) -> bool:
        # Whatever is empty lets one text in, however large: or it would wait for ever.
        held = self._held[text.fresh]
        return (
            (not self.tokens or self.tokens + text.tokens <= self._limit)
            and (alone or not lane.tokens or lane.tokens + text.tokens <= PARTITION_SHARE * self._limit)
            and (not held or not self._at_door[not text.fresh] or held + text.tokens <= CLASS_SHARE * self._limit)
        )

    def _leave(self, lane: Lane[C], text: Waiting[C]) -> None:
        lane.tokens -= text.tokens
        self._held[text.fresh] -= text.tokens

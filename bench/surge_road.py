"""Plays invented talk through the detector with its gates, without Kafka, Redis and tagger: what aggregate does with each record,
and labels that are true. `bench/detect.py` asks it for what the counts alone cannot say.
"""

import hashlib
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
import numpy as np

from bench.traffic import NEGATIVE, NEUTRAL, POSITIVE, Traffic
from groundswell.decisions import Detected
from groundswell.records import Row, ScoredBatch, ScoredDocument
from stream.detection import surge
from stream.detection.cards import CARDS
from stream.detection.detect import Detector, Transition
from stream.detection.episodes import Episode
from stream.detection.policy import Policy
from stream.names import entities
from stream.names.directory import Directory
from stream.names.subjects import Entry
from stream.windows import Window, advance, due_steps, fold, is_new

LABELS: dict[int, Any] = {NEGATIVE: "negative", NEUTRAL: "neutral", POSITIVE: "positive"}
LATENESS_MS = 30_000
HOLE_STEPS = 10_000
PARTITIONS = 4


def policy(directory: Directory, sensitivity: str = "balanced") -> Policy:
    """As aggregate sets it, at steps of a minute."""
    settings = surge.Settings()
    line = surge.threshold(surge.SENSITIVITY_BUDGET[sensitivity], len(directory))
    return Policy(settings=settings, ln_h=line, lateness_ms=LATENESS_MS)


def directory() -> Directory:
    """The shipped catalogue: its size fixes each subject's part of the budget."""
    return Directory(entities.load())


class Road:
    """One scored partition from its first record on."""

    def __init__(self, known: Directory) -> None:
        self.known = known
        self.window = Window()
        self.told: list[Transition] = []
        self.held: list[tuple[Detected, str, int]] = []
        self.detector = self._detector()

    def _detector(self) -> Detector:
        return Detector(
            policy(self.known),
            self.known,
            tell=lambda why, subject, _facts: self.held.append((why, subject, self.window.closed_ms)),
        )

    def take(self, batch: ScoredBatch) -> None:
        """One record: a document at a time, and before each the steps that its time closes."""
        now = self.detector.policy
        for document in batch.documents:
            alone = msgspec.structs.replace(batch, documents=[document])
            if is_new(self.window, alone):
                if self.window.closed_ms == 0:
                    self.window.closed_ms = document.published_at // now.step_ms * now.step_ms
                advance(self.window, alone.documents, now.lateness_ms)
                for start_ms in due_steps(self.window, now.step_ms, HOLE_STEPS):
                    self.told += self.detector.close(self.window, start_ms)
                    self.window.closed_ms = start_ms + now.step_ms
            self.told += self.detector.early(self.window, self.detector.note(fold(self.window, alone)))

    def reload(self) -> None:
        """What a restart leaves: all that is stored, through its bytes, and nothing else."""
        old, self.detector = self.detector, self._detector()
        state = None
        if old.state is not None:
            rows = [surge.rows_to_bytes(old.state, i) for i in range(len(old.subjects))]
            state = surge.State.concat([surge.row_from_bytes(row) for row in rows])
        self.detector.restore(old.subjects, state)
        self.detector.open_episodes = {
            subject: msgspec.json.decode(msgspec.json.encode(one), type=Episode)
            for subject, one in old.open_episodes.items()
        }
        self.detector.cards = {subject: deque(cards, maxlen=CARDS) for subject, cards in old.cards.items()}
        self.detector.echoes = {subject: Counter(counts) for subject, counts in old.echoes.items()}
        self.detector.held = {}

    def alerts(self) -> list[tuple[str, str, str]]:
        """(id, bucket, hash of the evidence) of each transition, by time and id."""
        return sorted(
            (one.event.id, str(one.evidence["bucket"]), hashlib.sha256(msgspec.json.encode(one.evidence)).hexdigest())
            for one in self.told
        )


def scored(traffic: Traffic, subjects: list[Entry], *, missed: float = 0.0, seed: int = 0) -> list[ScoredDocument]:
    """The traffic as tag would hand it on: copies are echoes of their story, but for the share `missed` of them."""
    rng = np.random.default_rng([seed, 7])
    found = []
    for number, one in enumerate(traffic.said):
        echo = one.copy_of >= 0 and rng.random() >= missed
        found.append(
            ScoredDocument(
                index=0, id=f"d{number}", story=f"{one.subject}-{one.copy_of if echo else one.story}", echo=echo,
                published_at=one.at_ms, ingested_at=one.at_ms + 500, feed="news" if one.news else "comments",
                source=f"publisher{number % 6}" if one.news else f"forum{number % 3}",
                author="" if one.news else f"a{one.author}", about=(subjects[one.subject].id,),
                # What a folder misses still begins with the words it copies.
                excerpt=f"story {one.subject} {one.copy_of if one.copy_of >= 0 else one.story} in the very same eight words",
                rows=(Row(subjects[one.subject].id, LABELS[one.tone], 0.9),),
            )
        )  # fmt: skip
    return found


def records(documents: Iterable[ScoredDocument], pieces: int) -> Iterator[list[ScoredBatch]]:
    """The documents in `pieces` pieces; within one, runs of the same documents partition are one record."""
    given = list(documents)
    offsets = [0] * PARTITIONS
    for piece in np.array_split(np.arange(len(given)), pieces):
        made: list[ScoredBatch] = []
        for i in piece.tolist():
            document = given[i]
            partition = int(document.id[1:]) % PARTITIONS
            if made and made[-1].partition == partition:
                last = made[-1].documents
                last.append(msgspec.structs.replace(document, index=len(last)))
            else:
                made.append(ScoredBatch(partition=partition, offset=offsets[partition], documents=[document]))
                offsets[partition] += 1
        yield made


def shuffled(documents: list[ScoredDocument], seed: int, most_ms: int = LATENESS_MS - 10_000) -> list[ScoredDocument]:
    """A legal interleaving: each document up to `most_ms` late, so that no step closes without it."""
    rng = np.random.default_rng(seed)
    late = rng.integers(0, most_ms, len(documents))
    order = np.argsort(np.array([one.published_at for one in documents]) + late, kind="stable")
    return [documents[i] for i in order.tolist()]

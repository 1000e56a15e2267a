"""What cannot be counted again from `scored`, on a topic of its own: what was learned, the steps the clock closed, why alerts were told.

A checkpoint is a scored partition as it stood before one offset; a rebuild installs it there and goes on as if nothing had happened. A
`Closed` says which steps were closed by the clock between two records: the one thing that the detector does not find in what it reads.
rebuild.py reads both.
"""

import secrets
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from aiokafka import AIOKafkaProducer
from msgspec import Struct

from groundswell.clients.connect import acknowledged
from groundswell.running.books import Counts
from groundswell.telemetry import log
from stream.detection import single, surge
from stream.detection.detect import Detector
from stream.detection.episodes import Episode
from stream.rulebook.rule_watch import RuleWatch
from stream.topology import BASELINES, Topology
from stream.windows import Window

MOST_OF_RULES = 400_000  # bytes, a third more in JSON: beside the subjects of a record under the broker's 1 MiB
SUBJECTS_A_RECORD = 400  # 1.1 kB each in JSON, an episode a little less: under the broker's 1 MiB


class Known(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """One subject: its detector row (surge.row_from_bytes) and its episode, open or lately resolved."""

    subject: str
    row: bytes
    episode: Episode | None = None
    singles: dict[str, Episode] = {}  # of the single-document rule, by their key (single.py)


class Checkpoint(Struct, kw_only=True, frozen=True, omit_defaults=True, tag_field="kind", tag="checkpoint"):
    """A scored partition before `offset`, whole or one of `parts` that share a `number`. Times are epoch milliseconds."""

    v: int = 1
    incarnation: str
    partition: int
    offset: int
    at: int  # by the clock
    number: str
    part: int = 0
    parts: int = 1
    marks: dict[int, int]
    watermark_ms: int
    closed_ms: int
    newest_ms: int
    counts: Counts
    model: str = ""
    subjects: list[Known]  # in the order they came first, over all parts
    rules: bytes = b""  # rule_watch.Kept, in the first part

    @property
    def key(self) -> bytes:
        # Two places in turn, by day: a checkpoint that was cut short never costs the one before it.
        return f"{self.partition}|{self.at // 86_400_000 % 2}|{self.part}".encode()


class Closed(Struct, kw_only=True, frozen=True, omit_defaults=True, tag_field="kind", tag="closed"):
    """Steps [start_ms, end_ms) that the clock closed before the record at `offset` came, and where it left the window."""

    v: int = 1
    incarnation: str
    partition: int
    offset: int
    start_ms: int
    end_ms: int
    watermark_ms: int
    newest_ms: int

    @property
    def key(self) -> bytes:
        # A silence keeps its start and grows its end, so that compaction leaves one record of it.
        return f"{self.partition}|{self.offset}|{self.start_ms}".encode()


class Evidence(Struct, kw_only=True, frozen=True, omit_defaults=True, tag_field="kind", tag="evidence"):
    """Why one event was told: the alerts topic has the event, pages show both."""

    v: int = 1
    incarnation: str
    partition: int
    event: str
    evidence: dict[str, Any]

    @property
    def key(self) -> bytes:
        return f"{self.partition}|{self.event}".encode()


class History(Struct, kw_only=True, frozen=True, omit_defaults=True, tag_field="kind", tag="history"):
    """What a file knows of a subject from before this installation saw it (history.py): a detector row at rest, of steps of `step_s`,
    from events between two times (epoch milliseconds)."""

    v: int = 1
    incarnation: str
    partition: int
    subject: str
    row: bytes
    step_s: int
    first_ms: int
    until_ms: int
    at: int  # by the clock

    @property
    def key(self) -> bytes:
        return f"{self.partition}|history|{self.subject}".encode()


Baseline = Checkpoint | Closed | Evidence | History
encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(Baseline).decode


@dataclass
class Kept:
    """What the topic holds: the newest whole checkpoint of each scored partition, its closed steps in order, its subjects'
    histories, evidence."""

    checkpoints: dict[int, Checkpoint] = field(default_factory=dict)
    closed: dict[int, list[Closed]] = field(default_factory=dict)
    histories: dict[int, dict[str, History]] = field(default_factory=dict)  # by partition and subject
    evidence: dict[str, dict[str, Any]] = field(default_factory=dict)  # by event


def checkpoint(
    incarnation: str, partition: int, offset: int, window: Window, detector: Detector, at_ms: int, rules: RuleWatch | None = None
) -> list[Checkpoint]:  # fmt: skip
    """The partition as it stands, in as many records as it needs."""
    number, kept = secrets.token_hex(4), rules.keep() if rules is not None else b""
    if len(kept) > MOST_OF_RULES:
        log().warning("checkpoint_without_rules", partition=partition, bytes=len(kept))
        kept = b""
    rows = [surge.rows_to_bytes(detector.state, i) for i in range(len(detector.subjects))] if detector.state else []
    known = [
        Known(
            subject=subject,
            row=row,
            episode=detector.open_episodes.get(subject),
            singles={
                name: one
                for name, one in detector.open_episodes.items()
                if single.is_key(name) and single.about(name) == subject
            },
        )
        for subject, row in zip(detector.subjects, rows, strict=True)
    ]
    pieces = [known[at : at + SUBJECTS_A_RECORD] for at in range(0, len(known), SUBJECTS_A_RECORD)] or [[]]
    return [
        Checkpoint(
            incarnation=incarnation, partition=partition, offset=offset, at=at_ms, number=number, part=part, parts=len(pieces),
            marks=dict(window.marks), watermark_ms=window.watermark_ms, closed_ms=window.closed_ms, newest_ms=window.newest_ms,
            counts=window.counts, model=detector.model, subjects=piece, rules=kept if part == 0 else b"",
        )
        for part, piece in enumerate(pieces)
    ]  # fmt: skip


async def write(producer: AIOKafkaProducer, topology: Topology, records: Sequence[Baseline]) -> None:
    """Returns once the broker has them. Raises ProduceFailed."""
    name, count = topology.name(BASELINES), topology.partitions(BASELINES)
    await acknowledged(
        [await producer.send(name, encode(one), key=one.key, partition=one.partition % count) for one in records]
    )


def gather(values: Iterable[bytes | None], incarnation: str) -> Kept:
    """What holds, of records in any order. One that cannot be read, or is of other topics, costs a log line or nothing."""
    parts: dict[tuple[int, str], dict[int, Checkpoint]] = defaultdict(dict)
    closed: dict[int, dict[tuple[int, int], Closed]] = defaultdict(dict)
    kept = Kept()
    for value in values:
        try:
            found = decode(value or b"")
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            log().warning("baseline_skipped", error=str(error)[:200])
            continue
        if found.incarnation != incarnation or found.v != 1:
            continue
        if isinstance(found, Closed):
            before = closed[found.partition].get((found.offset, found.start_ms))
            if before is None or before.end_ms < found.end_ms:
                closed[found.partition][found.offset, found.start_ms] = found
            continue
        if isinstance(found, Evidence):
            kept.evidence[found.event] = found.evidence
            continue
        if isinstance(found, History):
            known = kept.histories.setdefault(found.partition, {})
            if found.subject not in known or known[found.subject].at <= found.at:
                known[found.subject] = found
            continue
        have = parts[found.partition, found.number]
        have[found.part] = found
        if len(have) == found.parts:
            whole = _whole([have[part] for part in sorted(have)])
            del parts[found.partition, found.number]
            newest = kept.checkpoints.get(whole.partition)
            if newest is None or (newest.offset, newest.at) < (whole.offset, whole.at):
                kept.checkpoints[whole.partition] = whole
    kept.closed = {partition: [each[at] for at in sorted(each)] for partition, each in closed.items()}
    return kept


def _whole(parts: list[Checkpoint]) -> Checkpoint:
    subjects = [known for part in parts for known in part.subjects]
    return msgspec.structs.replace(parts[0], part=0, parts=1, subjects=subjects)

"""Read this first: the topics, who writes and who reads them, and how a record finds its partition.

This is the only place that names topics. `groundswell topology` prints the table; `--create` makes them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

DAY_MS = 86_400_000


@dataclass(frozen=True)
class Topic:
    """One topic: `name` without the prefix, retention in milliseconds (None: compacted). `newest_only`: compacted and expiring."""

    name: str
    key: str
    value: str
    partitions: int
    retention_ms: int | None
    writers: str
    readers: str
    newest_only: bool = False

    @property
    def config(self) -> dict[str, str]:
        """Broker settings of the topic."""
        if self.retention_ms is None:
            return {"cleanup.policy": "compact"}
        if self.newest_only:  # a day's segment, since the one that is written to is never compacted
            return {
                "cleanup.policy": "compact,delete",
                "retention.ms": str(self.retention_ms),
                "segment.ms": str(DAY_MS),
            }
        return {"cleanup.policy": "delete", "retention.ms": str(self.retention_ms)}


NEWS = Topic("news.v1", "any", "InboundDocument or an array of them", 12, 7 * DAY_MS, "feeds", "ingest")
COMMENTS = Topic("comments.v1", "any", "InboundDocument or an array of them", 12, 7 * DAY_MS, "feeds", "ingest")
DOCUMENTS = Topic(
    "documents.v1", "key of the message, else the first id", "Document[]", 24, 7 * DAY_MS, "ingest", "tag"
)
TAGGED = Topic("tagged.v1", "document id", "Tagged", 24, 30 * DAY_MS, "tag", "anybody")
# 64 for good: a subject's counts live in its partition, so another count would give it two homes.
SCORED = Topic("scored.v1", "none: murmur2(subject)", "ScoredBatch", 64, 7 * DAY_MS, "tag", "aggregate")
# A scored partition's are in partition s modulo this count, so it may grow: a reader reads them all.
BASELINES = Topic(
    "baselines.v1",
    "scored partition|what",
    "Checkpoint, Closed, Evidence or History",
    12,
    30 * DAY_MS,
    "aggregate, import-history",
    "aggregate",
    newest_only=True,
)
ALERTS = Topic("alerts.v1", "episode id", "AlertEvent", 12, 90 * DAY_MS, "aggregate", "deliver, anybody")
CONTROL = Topic("control.v1", "object id", "ControlObject or null", 1, None, "command line, dashboard", "all")
DELIVERIES = Topic("deliveries.v1", "endpoint|event", "DeliveryOutcome", 12, 30 * DAY_MS, "deliver", "deliver")
DEAD_LETTERS = Topic("dead-letters.v1", "reason", "DeadLetter", 6, 30 * DAY_MS, "every stage", "operators")
# One partition: what people say of one alert has one order. Few write here, and what they wrote is learned from a year later.
FEEDBACK = Topic("feedback.v1", "episode or document", "Feedback", 1, 400 * DAY_MS, "dashboard", "dashboard, people")
# One partition: what happened has one order. Kept for the year that auditors ask for, and a month more.
AUDIT = Topic("audit.v1", "who", "AuditEntry", 1, 400 * DAY_MS, "dashboard, tokens", "operators")

TOPICS = (
    NEWS,
    COMMENTS,
    DOCUMENTS,
    TAGGED,
    SCORED,
    BASELINES,
    ALERTS,
    CONTROL,
    DELIVERIES,
    DEAD_LETTERS,
    FEEDBACK,
    AUDIT,
)
INPUTS = (NEWS, COMMENTS)


@dataclass(frozen=True)
class Topology:
    """The topics of one installation. `single` gives each one partition, so that a replay has one order from end to end."""

    prefix: str = "groundswell"
    single: bool = False

    def name(self, topic: Topic) -> str:
        """The topic's full name on the broker."""
        return f"{self.prefix}.{topic.name}"

    def partitions(self, topic: Topic) -> int:
        return 1 if self.single else topic.partitions

    def wanted(self) -> dict[str, int]:
        """Full name -> partition count, for all topics."""
        return {self.name(topic): self.partitions(topic) for topic in TOPICS}

    def scored_partition(self, subject: str) -> int:
        """The one home of a subject's counts."""
        return murmur2(subject.encode()) % self.partitions(SCORED)

    def missing(self, found: dict[str, int], topics: Sequence[Topic] = TOPICS) -> Sequence[str]:
        """What is wrong with the topics found on a broker, one sentence each; empty when all is well."""
        wrong = []
        for topic in topics:
            name, count = self.name(topic), self.partitions(topic)
            if name not in found:
                wrong.append(f"{name} is missing")
            elif found[name] < count or (topic == SCORED and found[name] != count):
                wrong.append(f"{name} has {found[name]} partitions, {count} are wanted")
        return wrong


def murmur2(data: bytes) -> int:
    """Kafka's partitioner hash, made positive (org.apache.kafka.common.utils.Utils.murmur2 and toPositive)."""
    mask, m = 0xFFFFFFFF, 0x5BD1E995
    h = (0x9747B28C ^ len(data)) & mask
    whole = len(data) & ~3
    for i in range(0, whole, 4):
        k = int.from_bytes(data[i : i + 4], "little")
        k = k * m & mask
        k ^= k >> 24
        h = (h * m & mask) ^ (k * m & mask)
    rest = data[whole:]
    if rest:
        h = (h ^ int.from_bytes(rest, "little")) * m & mask
    h = (h ^ (h >> 13)) * m & mask
    return (h ^ (h >> 15)) & 0x7FFFFFFF

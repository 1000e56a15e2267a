"""The topic of tagged documents as a `Log` that past.py reads backwards: librdkafka, since it reads five times as fast as a loop in Python.

It belongs to no group and commits nothing. Reading stands on assigning a span, taking what comes, and letting go of each
partition at its end, before more is fetched than was asked for.
"""

import time
from collections.abc import Iterator, Sequence
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaError, KafkaException, TopicPartition

from dashboard.archive.past import Entry
from groundswell.errors import BrokerAway

ANSWER_S = 5.0  # how long a broker may say nothing
BATCH = 2_000
_END, _UNKNOWN = KafkaError._PARTITION_EOF, KafkaError._UNKNOWN_TOPIC  # noqa: SLF001 - their public names
_UNSEEN = (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.UNKNOWN_TOPIC_OR_PART, _UNKNOWN)
TURN_S = 0.02  # a batch that is not full is waited for so long


class TaggedLog:
    """One connection, for one thread. Raises BrokerAway when it is made, too."""

    def __init__(self, admin_options: dict[str, Any], topic: str) -> None:
        self._topic = topic
        self._consumer = Consumer(
            {
                **admin_options,
                "group.id": "groundswell-search",  # librdkafka wants one; nothing is ever joined or committed
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
                "allow.auto.create.topics": False,
                "fetch.wait.max.ms": 10,  # who waits for what is new would hold up the next span
                "fetch.message.max.bytes": 262_144,
                "queued.max.messages.kbytes": 16_384,
                "socket.timeout.ms": int(ANSWER_S * 1000),
            }
        )
        try:
            found = self._consumer.list_topics(topic, timeout=ANSWER_S).topics[topic]
        except KafkaException as error:
            raise _away(error) from error
        if found.error is not None or not found.partitions:
            raise _away(found.error or "it has no partitions")
        self._partitions = len(found.partitions)
        self._keeps_times: bool | None = None

    def starts(self) -> list[int]:
        return self._offsets(OFFSET_BEGINNING)

    def ends(self) -> list[int]:
        return self._offsets(OFFSET_END)

    def at(self, arrived_ms: int) -> list[int] | None:
        """The embedded broker keeps no times: asked for the first moment of all it answers with the end."""
        ends = self.ends()
        if self._keeps_times is None and any(ends):
            first = [end if offset < 0 else offset for offset, end in zip(self._offsets(1), ends, strict=True)]
            self._keeps_times = first != ends or self.starts() == ends
        if not self._keeps_times:
            return None
        found = self._offsets(max(1, arrived_ms))
        return [end if offset < 0 else offset for offset, end in zip(found, ends, strict=True)]

    def read(self, spans: Sequence[tuple[int, int]]) -> Iterator[Entry]:
        open_spans = {partition: span for partition, span in enumerate(spans) if span[0] < span[1]}
        if not open_spans:
            return
        consumer = self._consumer
        try:
            consumer.assign([TopicPartition(self._topic, one, low) for one, (low, _) in open_spans.items()])
            heard_s = time.monotonic()
            while open_spans:
                messages = [one for one in consumer.consume(BATCH, timeout=TURN_S) if not _of_a_group(one)]
                if messages:
                    heard_s = time.monotonic()
                elif time.monotonic() - heard_s > ANSWER_S:
                    raise BrokerAway(f"The broker sent nothing of {self._topic} for {ANSWER_S:g} s.")
                for message in messages:
                    partition, error = message.partition(), message.error()
                    if partition not in open_spans:
                        continue  # fetched too much, or about no partition
                    high = open_spans[partition][1]
                    if error is None and message.offset() < high:
                        yield Entry(partition, message.offset(), message.timestamp()[1], message.value() or b"")
                    elif error is not None and error.code() != _END:
                        raise _away(error)
                    if error is not None or message.offset() >= high - 1:
                        del open_spans[partition]
                        consumer.incremental_unassign([TopicPartition(self._topic, partition)])
        except KafkaException as error:
            raise _away(error) from error
        finally:
            consumer.unassign()

    def close(self) -> None:
        self._consumer.close()

    def _offsets(self, moment: int) -> list[int]:
        asked = [TopicPartition(self._topic, partition, moment) for partition in range(self._partitions)]
        try:
            found = self._consumer.offsets_for_times(asked, timeout=ANSWER_S)
        except KafkaException as error:
            raise _away(error) from error
        for one in found:
            if one.error is not None:
                raise _away(one.error)
        return [one.offset for one in sorted(found, key=lambda one: one.partition)]


def _of_a_group(message: Any) -> bool:
    """librdkafka asks who leads the group although nothing joins it, and says so when it has no right to know."""
    error = message.error()
    return error is not None and error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED


def _away(error: object) -> BrokerAway:
    told = error.args[0] if isinstance(error, KafkaException) else error
    if isinstance(told, KafkaError) and told.code() in _UNSEEN:
        return BrokerAway(
            "The topic of tagged documents is not there, or may not be read.",
            remedy="Give the dashboard's user READ on it; docs/operations.md lists what each process needs.",
        )
    return BrokerAway(f"The broker did not answer a search: {told}.")

"""Training rows of what people said of labels, in the shape that `groundswell finetune` and `evaluate` read (docs/finetune.md).

The whole text comes from the topic `tagged`, which keeps it for 30 days; after that the deciding sentence that was written beside the word
of feedback stands in for it. Who said it, and who wrote the text, is in no row.
"""

import asyncio
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from msgspec import Struct

from groundswell import feedback
from groundswell.clients.connect import open_consumer
from groundswell.errors import BrokerAway, TopicsMissing
from groundswell.feedback import Document, LabelVote
from groundswell.keys import MINUTE_MS
from groundswell.records import Feedback, Tagged
from groundswell.settings import Settings
from groundswell.telemetry import log
from groundswell.times import rfc3339
from stream.topology import TAGGED, Topology, murmur2

LOOKED_THROUGH = 50_000  # records behind the moment of a text, until it counts as gone
READ_S, POLL_MS = 300.0, 500

_tagged = msgspec.json.Decoder(Tagged).decode


class Row(Struct, kw_only=True, frozen=True, omit_defaults=True, rename={"taken_from": "from"}):
    """One line of the file. `votes`: how many people said which label; `taken_from`: `text`, or `excerpt` where only the deciding
    sentence is left. Readers of labelled files ignore both."""

    text: str
    title: str = ""
    label: str
    entity: str = ""
    lang: str = ""
    votes: dict[str, int]
    taken_from: str


@dataclass
class Rows:
    """What came of the votes: rows, and those that made none."""

    rows: list[Row] = field(default_factory=list)
    tied: list[LabelVote] = field(default_factory=list)  # as many said this as that
    unnamed: list[LabelVote] = field(default_factory=list)  # what is left of the text does not name the company
    textless: list[LabelVote] = field(default_factory=list)  # nothing is left of it


def rows(votes: Iterable[LabelVote], texts: Mapping[Document, Tagged]) -> Rows:
    """A row a vote that is decided and whose text is there. Pure."""
    made = Rows()
    for vote in votes:
        newest = vote.newest
        whole = texts.get((newest.source, newest.document))
        title, text = (whole.title, whole.text) if whole is not None else (_apart(newest), newest.excerpt)
        entity = _entity(newest, whole)
        if not vote.label:
            made.tied.append(vote)
        elif not text and not title:
            made.textless.append(vote)
        elif newest.subject and not entity:
            made.unnamed.append(vote)
        else:
            lang = (whole.lang if whole is not None else newest.lang).replace("other", "")
            taken = "text" if whole is not None else "excerpt"
            made.rows.append(
                Row(
                    text=text or title, title=title if text else "", label=vote.label, entity=entity, lang=lang,
                    votes=vote.votes, taken_from=taken,
                )
            )  # fmt: skip
    return made


def surges(words: Iterable[Feedback]) -> list[dict[str, Any]]:
    """A line an episode that somebody judged: was it a surge? `vote` is empty where as many say yes as no. For back-tests."""
    found = []
    for episode, said in feedback.verdicts(words).items():
        newest = max(said.values(), key=lambda one: (one.at, one.id))
        votes = feedback.counted(said.values())
        ahead = votes["right"] - votes["not_a_surge"]
        vote = "right" if ahead > 0 else "not_a_surge" if ahead < 0 else ""
        found.append(
            {
                "episode": episode,
                "subject": newest.subject,
                "onset": rfc3339(newest.onset) if newest.onset else "",
                "vote": vote,
                "votes": votes,
            }
        )
    return sorted(found, key=lambda one: (str(one["onset"]), str(one["episode"])))


async def texts(
    settings: Settings, topology: Topology, votes: Iterable[LabelVote], *, wait_s: float = READ_S
) -> dict[Document, Tagged]:
    """The documents that votes are about, as far as `tagged` still holds them. What is not found within `wait_s` counts as gone.
    Raises BrokerAway, TopicsMissing."""
    wanted = {(one.newest.source, one.newest.document): one.newest.published_at for one in votes}
    found: dict[Document, Tagged] = {}
    if not wanted:
        return found
    name = topology.name(TAGGED)
    consumer = await open_consumer(settings, None, [name])
    try:
        count = len(consumer.partitions_for_topic(name) or ())
        if not count:
            raise TopicsMissing(f"The topic {name} is missing.")
        consumer.unsubscribe()  # a partition after the other, where such texts are
        homes: defaultdict[int, dict[Document, int]] = defaultdict(dict)
        for document, at in wanted.items():
            homes[murmur2(document[1].encode()) % count][document] = at
        async with asyncio.timeout(wait_s):
            for home in sorted(homes):
                await _look_through(consumer, TopicPartition(name, home), homes[home], found)
    except TimeoutError:
        log().warning("feedback_texts_left_out", missing=len(wanted) - len(found), wait_s=wait_s)
    except KafkaError as error:
        raise BrokerAway(f"The tagged texts cannot be read: {error!r}.") from error
    finally:
        await consumer.stop()
    return found


async def _look_through(
    consumer: AIOKafkaConsumer, partition: TopicPartition, wanted: Mapping[Document, int], found: dict[Document, Tagged]
) -> None:
    """Behind the moment of each text, oldest first, and nothing twice."""
    consumer.assign([partition])
    begin = (await consumer.beginning_offsets([partition]))[partition]
    end = (await consumer.end_offsets([partition]))[partition]
    keys = {document[1].encode() for document in wanted}
    read_to = 0
    for document, at in sorted(wanted.items(), key=lambda one: one[1]):
        if document in found:
            continue
        there = (await consumer.offsets_for_times({partition: max(0, at - MINUTE_MS)}))[partition]
        # The embedded broker keeps no times, and says that all is older.
        first = there.offset if there is not None and there.offset < end else max(begin, end - LOOKED_THROUGH)
        consumer.seek(partition, max(first, read_to))
        last = min(end, first + LOOKED_THROUGH)
        while document not in found and (read_to := await consumer.position(partition)) < last:
            for record in (await consumer.getmany(partition, timeout_ms=POLL_MS)).get(partition, ()):
                if record.key in keys:
                    _keep(record.value, wanted, found)
        read_to = max(read_to, await consumer.position(partition))


def _keep(value: bytes | None, wanted: Mapping[Document, int], found: dict[Document, Tagged]) -> None:
    try:
        one = _tagged(value or b"")
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return
    if (one.source, one.id) in wanted:
        found[one.source, one.id] = one


def _apart(one: Feedback) -> str:
    """The title, unless the sentence is of it."""
    return "" if one.excerpt and one.excerpt in one.title else one.title


def _entity(one: Feedback, whole: Tagged | None) -> str:
    """How the text names the company: as it was found there, else by a name that is known."""
    company = one.subject.partition("|")[0]
    if not company:
        return ""
    words = _joined(whole.title, whole.text) if whole is not None else _joined(_apart(one), one.excerpt)
    if whole is not None:
        for mention in whole.mentions:
            if mention.subject == company and 0 <= mention.start < mention.end <= len(words):
                return words[mention.start : mention.end]
    return next(
        (there[0] for name in one.names if name and (there := re.search(re.escape(name), words, re.IGNORECASE))), ""
    )


def _joined(title: str, text: str) -> str:
    return f"{title}\n{text}" if title else text

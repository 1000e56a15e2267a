"""Every Redis key, in one place. Braces keep what changes together in one cluster slot; {n} is the namespace.

{n}:{s17}:st                      hash: owner, rev, off, inc, gen, wm, closed, newest, marks d<partition>, books, warm (rebuild), ck
{n}:{s17}:b:<subject>:<hour>      hash: minute byte -> five counters packed (pack_counters); expires
{n}:{s17}:x:<subject>             hash: epoch quarter -> Expectation
{n}:{s17}:doc:<subject>           zset: published_at -> DocumentCard JSON, newest 60
{n}:{s17}:neg:<subject>           list: DocumentCard JSON of the newest negative originals (what an alert is made of)
{n}:{s17}:echo:<subject>          hash: story -> echoes
{n}:{s17}:det                     hash: subject -> detector row
{n}:{s17}:ep                      hash: subject -> open episode
{n}:{s17}:out                     list: alert events not yet on their topic
{n}:{s17}:shut                    list: steps that the clock closed, not yet on theirs
{n}:{s17}:rules                   string: JSON rule_watch.Kept, how each rule stands with each subject
{n}:{s17}:sv:<sieve>:<hour>       hash: minute byte and subject -> negatives, mentions, reach of the texts that a rule is about; expires
{n}:{s17}:wait                    list: alert events found by a rebuild, until it is known which were told before
{n}:live:{17}                     string: JSON LiveRow[] of one scored partition, once a second
{n}:alerts, {n}:alert:<episode>   zset and JSON AlertView: what the relay has published
{n}:generation                    random; gone or another: Redis lost everything, or a rebuild was asked for
{n}:claims                        says that the claims are whole
{n}:c:<day>:<shard>, {n}:v:<partition>   claims of tag; verdicts on documents not yet committed
{n}:band:..., {n}:sig:...         story bands and signatures of tag
{n}:books, {n}:books:<stage>:...  set of all books; hash: offset -> counts at that offset, and the newest
{n}:crashes:<topic>               hash: partition -> offset:times, where a process was that has not ended in order
{n}:beats, {n}:beat:<stage>:...   set of all beats; a process says it lives, and how much it holds
{dlv}:...                         lanes of deliver (alerts/lanes.py)
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from groundswell.records import Bucket

_WIDTHS = tuple((256 << 8 * (size - 1), struct.Struct(f"<5{code}")) for size, code in ((1, "B"), (2, "H"), (4, "I")))
_BY_LENGTH = {width.size: width for _, width in _WIDTHS}
HOUR_MS = 3_600_000
MINUTE_MS = 60_000
QUARTER_MS = 900_000


def pack_counters(counters: Sequence[int]) -> bytes:
    """Negative, neutral, positive, unsure, echoes, each in as many bytes as the largest needs: 5, 10 or 20 in all. A minute of most
    subjects is 5, and an hour of such minutes stays in a quarter of the memory."""
    largest = max(counters)
    for limit, width in _WIDTHS:
        if largest < limit:
            return width.pack(*counters)
    raise OverflowError(f"a minute of {largest} documents")


def unpack_counters(raw: bytes) -> tuple[int, ...]:
    """What `pack_counters` packed; the length says how. Version 0.1 wrote 20 bytes always."""
    return _BY_LENGTH[len(raw)].unpack(raw)


def unpack_bucket(raw: bytes) -> Bucket:
    return Bucket(*unpack_counters(raw))


@dataclass(frozen=True)
class Keys:
    """Names within one namespace (the topic prefix, so that two installations may share a Redis)."""

    namespace: str = "groundswell"

    def _slot(self, scored: int) -> str:
        return f"{self.namespace}:{{s{scored}}}"

    def state(self, scored: int) -> str:
        return f"{self._slot(scored)}:st"

    def buckets(self, scored: int, subject: str, hour: int) -> str:
        """`hour` is epoch milliseconds divided by HOUR_MS."""
        return f"{self._slot(scored)}:b:{subject}:{hour}"

    def expectations(self, scored: int, subject: str) -> str:
        return f"{self._slot(scored)}:x:{subject}"

    def documents(self, scored: int, subject: str) -> str:
        return f"{self._slot(scored)}:doc:{subject}"

    def negatives(self, scored: int, subject: str) -> str:
        return f"{self._slot(scored)}:neg:{subject}"

    def echoes(self, scored: int, subject: str) -> str:
        return f"{self._slot(scored)}:echo:{subject}"

    def partition_pattern(self, scored: int) -> str:
        """Glob over everything kept for one scored partition."""
        return f"{self._slot(scored)}:*"

    def detector(self, scored: int) -> str:
        return f"{self._slot(scored)}:det"

    def episodes(self, scored: int) -> str:
        return f"{self._slot(scored)}:ep"

    def outbox(self, scored: int) -> str:
        return f"{self._slot(scored)}:out"

    def shut(self, scored: int) -> str:
        return f"{self._slot(scored)}:shut"

    def rules(self, scored: int) -> str:
        return f"{self._slot(scored)}:rules"

    def sieved(self, scored: int, sieve: str, hour: int) -> str:
        """Counts of some of the texts; `hour` is epoch milliseconds divided by HOUR_MS."""
        return f"{self._slot(scored)}:sv:{sieve}:{hour}"

    def waiting(self, scored: int) -> str:
        return f"{self._slot(scored)}:wait"

    def live(self, scored: int) -> str:
        return f"{self.namespace}:live:{{{scored}}}"

    @property
    def alerts(self) -> str:
        """Zset: episode id by the time of its newest event."""
        return f"{self.namespace}:alerts"

    def alert(self, episode: str) -> str:
        """JSON AlertView."""
        return f"{self.namespace}:alert:{episode}"

    @property
    def generation(self) -> str:
        return f"{self.namespace}:generation"

    @property
    def claims(self) -> str:
        """There as long as no claim was lost."""
        return f"{self.namespace}:claims"

    def claim(self, day: int, shard: int) -> str:
        """Hash: a document's name -> who claimed it. `day` is epoch milliseconds of its arrival divided by a day's."""
        return f"{self.namespace}:c:{day}:{shard:x}"

    def verdicts(self, partition: int) -> str:
        """What the model said the first time of documents whose offset is not yet committed: a replay says the same."""
        return f"{self.namespace}:v:{partition}"

    def band(self, band: str) -> str:
        return f"{self.namespace}:band:{band}"

    def signature(self, story: str) -> str:
        return f"{self.namespace}:sig:{story}"

    def crashes(self, topic: str) -> str:
        return f"{self.namespace}:crashes:{topic}"

    def books(self, stage: str, topic: str, partition: int | str) -> str:
        return f"{self.namespace}:books:{stage}:{topic}:{partition}"

    def beat(self, stage: str, instance: str) -> str:
        return f"{self.namespace}:beat:{stage}:{instance}"

    @property
    def beats(self) -> str:
        """Set of the beat keys of all processes."""
        return f"{self.namespace}:beats"

    @property
    def delivery(self) -> str:
        """Prefix of all that deliver keeps, one slot."""
        return f"{self.namespace}:{{dlv}}"

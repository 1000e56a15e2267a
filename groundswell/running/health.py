"""What is wrong with an installation, as findings with a name each: the command line says them in English, the system page in its language.

Pure. groundswell/commands/look.py and dashboard/health/readings.py gather what is judged here.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence

from msgspec import Struct

from groundswell.decisions import Stage, Unwell
from groundswell.running.beat import Beat

STAGES = tuple(stage.value for stage in Stage)
NEARLY_FULL = 0.9  # of maxmemory: time to add some before every write is refused
SETTLE_S = 3.0  # longer than one beat: what was on its way from one stage to the next has arrived

_SENTENCES = {
    Unwell.NO_PROCESS: "{stage}: no process has said that it lives within 10 s. Start `groundswell {stage}`.",
    Unwell.BAD_TOPIC: "topics: {what}. Run `groundswell topology --create`.",
    Unwell.SLOW: "{stage}: process {pid}: {note}.",
    Unwell.NOT_BALANCED: (
        "{stage}: read {read} is not applied {applied} + duplicate {duplicate} + late {late} "
        "+ dead-lettered {dead_lettered} + in flight {in_flight}."
    ),
    Unwell.NOT_READ: "{stage} has read {read} of the {written} {things} that {before} wrote.",
    Unwell.BROKER_AWAY: "Kafka does not answer: {what} Check that it runs and that GROUNDSWELL_KAFKA names it.",
    Unwell.REDIS_AWAY: "Redis does not answer. Check that it runs and that GROUNDSWELL_REDIS names it.",
    Unwell.REDIS_FULL: (
        "Redis is {percent} % full. Raise its `maxmemory`: at 100 % every stage waits, nothing is lost and nobody is alerted."
    ),
}


class Finding(Struct, frozen=True, kw_only=True):
    """One thing that is not as it should be. `values` fill the places of its sentence, in every language."""

    what: Unwell
    stage: str = ""
    values: dict[str, int | str] = {}

    @property
    def sentence(self) -> str:
        """In English, with what to do next where a person can do something."""
        return _SENTENCES[self.what].format(stage=self.stage, **self.values)


def bad_topics(sentences: Iterable[str], found: Mapping[str, int], wanted: Mapping[str, int]) -> list[Finding]:
    """What Topology.missing says of the topics found, with the figures it says it of; `found` is 0 where one is missing."""
    return [
        Finding(
            what=Unwell.BAD_TOPIC,
            values={"what": one, "topic": name, "found": found.get(name, 0), "wanted": wanted[name]},
        )
        for one in sentences
        for name in [one.partition(" ")[0]]
    ]


def filling(fullest: float) -> list[Finding]:
    """A Redis whose fullest node holds this share of its maxmemory; 0: none is set."""
    return [Finding(what=Unwell.REDIS_FULL, values={"percent": int(fullest * 100)})] if fullest >= NEARLY_FULL else []


def findings(beats: Sequence[Beat], topics: Iterable[Finding], wanted: Collection[str] = STAGES) -> list[Finding]:
    """What beats say, beside what is wrong with the topics: stages without a process, slow partitions."""
    alive = {one.stage for one in beats}
    return [
        *(Finding(what=Unwell.NO_PROCESS, stage=stage) for stage in wanted if stage not in alive),
        *topics,
        *(
            Finding(what=Unwell.SLOW, stage=one.stage, values={"pid": one.pid, "note": one.note})
            for one in beats
            if one.state == "slow" and one.stage in wanted
        ),
    ]


def lasting(gaps: Iterable[Finding], earlier: Collection[Finding], beats: Sequence[Beat]) -> list[Finding]:
    """Gaps of the books that were there SETTLE_S before too. A stage that says it is behind has lost nothing: its line tells how far."""
    behind = {one.stage for one in beats if one.lag or one.in_flight}
    return [gap for gap in gaps if gap in earlier and not (gap.what is Unwell.NOT_READ and gap.stage in behind)]

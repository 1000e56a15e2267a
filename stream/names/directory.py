"""What can be counted, by name: companies and the rest of the catalogue, topics, markets, and all talk.

The number of subjects fixes each one's part of the false-alarm budget; zone and calendar group say what hour it is for it, and
scheduled events what is announced.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from groundswell.markets import MARKET, MARKETS
from groundswell.reserved import NAMES
from groundswell.settings import Settings
from groundswell.topics import TOPIC_NAMES
from stream.detection import surge
from stream.detection.scheduled import Schedule, load
from stream.detection.season import GROUP_ZONES, Slot, local_slots
from stream.names import entities
from stream.names.pack_answers import Packs
from stream.names.packs import packs_of
from stream.names.subjects import Catalogue, names_of

__all__ = ["MARKET", "Directory", "Subject"]

# Negatives a minute expected before anything is known; high rather than low: too low raises alarms on the first day.
_PRIOR_PER_MIN = {"topic": 1.0, "market": 5.0}
_COMPANY_PRIOR_PER_MIN = 0.2
_MARKET_DISPERSION = 0.05  # what many subjects are said together is steadier than what one is


@dataclass(frozen=True)
class Subject:
    """One thing that is counted. `zone` is IANA, `group` a calendar of season.GROUPS."""

    id: str
    kind: str
    names: dict[str, str]
    zone: str = "UTC"
    group: str = "ALWAYS"

    @property
    def prior_per_min(self) -> float:
        """Negatives a minute to expect before anything is known."""
        return _PRIOR_PER_MIN.get(self.kind, _COMPANY_PRIOR_PER_MIN)

    def fresh(self, settings: surge.Settings) -> surge.State:
        """What the detector knows of it before anything is seen."""
        known = replace(settings, prior_dispersion=_MARKET_DISPERSION) if self.kind == "market" else settings
        return surge.State.new(1, self.prior_per_min, known)


class Directory:
    """Every subject there may be. Unknown ones (a catalogue that shrank) are named by their id. Raises BrokenEvents."""

    def __init__(
        self, catalogue: Catalogue, pack_topics: Mapping[str, tuple[str, str]] | None = None, events_file: str = ""
    ) -> None:
        named = TOPIC_NAMES | dict(pack_topics or {})
        companies = {
            entry.id: Subject(entry.id, entry.kind, dict(entry.names.items()), entry.zone, entry.calendar)
            for entry in catalogue.subjects.values()
        }
        topics = {
            f"topic:{topic}": Subject(f"topic:{topic}", "topic", {"en": en, "zh": zh})
            for topic, (en, zh) in named.items()
        }
        markets = {
            f"{MARKET}:{group}": Subject(f"{MARKET}:{group}", "market", names, GROUP_ZONES[group], group)
            for group, names in MARKETS.items()
        }
        everything = {MARKET: Subject(MARKET, "market", {"en": "All talk", "zh": "全市场"})}
        self._watched = companies | topics | markets | everything
        tests = {subject: Subject(subject, "test", names) for subject, names in NAMES.items()}
        self._known: Mapping[str, Subject] = self._watched | tests
        self._catalogue = catalogue
        self.schedule = load(events_file, self.resolve) if events_file else Schedule()

    def __len__(self) -> int:
        """Subjects that share the false-alarm budget; what tests the installation takes no part of it."""
        return len(self._watched)

    @property
    def ids(self) -> Collection[str]:
        """Those subjects."""
        return self._watched.keys()

    def __getitem__(self, subject: str) -> Subject:
        found = self._known.get(subject)
        return found or Subject(subject, subject.partition(":")[0], {"en": subject, "zh": subject})

    def called(self, subject: str) -> set[str]:
        """All that people call it, for who looks for it by a name: what is no name in a text may be one in a question."""
        entry = self._catalogue.subjects.get(subject)
        return {subject, *self[subject].names.values(), *(names_of(entry) if entry else ())}

    def resolve(self, symbol: str) -> str | None:
        """The id of what is counted under a symbol or id; None where nothing is."""
        return symbol if symbol in self._watched else self._catalogue.resolve(symbol)

    def slots(self, subject: str, starts_ms: npt.NDArray[np.int64]) -> Slot:
        """Where one subject stands in its week at each of these moments, (T,) in order, with what is announced for it."""
        about = self[subject]
        slots = local_slots(about.zone, starts_ms // 1000, group=about.group)
        events = self.schedule.of(subject, int(starts_ms[0]), int(starts_ms[-1]) + 1)
        if not events:
            return slots
        factor = np.ones(len(starts_ms))
        for one in events:  # the strongest comes last
            factor[(starts_ms >= one.start_ms) & (starts_ms < one.end_ms)] = one.factor
        return replace(slots, factor=factor)

    def during(self, subject: str, first_ms: int, end_ms: int) -> str:
        """The strongest announced event between two moments, in a word; empty where none is."""
        events = self.schedule.of(subject, first_ms, end_ms)
        return events[-1].kind if events else ""


def directory_of(settings: Settings) -> Directory:
    """Everything that these settings make countable. Raises BrokenCatalogue, BrokenPack, BrokenEvents."""
    return Directory(entities.load_for(settings), Packs(packs_of(settings)).topics, settings.events)

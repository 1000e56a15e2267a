"""What can be counted, by name: companies and the rest of the catalogue, topics, and the market as a whole.

The number of subjects fixes each one's part of the false-alarm budget; zone and calendar group say what hour it is for it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from groundswell.reserved import NAMES
from groundswell.topics import TOPIC_NAMES
from stream.subjects import Catalogue

MARKET = "market"
# Negatives a minute expected before anything is known; high rather than low: too low raises alarms on the first day.
_PRIOR_PER_MIN = {"topic": 1.0, "market": 5.0}
_COMPANY_PRIOR_PER_MIN = 0.2


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


class Directory:
    """Every subject there may be. Unknown ones (a catalogue that shrank) are named by their id."""

    def __init__(self, catalogue: Catalogue, pack_topics: Mapping[str, tuple[str, str]] | None = None) -> None:
        named = TOPIC_NAMES | dict(pack_topics or {})
        companies = {
            entry.id: Subject(entry.id, entry.kind, dict(entry.names.items()), entry.zone, entry.calendar)
            for entry in catalogue.subjects.values()
        }
        topics = {
            f"topic:{topic}": Subject(f"topic:{topic}", "topic", {"en": en, "zh": zh})
            for topic, (en, zh) in named.items()
        }
        market = {MARKET: Subject(MARKET, "market", {"en": "All talk", "zh": "全市场"})}
        self._watched = companies | topics | market
        tests = {subject: Subject(subject, "test", names) for subject, names in NAMES.items()}
        self._known: Mapping[str, Subject] = self._watched | tests

    def __len__(self) -> int:
        """Subjects that share the false-alarm budget; what tests the installation takes no part of it."""
        return len(self._watched)

    def __getitem__(self, subject: str) -> Subject:
        found = self._known.get(subject)
        return found or Subject(subject, subject.partition(":")[0], {"en": subject, "zh": subject})

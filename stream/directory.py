"""What can be counted, by name: companies and the rest of the catalogue, topics, and the market as a whole.

The number of subjects fixes each one's part of the false-alarm budget; zone and calendar group say what hour it is for it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from stream.subjects import Catalogue

MARKET = "market"
TOPIC_NAMES: dict[str, tuple[str, str]] = {
    "earnings": ("Earnings", "业绩"),
    "guidance": ("Guidance", "业绩预告"),
    "dividend": ("Dividends and buybacks", "分红回购"),
    "analyst": ("Analyst calls", "研报评级"),
    "rating": ("Credit ratings", "信用评级"),
    "default": ("Default and liquidity", "违约与流动性"),
    "ma": ("Mergers and acquisitions", "并购"),
    "financing": ("Share issues and stake sales", "融资与减持"),
    "management": ("Management changes", "高管变动"),
    "fraud": ("Fraud and short reports", "造假与做空"),
    "regulation": ("Regulation and penalties", "监管处罚"),
    "litigation": ("Litigation", "诉讼"),
    "safety": ("Recalls and accidents", "召回与事故"),
    "cyber": ("Leaks and outages", "泄露与宕机"),
    "labour": ("Jobs and strikes", "裁员与罢工"),
    "supply": ("Supply chain", "供应链"),
    "macro": ("Economy and central banks", "宏观与央行"),
    "geopolitics": ("Sanctions and tariffs", "制裁与关税"),
    "commodity": ("Energy, metals, currencies", "大宗与外汇"),
    "market": ("Market talk", "行情传闻"),
    "esg": ("Environment and society", "环境与社会责任"),
    "product": ("Products and business", "产品与业务"),
}
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
        self._known: Mapping[str, Subject] = companies | topics | market

    def __len__(self) -> int:
        return len(self._known)

    def __getitem__(self, subject: str) -> Subject:
        found = self._known.get(subject)
        return found or Subject(subject, subject.partition(":")[0], {"en": subject, "zh": subject})

"""What people ask of rules, watchlists, sensitivities and previews, and what they are told: one shape for the command line and for HTTP.

stream/rulebook/rule_desk.py, list_desk.py and previews.py do it. Fields that are not known are refused; times are epoch milliseconds.
"""

from typing import Any, Literal

from msgspec import Struct, field

Names = dict[str, str]  # by language
Word = Literal["fewer", "balanced", "more"]
EVERYTHING, OF_LIST = "all", "watchlist:"  # whom a sensitivity is about, beside single subjects


# -- rules ---------------------------------------------------------------------------------------------------------------


class AskedRules(Struct, kw_only=True, forbid_unknown_fields=True):
    """Rules as TOML text. With the `name` of a file they replace all that came of a file of that name; without, each replaces the rule
    of its id, wherever that is. `rule`: one rule as JSON instead of a text."""

    text: str = ""
    rule: dict[str, Any] | None = None
    name: str = ""
    by: str = ""


class AskedRulePreview(Struct, kw_only=True, forbid_unknown_fields=True):
    """What these rules would have done in the last `days`: TOML text, or the id of one that is in force."""

    text: str = ""
    id: str = ""
    days: float = 7.0


class Fault(Struct, frozen=True, kw_only=True):
    """What is wrong in a text of rules, and what to write instead. `line` counts from 1; 0 where none can be named."""

    line: int
    rule: str
    key: str
    title: str
    remedy: str


class Meaning(Struct, frozen=True, kw_only=True):
    """One rule that can be in force, in words. `subjects`: how many of the catalogue it is about."""

    id: str
    version: int
    names: Names
    severity: str
    enabled: bool
    subjects: int
    means: Names


class Checked(Struct, frozen=True, kw_only=True):
    """A text of rules looked at: good ones in words, bad ones by line. No bound on false alarms holds for any of them."""

    ok: bool
    rules: list[Meaning]
    errors: list[Fault]
    unbounded: Names


class Matched(Struct, frozen=True, kw_only=True):
    """One time that a rule fired; `episode` is the alert's."""

    at: int
    subject: str
    names: Names
    episode: str


class RuleRow(Struct, frozen=True, kw_only=True):
    """A rule as in force. `set` is the file it came of, `text` what can be edited."""

    id: str
    version: int
    names: Names
    severity: str
    enabled: bool
    set: str
    by: str
    applied_at: int
    means: Names
    matched_24h: int
    last: list[Matched]  # newest first
    text: str


class Board(Struct, frozen=True, kw_only=True):
    """All rules, and how many of the aggregates that run have them all."""

    revision: str
    processes: int
    in_force_in: int
    items: list[RuleRow]
    next: str = ""


# -- watchlists and sensitivities ------------------------------------------------------------------------------------------


class AskedList(Struct, kw_only=True, forbid_unknown_fields=True):
    """A list whole, ids and patterns such as topic:*; without `subjects` those that it has stay. `name`: what it is called from now on."""

    subjects: list[str] | None = None
    name: str = ""
    by: str = ""


class AskedMembers(Struct, kw_only=True, forbid_unknown_fields=True):
    """Names to put on a list: ids, symbols, names of companies, patterns. What nobody knows is answered, not refused."""

    subjects: list[str]
    by: str = ""


class AskedSensitivity(Struct, kw_only=True, forbid_unknown_fields=True):
    """A word, or false alarms a day: of all subjects, of all of a list together, or of one subject."""

    value: float | str
    by: str = ""


class AskedPreview(Struct, kw_only=True, forbid_unknown_fields=True):
    """What these sensitivities would have done in the last `days`. `about`: all, watchlist:NAME, or a subject."""

    values: list[float | str] = field(default_factory=lambda: ["fewer", "balanced", "more"])
    about: str = EVERYTHING
    days: float = 7.0


class Entry(Struct, frozen=True, kw_only=True):
    """What is on a list: a subject, or a pattern, and the subjects that it stands for."""

    entry: str
    pattern: bool
    names: Names
    kind: str
    subjects: list[str]


class ListRow(Struct, frozen=True, kw_only=True):
    """A watchlist. `matched`: subjects that its entries stand for; `rules`: rules that name it; `a_day`: false alarms a day that all of
    its subjects together are allowed."""

    name: str
    by: str
    at: int
    entries: list[Entry]
    matched: int
    rules: list[str]
    sensitivity: float | str | None
    a_day: float


class Sharing(Struct, frozen=True, kw_only=True):
    """How the budget of false alarms is shared: `budget` a day over all `subjects`; the `watched` have `a_day` of it, each `times` as much
    as another subject. `half` is false where so many are watched that nobody gains."""

    mode: str
    budget: float
    subjects: int
    watched: int
    half: bool
    a_day: float
    times: float


class Lists(Struct, frozen=True, kw_only=True):
    """All watchlists."""

    items: list[ListRow]
    sharing: Sharing
    next: str = ""


class Added(Struct, frozen=True, kw_only=True):
    """What came of names for a list: those `added` now, those `known` (there before), and those that were `not_found`."""

    watchlist: ListRow
    added: list[str]
    known: list[str]
    not_found: list[str]


class SensitivityRow(Struct, frozen=True, kw_only=True):
    """What is set of whom. `a_day`: false alarms a day that follow for all of its `subjects` together."""

    about: str
    kind: Literal["all", "watchlist", "subject"]
    names: Names
    value: float | str
    by: str
    at: int  # 0: by the settings, nobody has set it
    subjects: int
    a_day: float


class Sensitivities(Struct, frozen=True, kw_only=True):
    """The first item is that of all subjects. `words`: false alarms a day that each word stands for."""

    mode: str
    words: dict[str, float]
    items: list[SensitivityRow]
    next: str = ""


class Found(Struct, frozen=True, kw_only=True):
    """A subject that a search found."""

    subject: str
    names: Names
    kind: str


# -- previews ----------------------------------------------------------------------------------------------------------------


class Preview(Struct, kw_only=True):
    """A back-test for people. `state`: running, done, failed or stopped; `share` of 0 to 1 is played. `found` is what was found,
    `problem` why there is nothing."""

    id: str
    state: str
    about: dict[str, Any]
    started_at: int
    share: float = 0.0
    found: dict[str, Any] | None = None
    problem: dict[str, str] | None = None

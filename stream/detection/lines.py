"""Shares the false-alarm budget among the subjects, and says at which evidence each fires: watchlists, sensitivities, two modes.

The bound adds up over subjects for any dependence between them, as long as their parts do: so however the parts are cut, all subjects
together keep the budget. surge.py has the bound, calibration.py what it leaves unused.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

import msgspec

from groundswell import __version__
from groundswell.control import ControlView
from groundswell.errors import BadSetting
from groundswell.markets import is_market
from groundswell.records import Sensitivity, Watchlist
from groundswell.settings import Settings
from stream.detection import calendars, calibration, single, surge
from stream.detection.episodes import RULE
from stream.detection.policy import Mode, Policy
from stream.names.directory import Directory
from stream.topology import SCORED

FACTORS = {"fewer": 0.2, "balanced": 1.0, "more": 5.0}  # of one subject's part
WATCHED = 0.5  # of the budget that is not the markets'
OF_MARKETS = 0.2  # of the budget: a market that fires before its companies is one alert instead of many
MOST_OWN = 0.5  # of the budget that subjects with a number of their own may take


@dataclass(frozen=True)
class Parts:
    """Each subject's part of the budget against an equal one: `own` of some, `others` of every other. Their sum over all subjects is
    their number."""

    others: float = 1.0
    own: Mapping[str, float] = field(default_factory=dict)


def budget_of(sensitivity: str | float) -> float:
    """False alarms a day over all subjects."""
    return surge.SENSITIVITY_BUDGET[sensitivity] if isinstance(sensitivity, str) else sensitivity


def parts(
    subjects: int,
    budget: float,
    watched: Iterable[str] = (),
    own: Mapping[str, str | float] | None = None,
    markets: Iterable[str] = (),
) -> Parts:
    """A fifth of the budget to the markets, where that is more than an equal part and what they have already; of the rest half to the
    watched, unless they are half of all `subjects` or more: then nobody gains. On top, `own` words scale a subject's part (`fewer` .2,
    `more` 5) and the parts of all are scaled back to the budget; an own number is that subject's false alarms a day, and all such
    together take half of the budget at most."""
    watched, own, markets = frozenset(watched), own or {}, frozenset(markets)
    few = 0 < len(watched) < subjects / 2
    of_watched = WATCHED * subjects / len(watched) if few else 1.0
    of_others = (1 - WATCHED) * subjects / (subjects - len(watched)) if few else 1.0
    of_market = OF_MARKETS / (1 - OF_MARKETS) * subjects / len(markets) if markets else 0.0
    numbers = {subject: value for subject, value in sorted(own.items()) if not isinstance(value, str)}
    words = {subject: FACTORS[value] for subject, value in own.items() if isinstance(value, str)}
    taken = sum(numbers.values())
    shrink = min(1.0, MOST_OWN * budget / taken) if taken else 1.0
    given = {subject: value * shrink * subjects / budget for subject, value in numbers.items()}
    gaining = markets if of_market > of_others else frozenset[str]()
    each = {
        subject: max(of_watched if subject in watched else of_others, of_market if subject in gaining else 0.0)
        * words.get(subject, 1.0)
        for subject in sorted((watched | words.keys() | gaining) - given.keys())
    }
    rest = subjects - len(each) - len(given)
    scale = (subjects - sum(given.values())) / ((sum(each.values()) + rest * of_others) or 1.0)
    return Parts(of_others * scale, given | {subject: part * scale for subject, part in each.items()})


def line(mode: Mode, budget: float, subjects: int, part: float, step_s: int) -> float:
    """ln h of a subject with this part. `calibrated` is never above `guaranteed`."""
    bound = surge.threshold(budget, subjects, part, step_s)
    return bound if mode == "guaranteed" else min(bound, calibration.line(budget * part / subjects))


def policy(
    settings: Settings,
    directory: Directory,
    watchlists: Iterable[Watchlist] = (),
    sensitivities: Iterable[Sensitivity] = (),
) -> Policy:
    """The detector's policy by the settings and what people set while it runs. What names no counted subject has no effect.

    The same objects give the same policy: who starts again, or counts again after a loss (rebuild.py), judges by the objects of today,
    also the hours before they were written. What was told then stays told; its evidence names its own line and `revision`.
    Raises BadSetting.
    """
    lists = sorted(watchlists, key=lambda one: one.id)
    said = sorted(sensitivities, key=lambda one: one.id)
    if settings.line == "calibrated" and settings.step_s != calibration.RUN["step_s"]:
        raise BadSetting(
            f"line is calibrated, and step_s is {settings.step_s}.",
            remedy="The calibrated lines were measured for steps of 60 s: set step_s = 60, or line = guaranteed.",
        )
    whole = next((one.value for one in said if one.rule == RULE.id), settings.sensitivity)
    budget, count = budget_of(whole), len(directory)
    patterns = [entry for one in lists for entry in one.subjects]
    watched = (
        {subject for subject in directory.ids if any(fnmatchcase(subject, pattern) for pattern in patterns)}
        if patterns
        else set()
    )
    own = _own(lists, said, directory)
    found = parts(count, budget, watched, own, filter(is_market, directory.ids))
    versions = {
        "engine": __version__, "rule": f"{RULE.id}/{RULE.version}", "sensitivity": f"{whole:g}" if isinstance(whole, float) else whole,
        "line": settings.line, "calendars": calendars.version(), "events": directory.schedule.version,
    }  # fmt: skip
    return Policy(
        settings=surge.Settings(step_s=settings.step_s),
        ln_h=line(settings.line, budget, count, found.others, settings.step_s),
        lateness_ms=round(settings.lateness_s * 1000),
        page_url=settings.page_url or f"http://{settings.host}:{settings.port}",
        versions={name: version for name, version in versions.items() if version},
        mode=settings.line,
        budget=budget,
        weight=found.others,
        weights=found.own,
        lines={subject: line(settings.line, budget, count, part, settings.step_s) for subject, part in found.own.items()},
        revision=_revision(lists, said),
        trusted=frozenset(settings.trusted_sources),
        single_a_day=single.part(1 if settings.single_partition else SCORED.partitions),
    )  # fmt: skip


def policy_by(settings: Settings, directory: Directory, view: ControlView) -> Policy:
    """By the settings and what people have set until now. Raises BadSetting."""
    return policy(settings, directory, view.watchlists.values(), view.sensitivities.values())


def _own(lists: list[Watchlist], said: list[Sensitivity], directory: Directory) -> dict[str, str | float]:
    """What is set of each subject: its own, else that of its watchlist, the newest where it is on several. What a list is given as a
    number its subjects share alike."""
    entries = {one.name: one.subjects for one in lists}
    found: dict[str, str | float] = {}
    for one in sorted(said, key=lambda one: (one.at, one.id)):
        patterns = entries.get(one.watchlist, ()) if one.watchlist else ()
        of_list = [subject for subject in directory.ids if any(fnmatchcase(subject, each) for each in patterns)]
        value = one.value if isinstance(one.value, str) else one.value / max(len(of_list), 1)
        found |= dict.fromkeys(of_list, value)
    return found | {one.subject: one.value for one in said if one.subject in directory.ids}


def _revision(lists: list[Watchlist], said: list[Sensitivity]) -> str:
    """Eight letters that name what was set; empty when nothing was."""
    if not lists and not said:
        return ""
    return hashlib.blake2b(msgspec.json.encode([lists, said]), digest_size=4).hexdigest()

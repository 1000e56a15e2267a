"""The evidence of one alert as people read it: figures, what they rest on, a drawing that needs no script. Pure.

The sentences are those of the command line (groundswell/evidence_words.py). course.py has what happened, papers.py the documents.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec
from msgspec import Struct

from dashboard.archive import foreign
from dashboard.rows import at_ms
from dashboard.subjects.history import MAX_POINTS, STEPS_S, Series
from groundswell.evidence_words import WORDS, gate
from groundswell.keys import HOUR_MS, MINUTE_MS
from groundswell.records import AlertView
from groundswell.topics import TOPIC_NAMES

Tongue = Literal["en", "zh"]

WIDTH, HEIGHT = 960, 220  # of the drawing, in its own units
LN_10 = math.log(10)
LEAVE_OUT_SLACK = 2.0  # what is left may lie this far (ln) under the line and still counts as broad
PARTS = ("story", "author", "publisher", "company")
SPANS = {"1m": 60, "5m": 300, "15m": 900, "1h": 3_600}
MAX_LETTERS = 2_000
MANY_TIMES = 20
_SIGNS = {">=": "≥", "<=": "≤"}
_RAISED = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")


class Frozen(Struct, kw_only=True, frozen=True):
    """Of a frozen record what the page shows: the detector's (stream/detection/evidence.py) or a rule's (stream/rulebook/rule_event.py)."""

    decision: str = ""
    severity: str = ""
    bucket_open: bool = False
    deciding_document: str = ""
    negatives: int = 0
    expected_since_onset: float = 0.0
    ln_m: dict[str, float] = {}
    ln_h: float = 0.0
    mode: str = ""
    budget: float = 0.0
    observed: dict[str, dict[str, int]] = {}
    expected: dict[str, dict[str, float]] = {}
    floors: dict[str, int] = {}
    leave_out: dict[str, float] = {}
    expected_per_step: float = 0.0
    level: float = 0.0
    profile: float = 0.0
    share_p: float = 0.0
    excess: float = 0.0
    excess_by: dict[str, list[tuple[str, float]]] = {}
    by_source: list[tuple[str, int]] = []
    documents: list[dict[str, Any]] = []
    conditions: list["Condition"] = []
    counted: dict[str, int] = {}


class Condition(Struct, kw_only=True, frozen=True):
    """One condition of a rule of a user's own, as it stood."""

    metric: str = ""
    of: str = ""
    window_s: int = 0
    value: float | None = None
    comparison: str = ""
    threshold: float = 0.0
    holds: bool = False


def frozen(view: AlertView, event: str = "") -> Frozen:
    """What was frozen with an event, the newest if none is named; an empty one where there is nothing that can be read."""
    try:
        return msgspec.convert(view.evidence.get(event or view.event.id, {}), Frozen)
    except msgspec.ValidationError:
        return Frozen()


def tellings(view: AlertView) -> list[Frozen]:
    """What the alert stood on each time it was told, the newest first. Its end is decided on calm, which explains nothing: it counts
    only where nothing else is known."""
    found = [
        frozen(view, str(one["id"]))
        for one in reversed(view.timeline)
        if one.get("type") in ("alert.firing", "alert.updated") and str(one.get("id")) in view.evidence
    ]
    return found or [frozen(view)]


def visible(text: str) -> str:
    """The text with what a reader cannot see, or what would turn letters around, spelled out; cut at 2,000 letters."""
    cut = text if len(text) <= MAX_LETTERS else text[:MAX_LETTERS] + "…"
    return foreign.visible(cut)


def explained(
    view: AlertView, language: Tongue, name_of: Callable[[str], str], stories: Mapping[str, str], now_ms: int
) -> dict[str, Any]:
    """What the template shows, with every time in milliseconds and every text made visible. `name_of`: a subject's name; `stories`: what
    the stories begin with."""
    data, known = view.event.data, tellings(view)
    seen, left_out = known[0], next((one for one in known if one.leave_out), known[0])
    top = max(data.observed.negatives, data.expected.high, 1) * 1.08
    onset = at_ms(data.started_at)
    return {
        "severity": data.severity,
        "trend": data.trend,
        "kind": data.kind,
        "minutes": max(1, round(data.window_s / 60)),
        "hours": f"{data.window_s / 3600:.1f}" if data.window_s >= 7_200 else "",
        "mentions": data.observed.mentions,
        "share": round(100 * data.observed.negative_share),
        "known": data.expected.negatives > 0 or data.expected.high > 0,
        "effect": _times(data.effect),
        "many": data.effect >= MANY_TIMES,
        "effect_low": _times(data.effect_low),
        "effect_high": _times(data.effect_high),
        "strength": _power(seen.ln_m.get("combined", LN_10 * data.log10_e_value) / LN_10),
        "threshold": _power(seen.ln_h / LN_10 if seen.ln_h else data.log10_threshold),
        "onset": onset,
        "detected": at_ms(data.detected_at),
        "lasted": _minutes(onset, at_ms(data.resolved_at) or now_ms),
        "rule": _rule(view, language),
        "bound": _bound(view, seen, language),
        "decided": gate(seen.decision, language) if seen.decision else "",
        "early": WORDS[language]["early"].format(visible(seen.deciding_document)[:60]) if seen.bucket_open else "",
        "channels": _channels(seen, language),
        "robust": WORDS[language]["robust_is"].format(data.fires_up_to) if data.fires_up_to else "",
        "usual": _usual(seen, language),
        "during": visible(data.during)[:40],
        "peak": {
            "at": at_ms(data.peak.at),
            "negatives": data.peak.negatives,
            "minutes": max(1, data.peak.window_s // 60),
        }
        if data.peak
        else None,
        "without": _without(view, left_out),
        "voices": {part: seen.floors.get(part, 0) for part in ("stories", "authors", "publishers")}
        if seen.floors
        else None,
        "excess": f"{seen.excess:.0f}" if seen.excess_by else "",
        "made_of": _made_of(seen, language, name_of, stories),
        "conditions": _conditions(seen, language),
        "spans": _spans(seen),
        "bar": {
            "low": round(100 * data.expected.low / top, 2),
            "width": round(100 * (data.expected.high - data.expected.low) / top, 2),
            "mean": round(100 * data.expected.negatives / top, 2),
            "seen": round(100 * data.observed.negatives / top, 2),
        },
        "versions": {visible(name): visible(version)[:80] for name, version in data.versions.items() if version},
    }


def _rule(view: AlertView, language: Tongue) -> dict[str, Any]:
    """Which rule decided. `own`: of a user; `single`: one text alone may alert by it; no bound on false alarms holds for either."""
    rule = view.event.data.rule
    own = not rule.bounded and rule.id != "single-document"
    name = rule.name.get(language) or rule.name.get("en") or next(iter(rule.name.values()), "") or rule.id
    return {
        "id": visible(f"{rule.id} {rule.version}")[:80],
        "own": own,
        "single": rule.id == "single-document",
        "name": visible(name)[:120],
    }


def _bound(view: AlertView, seen: Frozen, language: Tongue) -> str:
    """How often the detector is wrong at this line; empty where that is not known, or where no bound holds."""
    if not view.event.data.rule.bounded or not seen.budget or seen.mode not in ("guaranteed", "calibrated"):
        return ""
    said = WORDS[language][seen.mode].format(seen.budget)
    return said[:1].upper() + said[1:]


def _channels(seen: Frozen, language: Tongue) -> list[dict[str, Any]]:
    """How strong each way of looking finds it; the strongest carries the alert."""
    found = {name: seen.ln_m[name] for name in ("fast", "slow", "share") if name in seen.ln_m}
    best = max(found.values(), default=0.0)
    return [
        {"name": WORDS[language][name], "power": _power(value / LN_10), "carries": value == best and value > 0}
        for name, value in found.items()
    ]


def _usual(seen: Frozen, language: Tongue) -> str:
    if not seen.level:
        return ""
    return WORDS[language]["usual_is"].format(seen.expected_per_step, seen.level, seen.profile, seen.share_p)


def _without(view: AlertView, seen: Frozen) -> list[dict[str, Any]]:
    """Whether it would still fire without its largest story, author, publisher, company: what is known of them."""
    known = [(name, seen.leave_out[name]) for name in PARTS if name in seen.leave_out]
    if known:
        line = min(seen.ln_h, seen.leave_out.get("all", seen.ln_h)) - LEAVE_OUT_SLACK
        return [{"what": name, "fires": value >= line} for name, value in known]
    data = view.event.data
    return [] if data.kind == "document" else [{"what": "story", "fires": data.fires_without_largest_story}]


def _made_of(
    seen: Frozen, language: Tongue, name_of: Callable[[str], str], stories: Mapping[str, str]
) -> list[dict[str, Any]]:
    """The excess by source, story, topic and company, widest first; before that was kept, the negatives by source."""
    found = []
    for kind in ("source", "story", "topic", "company"):
        parts = [(name, value) for name, value in seen.excess_by.get(kind, []) if value > 0]
        if kind == "source" and not parts:
            parts = [(name, float(count)) for name, count in seen.by_source[:6]]
        if len(parts) < 2:
            continue
        top = max(value for _, value in parts)
        found.append(
            {
                "kind": kind,
                "parts": [
                    {
                        "name": _part(kind, stories.get(name, name) if kind == "story" else name, language, name_of)
                        or WORDS[language]["rest"],
                        "count": f"{value:.{0 if value >= 10 else 1}f}".removesuffix(".0"),
                        "width": round(100 * value / top, 1),
                    }
                    for name, value in parts
                ],
            }
        )
    return found


def _part(kind: str, name: str, language: Tongue, name_of: Callable[[str], str]) -> str:
    if kind == "topic" and name in TOPIC_NAMES:
        return TOPIC_NAMES[name][language == "zh"]
    return visible(name_of(name) if kind == "company" and name else name)[:60]


def _conditions(seen: Frozen, language: Tongue) -> list[dict[str, str]]:
    """What the rule asks for, what was found, and whether that is enough."""
    words = WORDS[language]
    return [
        {
            "what": f"{visible(one.metric)[:30]} {visible(one.of)[:30]}",
            "minutes": str(one.window_s // 60),
            "asked": f"{_SIGNS.get(one.comparison, visible(one.comparison)[:4])} {one.threshold:g}",
            "found": words["nothing"] if one.value is None else f"{one.value:g}",
            "holds": words["holds" if one.holds else "fails"],
        }
        for one in seen.conditions[:20]
    ]


def _spans(seen: Frozen) -> list[dict[str, Any]]:
    """The last minutes and hour, each against what was expected of it."""
    return [
        {
            "minutes": seconds // 60,
            "negatives": seen.observed[name].get("negatives", 0),
            "expected": f"{seen.expected.get(name, {}).get('negatives', 0.0):.1f}",
            "low": round(seen.expected.get(name, {}).get("low", 0.0)),
            "high": round(seen.expected.get(name, {}).get("high", 0.0)),
            "mentions": seen.observed[name].get("mentions", 0),
            "reach": seen.observed[name].get("reach", 0),
        }
        for name, seconds in SPANS.items()
        if name in seen.observed
    ]


def _minutes(begin: int | None, end: int) -> int:
    return max(0, round((end - begin) / MINUTE_MS)) if begin is not None else 0


def span(view: AlertView, now_ms: int) -> tuple[int, int]:
    """What the drawing covers: an hour and a half before the onset, until half an hour after the end, or now."""
    data = view.event.data
    onset = at_ms(data.started_at) or now_ms
    end = at_ms(data.resolved_at)
    last = min(now_ms, (end or now_ms) + HOUR_MS // 2)
    return onset - 3 * HOUR_MS // 2, min(max(last, onset + HOUR_MS // 4), onset + 6 * 24 * HOUR_MS)


def step_s(begin_ms: int, end_ms: int) -> int:
    """The finest step that gives no more than 300 points."""
    return next((step for step in STEPS_S if (end_ms - begin_ms) / 1000 / step <= min(300, MAX_POINTS)), STEPS_S[-1])


def figure(past: Series, view: AlertView) -> dict[str, Any] | None:
    """Paths of the drawing: negatives as steps, the band, the onset; None when nothing is kept of that time."""
    known = [value for value in past.neg if value is not None]
    if not known or not any(known):
        return None
    top = max(*known, *(value for value in past.hi if value is not None), 1) * 1.1
    step_x = WIDTH / len(past.neg)

    def y(value: float) -> float:
        return round(HEIGHT - value / top * HEIGHT, 1)

    onset = at_ms(view.event.data.started_at)
    over = at_ms(view.event.data.resolved_at)
    end_ms = past.t0 + len(past.neg) * past.step * 1000

    def x(at: int) -> float:
        return round(min(max(0.0, (at - past.t0) / (past.step * 1000) * step_x), WIDTH), 1)

    return {
        "negatives": _steps(past.neg, step_x, y),
        "band": _area(past.lo, past.hi, step_x, y),
        "onset": x(onset) if onset is not None else None,
        "until": x(over if over is not None else end_ms),
        "begin": past.t0,
        "end": end_ms,
        "top": max(known),
        "top_y": y(max(known)),
        "step_minutes": past.step // 60,
    }


def _steps(values: list[int | None], step_x: float, y: Any) -> str:
    path, pen = [], False
    for place, value in enumerate(values):
        if value is None:
            pen = False
            continue
        left, right = round(place * step_x, 1), round((place + 1) * step_x, 1)
        path.append(f"{'L' if pen else 'M'}{left} {y(value)}H{right}")
        pen = True
    return "".join(path)


def _area(lows: list[int | None], highs: list[int | None], step_x: float, y: Any) -> str:
    path, run = [], []
    for place, (low, high) in enumerate(zip([*lows, None], [*highs, None], strict=True)):
        if low is not None and high is not None:
            run.append((round(place * step_x, 1), round((place + 1) * step_x, 1), y(low), y(high)))
        elif run:
            there = "".join(f"L{left} {top}H{right}" for left, right, _, top in run)
            back = "".join(f"L{right} {bottom}H{left}" for left, right, bottom, _ in reversed(run))
            path.append(f"M{there[1:]}{back}Z")
            run = []
    return "".join(path)


def _power(log10: float) -> str:
    """1.6 × 10¹⁰, as it is read."""
    if not math.isfinite(log10):
        return "∞" if log10 > 0 else "0"
    exponent = math.floor(log10)
    if -1 <= exponent <= 2:
        return f"{10**log10:.1f}"
    return f"{10 ** (log10 - exponent):.1f} × 10{str(exponent).translate(_RAISED)}"


def _times(value: float) -> str:
    """Against next to nothing a factor says nothing: from 20 on only that it is more."""
    return f"{value:.1f}" if value < MANY_TIMES else f"> {MANY_TIMES}"

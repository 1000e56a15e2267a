"""The evidence of one alert as people read it: figures, documents, timeline, a drawing that needs no script. Pure."""

import math
import re
from typing import Any

from dashboard.history import MAX_POINTS, STEPS_S, Series
from dashboard.rows import NOBODY, at_ms, link
from groundswell.keys import HOUR_MS
from groundswell.records import Acknowledgement, AlertDocument, AlertView

WIDTH, HEIGHT = 960, 220  # of the drawing, in its own units
LEAVE_OUT_SLACK = 2.0  # what is left may lie this far (ln) under the line and still counts as broad
_HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
MAX_LETTERS = 2_000
MANY_TIMES = 20
_RAISED = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")


def visible(text: str) -> str:
    """The text with what a reader cannot see, or what would turn letters around, spelled out; cut at 2,000 letters."""
    cut = text if len(text) <= MAX_LETTERS else text[:MAX_LETTERS] + "…"
    return _HIDDEN.sub(lambda found: f"⟨U+{ord(found[0]):04X}⟩", cut)


def explained(view: AlertView, ack: Acknowledgement | None) -> dict[str, Any]:
    """What the template shows, with every time in milliseconds and every text made visible."""
    data = view.event.data
    top = max(data.observed.negatives, data.expected.high, 1) * 1.08
    return {
        "severity": data.severity,
        "kind": data.kind,
        "minutes": max(1, round(data.window_s / 60)),
        "hours": f"{data.window_s / 3600:.1f}" if data.window_s >= 7_200 else "",
        "mentions": data.observed.mentions,
        "share": round(100 * data.observed.negative_share),
        "effect": _times(data.effect),
        "many": data.effect >= MANY_TIMES,
        "effect_low": _times(data.effect_low),
        "effect_high": _times(data.effect_high),
        "strength": _power(data.log10_e_value),
        "threshold": _power(data.log10_threshold),
        "without": _without(view),
        "voices": _voices(view),
        "sources": _sources(view),
        "bar": {
            "low": round(100 * data.expected.low / top, 2),
            "width": round(100 * (data.expected.high - data.expected.low) / top, 2),
            "mean": round(100 * data.expected.negatives / top, 2),
            "seen": round(100 * data.observed.negatives / top, 2),
        },
        "documents": [_document(document) for document in data.documents],
        "documents_total": max(data.documents_total, len(data.documents)),
        "timeline": timeline(view, ack),
        "versions": {visible(name): visible(version)[:80] for name, version in data.versions.items()},
        "rule": "" if "rule" in data.versions else f"{data.rule.id} {data.rule.version}",
    }


def _frozen(view: AlertView) -> dict[str, Any]:
    """The evidence that was frozen with the newest event."""
    found = view.evidence.get(view.event.id)
    return found if isinstance(found, dict) else {}


def _without(view: AlertView) -> list[dict[str, Any]]:
    """Whether it would still fire without its largest story, author, publisher: what is known of the three."""
    frozen = _frozen(view)
    left, line = frozen.get("leave_out"), frozen.get("ln_h")
    if isinstance(left, dict) and isinstance(line, int | float):
        known = [
            (name, left[name]) for name in ("story", "author", "publisher") if isinstance(left.get(name), int | float)
        ]
        if known:
            return [{"what": name, "fires": value >= line - LEAVE_OUT_SLACK} for name, value in known]
    return [{"what": "story", "fires": view.event.data.fires_without_largest_story}]


def _voices(view: AlertView) -> dict[str, int] | None:
    """How many stories, authors and publishers there are, where that was frozen."""
    floors = _frozen(view).get("floors")
    if not isinstance(floors, dict):
        return None
    return {name: int(floors.get(name) or 0) for name in ("stories", "authors", "publishers")}


def _sources(view: AlertView) -> list[dict[str, Any]]:
    """The sources by how much they said, widest first; `width` is of a hundred."""
    found = _frozen(view).get("by_source")
    pairs = [one for one in found if isinstance(one, list | tuple) and len(one) == 2] if isinstance(found, list) else []
    top = max((count for _, count in pairs), default=1)
    return [
        {"name": visible(str(name))[:60], "count": count, "width": round(100 * count / top, 1)}
        for name, count in pairs[:6]
    ]


def timeline(view: AlertView, ack: Acknowledgement | None) -> list[dict[str, Any]]:
    """Onset, transitions, acknowledgement in order; a transition's time and state are found under several names."""
    data = view.event.data
    steps: list[dict[str, Any]] = []
    told = {one.get("what") for one in view.timeline}
    if "onset" not in told and (onset := at_ms(data.started_at)) is not None:
        steps.append({"at": onset, "what": "onset", "who": ""})
    for one in view.timeline:
        at = next(
            (found for name in ("at", "timestamp", "detected_at") if (found := at_ms(one.get(name))) is not None), None
        )
        what = "updated" if one.get("type") == "alert.updated" else str(one.get("what") or one.get("state") or "")
        if at is not None and what:
            steps.append({"at": at, "what": visible(what)[:40], "who": ""})
    if not view.timeline and (detected := at_ms(data.detected_at)) is not None:
        steps.append({"at": detected, "what": "firing", "who": ""})
    if ack is not None:
        steps.append({"at": ack.at, "what": "acknowledged", "who": "" if ack.by == NOBODY else visible(ack.by)[:80]})
    return sorted(steps, key=lambda step: step["at"])


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


def _document(document: AlertDocument) -> dict[str, Any]:
    return {
        "title": visible(document.title),
        "excerpt": visible(document.excerpt),
        "source": visible(document.source)[:80],
        "lang": document.lang if document.lang in ("en", "zh") else "",
        "at": at_ms(document.published_at),
        "url": link(document.url),
        "host": link(document.url).split("/")[2][:80] if link(document.url).count("/") >= 2 else "",
        "negative": f"{document.negative:.2f}",
        "echoes": document.echoes,
    }


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

"""A frozen record as people read it: one line a question, each beside its word. Pure; evidence.py prints it."""

from collections.abc import Iterator
from typing import Any

import msgspec

from groundswell import times
from groundswell.commands.spoken import Tongue
from groundswell.effect import MANY_TIMES
from groundswell.evidence_export import Told
from groundswell.evidence_words import TYPES, WORDS, gate, power
from groundswell.text import safe
from stream.detection.evidence import SPANS, VERSION, Record
from stream.detection.floors import MARGIN

Line = tuple[str, str]
DOCUMENTS, NAMES = 5, 40


def record_of(told: Told) -> Record | None:
    """The detector's record; None for what a rule of a user's own decided, or of another version."""
    if told.evidence.get("v") != VERSION:
        return None
    try:
        return msgspec.convert(told.evidence, Record)
    except msgspec.ValidationError:
        return None


def lines(told: Told, tongue: Tongue) -> list[Line]:
    """What it stands on, as (word, text)."""
    frozen = record_of(told)
    return list(_by_detector(frozen, tongue) if frozen is not None else _by_rule(told.evidence, tongue))


def spans(told: Told) -> list[tuple[str, ...]]:
    """Rows of the last minutes and hours: span, negatives, expected, band, texts, reach."""
    frozen = record_of(told)
    if frozen is None:
        return []
    found: list[tuple[str, ...]] = []
    for name in (one for one in SPANS if one in frozen.observed):
        seen = frozen.observed[name]
        usual = frozen.expected.get(name, {})
        found.append(
            (
                name, _number(seen.get("negatives")), _number(usual.get("negatives"), 1),
                f"{_number(usual.get('low'))}-{_number(usual.get('high'))}", _number(seen.get("mentions")), _number(seen.get("reach")),
            )
        )  # fmt: skip
    return found


def passed(told: Told, tongue: Tongue) -> tuple[str, ...]:
    """A row of an episode's course: time, what, negatives, expected, severity, event."""
    frozen = record_of(told)
    counted = told.evidence.get("counted")
    negatives = frozen.negatives if frozen else counted.get("negatives") if isinstance(counted, dict) else None
    return (
        safe(told.at, 30), TYPES[tongue].get(told.type, safe(told.type, 20)), _number(negatives),
        _number(frozen.expected_since_onset, 1) if frozen else "",
        _word(frozen.severity, tongue) if frozen else "", safe(told.event, 60),
    )  # fmt: skip


def _by_detector(one: Record, tongue: Tongue) -> Iterator[Line]:
    words = WORDS[tongue]
    early = words["early"].format(safe(one.deciding_document, 60)) if one.bucket_open else ""
    yield words["decision"], _joined([gate(one.decision, tongue), early], tongue)
    yield words["severity"], _joined([_word(one.severity, tongue), _word(one.trend, tongue)], tongue)
    yield words["since"], _when(one.onset)
    yield words["counted"], words["counted_is"].format(one.negatives, one.expected_since_onset)
    if one.effect:
        effect = [one.effect.get(name, 0.0) for name in ("times", "low", "high")]
        many = effect[0] > MANY_TIMES
        yield words["size"], words["size_many"].format(MANY_TIMES) if many else words["size_is"].format(*effect)
    yield words["evidence"], words["evidence_is"].format(power(one.ln_m.get("combined", 0.0)), power(one.ln_h))
    channels = [f"{words[name]} {power(one.ln_m[name])}" for name in ("fast", "slow", "share") if name in one.ln_m]
    if channels:
        yield words["channels"], _joined(channels, tongue)
    if one.budget and one.mode in ("guaranteed", "calibrated"):
        yield words["budget"], words[one.mode].format(one.budget)
    yield words["usual"], words["usual_is"].format(one.expected_per_step, one.level, one.profile, one.share_p)
    if one.during:
        yield words["during"], safe(one.during, 40)
    yield words["voices"], _voices(one.floors, tongue)
    left = one.leave_out
    if "all" in left:
        line = min(one.ln_h, left["all"]) - MARGIN
        parts = [part for part in ("story", "author", "publisher", "company") if part in left]
        yield (
            words["without"],
            _joined(
                [f"{words[part]}{_colon(tongue)}{words['fires' if left[part] >= line else 'not']}" for part in parts],
                tongue,
            ),
        )
    if one.fires_up_to:
        yield words["robust"], words["robust_is"].format(one.fires_up_to)
    for name, word in (("source", "source"), ("story", "story_of"), ("topic", "topic"), ("company", "company_of")):
        shares = [f"{safe(who, NAMES) or words['rest']} {value:.1f}" for who, value in one.excess_by.get(name, [])]
        if len(shares) > 1:
            yield f"{words['excess']} {one.excess:.1f}", f"{words[word]}{_colon(tongue)}{_joined(shares, tongue)}"
    for document in one.documents[:DOCUMENTS]:
        source, name = str(document.get("source", "")), str(document.get("id", ""))
        when, share = _when(document.get("at")), _number(document.get("negative"), 2)
        yield words["documents"], f"{when}  {safe(source, NAMES)}  {safe(name, 80)}  {share}"
    if any(one.versions.values()):
        yield words["versions"], _versions(one.versions)


def _by_rule(found: dict[str, Any], tongue: Tongue) -> Iterator[Line]:
    """Of a record that is not the detector's, what is there."""
    words, rule = WORDS[tongue], found.get("rule")
    if isinstance(rule, dict):
        name = rule.get("name")
        said = name.get(tongue) if isinstance(name, dict) else None
        yield (
            words["rule"],
            words["own_rule"].format(safe(str(said or rule.get("id", "")), 80), safe(str(rule.get("id", "")), 60)),
        )
    conditions = found.get("conditions")
    for one in conditions if isinstance(conditions, list) else []:
        if isinstance(one, dict):
            value = words["nothing"] if one.get("value") is None else _number(one["value"], 4)
            asked = f"{safe(str(one.get('comparison', '')), 4)} {_number(one.get('threshold'), 4)}"
            of = f"{safe(str(one.get('metric', '')), 20)} {safe(str(one.get('of', '')), 20)} / {_number(one.get('window_s'))} s"
            yield words["conditions"], f"{of}: {value} {asked}, {words['holds' if one.get('holds') else 'fails']}"
    counted, floors, versions = (found.get(name) for name in ("counted", "floors", "versions"))
    if isinstance(counted, dict):
        yield words["counted"], f"{_number(counted.get('negatives'))} / {_number(counted.get('mentions'))}"
    if isinstance(floors, dict):
        yield words["voices"], _voices(floors, tongue)
    if isinstance(versions, dict):
        yield words["versions"], _versions(versions)


def _voices(floors: dict[str, Any], tongue: Tongue) -> str:
    counts = [_number(floors.get(name)) for name in ("stories", "authors", "publishers")]
    return WORDS[tongue]["voices_are"].format(*counts)


def _versions(versions: dict[str, Any]) -> str:
    return "  ".join(
        f"{safe(str(name), 20)} {safe(str(value), 60)}" for name, value in sorted(versions.items()) if value
    )


def _word(value: str, tongue: Tongue) -> str:
    return WORDS[tongue].get(value) or safe(value, 20)


def _when(at_ms: Any) -> str:
    try:
        return times.rfc3339(at_ms)
    except (ValueError, TypeError, ArithmeticError, OSError):  # of a file from elsewhere
        return ""


def _colon(tongue: Tongue) -> str:
    return "：" if tongue == "zh" else ": "


def _joined(parts: list[str], tongue: Tongue) -> str:
    return ("，" if tongue == "zh" else ", ").join(part for part in parts if part)


def _number(value: Any, digits: int = 0) -> str:
    if not isinstance(value, int | float):
        return ""
    return f"{value:,.{digits}f}" if digits <= 2 else f"{value:.{digits}g}"

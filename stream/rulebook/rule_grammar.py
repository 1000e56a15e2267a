"""The grammar of a user's own rules: from a TOML file, or from the control topic, to what is evaluated. Pure; closed on purpose.

What is not known is refused, with file, rule and key named and what to write instead: a rule with a slip of the pen would otherwise be
silent for ever, or never be. docs/rules.md has it as a table; rules.py says what comes of it.
"""

import difflib
import re
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any, cast

from groundswell.errors import BadRule
from groundswell.text import safe
from stream.rulebook.rules import COUNTED, SHORTEST_S, Comparison, Condition, Metric, Node, Of, Rule, Sieve, spoken

MOST_RULES, MOST_CONDITIONS, MOST_ENTRIES, MOST_BYTES = 100, 10, 200, 262_144
WINDOW_S = (SHORTEST_S, 86_400)
CHANGE_WINDOW_S = (SHORTEST_S, 43_200)  # the stretch before is as long, and a day is kept
FOR_S = (60, 86_400)
WITHIN_S = (3_600, 30 * 86_400)
DEEPEST = 3  # all of any of all

RULE_KEYS = (
    "id", "name", "severity", "enabled", "subjects", "watchlist", "topics", "sources", "feeds", "for", "all", "any",
)  # fmt: skip
CONDITION_KEYS = ("metric", "of", "window", "comparison", "threshold")
HISTORY_KEYS = ("metric", "of", "within", "comparison", "threshold")
OF: dict[Metric, tuple[Of, ...]] = {
    "count": COUNTED,
    "share": ("negatives",),
    "rate_of_change": COUNTED,
    "times_expected": ("negatives",),
    "episodes": ("this-rule", "negative-surge"),
}
LIMITS: dict[Metric, tuple[float, float]] = {
    "count": (0, 1_000_000),
    "share": (0, 1),
    "rate_of_change": (0, 1_000),
    "times_expected": (0, 1_000),
    "episodes": (1, 100),
}
RESERVED = frozenset({"negative-surge"})

_ID = re.compile(r"[a-z][a-z0-9-]{0,39}", re.ASCII)
_SUBJECT = re.compile(r"[A-Za-z0-9*][A-Za-z0-9:._|*-]{0,63}", re.ASCII)
_TOPIC = re.compile(r"[a-z0-9][a-z0-9_:-]{0,59}", re.ASCII)
_LIST = re.compile(r"[a-z0-9][a-z0-9_-]{0,59}", re.ASCII)
_SPAN = re.compile(r"(?:(\d{1,2})d)?(?:(\d{1,3})h)?(?:(\d{1,5})m)?", re.ASCII)


def read(text: str, file: str) -> list[dict[str, Any]]:
    """The rules of a TOML file as they go to the control topic, each of which `define` accepts. Raises BadRule."""
    if len(text.encode()) > MOST_BYTES:
        raise BadRule(file, "rule", f"the file is larger than {MOST_BYTES // 1024} kB.", "Make it several files.")
    try:
        found = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        said = safe(str(error), 160)
        raise BadRule(file, "rule", f"this is no TOML: {said}.", "Mend that line; toml.io has the format.") from error
    _known(found, ("rule",), file)
    rules = found.get("rule")
    if not isinstance(rules, list) or not rules:
        raise BadRule(file, "rule", "there is none.", "Begin each rule with a line [[rule]].")
    if len(rules) > MOST_RULES:
        raise BadRule(file, "rule", f"there are {len(rules)}.", f"Keep to {MOST_RULES}.")
    ids: set[str] = set()
    for number, one in enumerate(rules, start=1):
        made = define(one, file, number)
        if made.id in ids:
            raise BadRule(f"{file}, rule {made.id}", "id", "another rule has it.", "Give each rule an id of its own.")
        ids.add(made.id)
    return rules


def define(given: Any, file: str, number: int = 1) -> Rule:
    """One rule. Raises BadRule; an unreadable id is named by its number in the file."""
    place = f"{file}, rule {number}"
    if not isinstance(given, dict):
        raise BadRule(file, "rule", f"number {number} is no table.", "Begin each rule with a line [[rule]].")
    rule_id = given.get("id")
    if not isinstance(rule_id, str) or not _ID.fullmatch(rule_id):
        raise BadRule(place, "id", _no(rule_id, "an id"), 'Write small letters, digits and hyphens: id = "fraud-talk".')
    place = f"{file}, rule {rule_id}"
    if rule_id in RESERVED:
        raise BadRule(place, "id", "this is the detector's own.", "Choose another id.")
    _known(given, RULE_KEYS, place)
    subjects = _texts(given, "subjects", place, _SUBJECT, 'Write ids or patterns: subjects = ["XNAS:AAPL", "XSHG:*"].')
    watchlist = given.get("watchlist", "")
    if not isinstance(watchlist, str) or (watchlist and not _LIST.fullmatch(watchlist)):
        raise BadRule(place, "watchlist", _no(watchlist, "the name of a watchlist"), 'Write watchlist = "holdings".')
    if not subjects and not watchlist:
        raise BadRule(
            place, "subjects", "no subject is chosen.", 'Write subjects = ["*"] for all, or watchlist = "NAME".'
        )
    topics = _texts(given, "topics", place, _TOPIC, 'Write names of topics: topics = ["fraud", "default"].')
    sources = _texts(given, "sources", place, None, 'Write publishers as they are shown: sources = ["reuters.com"].')
    if any(source.count("*") > 3 for source in sources):
        raise BadRule(place, "sources", "a pattern has more than three *.", 'Write sources = ["*.gov.cn"].')
    made = Rule(
        id=rule_id,
        name=_name(given, place),
        severity=_one_of(given, "severity", place, ("notice", "warning", "critical"), "warning"),
        enabled=_flag(given, place),
        subjects=tuple(sorted(subjects)),
        watchlist=watchlist,
        sieve=Sieve(
            tuple(sorted({topic.removeprefix("topic:") for topic in topics})),
            tuple(sorted(sources)),
            _feeds(given, place),
        ),
        holds_s=_span(given["for"], "for", place, FOR_S) if "for" in given else 0,
        node=_root(given, place),
    )
    _sense(made, place)
    return made


# -- the parts of a rule ---------------------------------------------------------------------------------------------


def _root(given: dict[str, Any], place: str) -> Node:
    if ("all" in given) == ("any" in given):
        what = "there are no conditions." if "all" not in given else "there is a list of all and one of any."
        raise BadRule(
            place, "all", what, 'Write all = [ { metric = "count", ... } ]; an any = [...] may stand inside it.'
        )
    key = "all" if "all" in given else "any"
    node = _node(given[key], key, place, 1)
    count = sum(1 for _ in node.conditions())
    if count > MOST_CONDITIONS:
        raise BadRule(place, key, f"there are {count} conditions.", f"Keep to {MOST_CONDITIONS}; make it two rules.")
    return node


def _node(given: Any, key: str, place: str, depth: int) -> Node:
    if not isinstance(given, list) or not given:
        raise BadRule(place, key, "the list is empty or no list.", f'Write {key} = [ {{ metric = "count", ... }} ].')
    if depth > DEEPEST:
        raise BadRule(place, key, "the lists are nested too deep.", f"Keep to {DEEPEST} levels; make it two rules.")
    parts: list[Condition | Node] = []
    for number, one in enumerate(given, start=1):
        here = f"{key}[{number}]"
        if not isinstance(one, dict):
            raise BadRule(place, here, "this is no condition.", 'Write { metric = "count", window = "15m", ... }.')
        lists = [name for name in ("all", "any") if name in one]
        if lists:
            if len(one) > 1:
                extra = next(name for name in one if name != lists[0])
                raise BadRule(
                    place, f"{here}.{safe(str(extra), 40)}", "a list stands alone.", "Give it braces of its own."
                )
            parts.append(_node(one[lists[0]], f"{here}.{lists[0]}", place, depth + 1))
        else:
            parts.append(_condition(one, here, place))
    return Node(key.rpartition(".")[2] == "all", tuple(parts))


def _condition(given: dict[str, Any], here: str, place: str) -> Condition:
    metric: Metric = _one_of(given, "metric", place, tuple(OF), None, here)
    history = metric == "episodes"
    _known(given, HISTORY_KEYS if history else CONDITION_KEYS, place, here)
    of: Of = _one_of(given, "of", place, OF[metric], OF[metric][0], here)
    key = "within" if history else "window"
    if key not in given:
        raise BadRule(place, f"{here}.{key}", "it is missing.", f'Write {key} = "{"7d" if history else "15m"}".')
    bounds = WITHIN_S if history else CHANGE_WINDOW_S if metric == "rate_of_change" else WINDOW_S
    comparison: Comparison = _one_of(given, "comparison", place, (">=", ">", "<=", "<"), ">=", here)
    made = Condition(
        metric,
        of,
        _span(given[key], f"{here}.{key}", place, bounds),
        comparison,
        _threshold(given, metric, here, place),
    )
    _possible(made, here, place)
    return made


def _threshold(given: dict[str, Any], metric: Metric, here: str, place: str) -> float:
    value, (low, high) = given.get("threshold"), LIMITS[metric]
    whole = metric in ("count", "episodes")
    good = isinstance(value, int) if whole else isinstance(value, int | float)
    remedies = {
        "count": f"Write a whole number from {low:.0f} to {high:.0f}: threshold = 10.",
        "share": "Write a number from 0 to 1: threshold = 0.3 is 30 %.",
        "rate_of_change": "Write how many times the stretch before, up to 1000: threshold = 2.",
        "times_expected": "Write how many times the expected, up to 1000: threshold = 3.",
        "episodes": "Write a whole number from 1 to 100: threshold = 3 is the third.",
    }
    # A NaN is neither above nor below anything.
    if isinstance(value, bool) or not good or not low <= cast(float, value) <= high:
        raise BadRule(place, f"{here}.threshold", _no(value, f"a threshold of {metric}"), remedies[metric])
    return float(cast(float, value))


def _possible(one: Condition, here: str, place: str) -> None:
    """Refuses what always or never holds."""
    low, high = (1 if one.metric == "episodes" and one.of == "this-rule" else 0), LIMITS[one.metric][1]
    always = (one.comparison == ">=" and one.threshold <= low) or (
        one.metric == "share" and one.comparison == "<=" and one.threshold >= high
    )
    never = (one.comparison == "<" and one.threshold <= low) or (
        one.metric == "share" and one.comparison == ">" and one.threshold >= high
    )
    if always or never:
        said = "always" if always else "never"
        raise BadRule(
            place,
            f"{here}.threshold",
            f"this {said} holds.",
            "Write a threshold that can be crossed, or drop the condition.",
        )


def _sense(made: Rule, place: str) -> None:
    """Refuses a rule whose conditions cannot hold together, or mean nothing together."""
    for one in made.conditions:
        if one.metric == "times_expected" and made.sieve.id:
            key = "topics" if made.sieve.topics else "sources" if made.sieve.sources else "feeds"
            raise BadRule(
                place, key, "the expectation is of all negatives of a subject, not of some texts.",
                'Leave this out, or use metric = "rate_of_change"; subjects = ["topic:fraud"] are expected by themselves.',
            )  # fmt: skip
    _own_history(made.node, place, under_any=False)
    _contradictions(made.node, place)
    if not any(one.metric != "episodes" or one.of == "negative-surge" for one in made.conditions):
        raise BadRule(
            place,
            "all",
            "it counts its own episodes and nothing that makes one.",
            'Add a condition such as metric = "count".',
        )


def _own_history(node: Node, place: str, *, under_any: bool) -> None:
    """What counts the rule's own episodes counts how often the rest held: it cannot stand instead of the rest."""
    for part in node.parts:
        if isinstance(part, Node):
            _own_history(part, place, under_any=under_any or not node.every)
        elif part.of == "this-rule" and (under_any or not node.every):
            raise BadRule(place, "any", 'episodes of "this-rule" cannot be one of any.', "Move it to the list of all.")


def _contradictions(node: Node, place: str) -> None:
    """Within one `all`: what must be at least so much here, and less than that where all of it counts, too."""
    flat = [part for part in node.parts if isinstance(part, Condition)]
    for part in node.parts:
        if isinstance(part, Node):
            _contradictions(part, place)
    if not node.every:
        return
    for low in (one for one in flat if one.rises):
        for high in (one for one in flat if not one.rises):
            if low.metric != high.metric or not _covers(high, low):
                continue
            strict = low.comparison == ">" or high.comparison == "<"
            least = (
                low.threshold + 1 if low.comparison == ">" and low.metric in ("count", "episodes") else low.threshold
            )
            if least > high.threshold or (strict and least >= high.threshold):
                raise BadRule(
                    place, "all",
                    f"{low.metric} of {low.of} cannot be {low.comparison} {low.threshold:g} and {high.of} "
                    f"{high.comparison} {high.threshold:g}.",
                    "Change one threshold, or put the two into a list of any.",
                )  # fmt: skip


def _covers(wide: Condition, narrow: Condition) -> bool:
    """Whether what `wide` measures is at least what `narrow` does."""
    if wide.metric == "count":
        return COUNTED.index(wide.of) >= COUNTED.index(narrow.of) and wide.window_s >= narrow.window_s
    if wide.metric == "episodes":
        return wide.of == narrow.of and wide.window_s >= narrow.window_s
    return wide.of == narrow.of and wide.window_s == narrow.window_s


# -- the parts of a table --------------------------------------------------------------------------------------------


def _known(given: Mapping[str, Any], known: Sequence[str], place: str, here: str = "") -> None:
    for key in given:
        if key not in known:
            close = difflib.get_close_matches(key, known, 1)
            hint = f"Did you mean {close[0]}? " if close else ""
            named = safe(f"{here}.{key}" if here else key, 80) or "(no name)"
            raise BadRule(place, named, "there is no such key.", f"{hint}Known: {', '.join(known)}.")


def _one_of(given: Mapping[str, Any], key: str, place: str, known: Sequence[Any], default: Any, here: str = "") -> Any:
    value = given.get(key, default)
    if value not in known if isinstance(value, str) else True:
        named = f"{here}.{key}" if here else key
        raise BadRule(place, named, _no(value, f"a {key}"), f"Write one of {', '.join(known)}, in quotation marks.")
    return value


def _texts(given: Mapping[str, Any], key: str, place: str, form: re.Pattern[str] | None, remedy: str) -> list[str]:
    if key not in given:
        return []
    value = given[key]
    if not isinstance(value, list) or not value:
        raise BadRule(
            place, key, "the list is empty or no list.", f"{remedy} Leave {key} out where it does not matter."
        )
    if len(value) > MOST_ENTRIES:
        raise BadRule(
            place, key, f"{len(value)} entries are too many.", f"Keep to {MOST_ENTRIES}; use * or a watchlist."
        )
    for one in value:
        good = isinstance(one, str) and 0 < len(one) <= 120 and safe(one, 120) == one
        if not good or (form is not None and not form.fullmatch(one)):
            raise BadRule(place, key, _no(one, "an entry of this list"), remedy)
    return list(dict.fromkeys(value))


def _feeds(given: Mapping[str, Any], place: str) -> tuple[str, ...]:
    remedy = 'Write feeds = ["news"] or feeds = ["comments"].'
    found = _texts(given, "feeds", place, None, remedy)
    for one in found:
        if one not in ("news", "comments"):
            raise BadRule(place, "feeds", _no(one, "a feed"), remedy)
    return tuple(sorted(found)) if len(found) == 1 else ()


def _name(given: Mapping[str, Any], place: str) -> dict[str, str]:
    name = given.get("name")
    remedy = 'Write name = { en = "Talk of fraud", zh = "造假传闻" }.'
    if not isinstance(name, dict):
        raise BadRule(place, "name", "it is missing or not in two languages.", remedy)
    _known(name, ("en", "zh"), place, "name")
    for language in ("en", "zh"):
        text = name.get(language)
        if not isinstance(text, str) or not text.strip() or len(text) > 60 or safe(text, 60) != text:
            raise BadRule(place, f"name.{language}", _no(text, "a name of at most 60 characters on one line"), remedy)
    return {"en": name["en"], "zh": name["zh"]}


def _flag(given: Mapping[str, Any], place: str) -> bool:
    value = given.get("enabled", True)
    if not isinstance(value, bool):
        raise BadRule(place, "enabled", _no(value, "true or false"), "Write enabled = true or enabled = false.")
    return value


def _span(value: Any, key: str, place: str, bounds: tuple[int, int]) -> int:
    """Seconds of "15m", "2h", "1h30m" or "7d", whole minutes."""
    example = {FOR_S: "5m", WITHIN_S: "7d"}.get(bounds, "15m")
    match = _SPAN.fullmatch(value) if isinstance(value, str) else None
    if match is None or not value:
        raise BadRule(
            place,
            key,
            _no(value, "a length of time"),
            f'Write it with its unit, in quotation marks: "{example}"; units d h m.',
        )
    seconds = sum(int(count or 0) * unit for count, unit in zip(match.groups(), (86_400, 3_600, 60), strict=True))
    if not bounds[0] <= seconds <= bounds[1]:
        least, most = (spoken(edge) for edge in bounds)
        raise BadRule(place, key, f"{value!r} is too short or too long.", f"Write from {least} to {most}.")
    return seconds


def _no(value: Any, what: str) -> str:
    if value is None:
        return "it is missing."
    try:
        shown = safe(repr(value), 60)
    except (ValueError, RecursionError):  # an integer of thousands of digits has no text
        shown = "this"
    return f"{shown} is not {what}."

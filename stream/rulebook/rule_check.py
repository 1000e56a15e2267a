"""Whether a text of rules can be in force here: in words what each means, or what is wrong, in which line. Pure; rule_desk.py asks.

rule_grammar.py reads, rules_in_force.py holds against the catalogue. People who write are told of every rule that is wrong at once;
what is applied stands or falls as a whole.
"""

import re
import tomllib
from collections.abc import Iterator
from typing import Any

from groundswell.asked_tuning import Checked, Fault, Meaning
from groundswell.errors import BadRule
from groundswell.text import safe
from stream.names.directory import Directory
from stream.rulebook import rule_grammar, rules_in_force
from stream.rulebook.rule_words import UNBOUNDED, means
from stream.rulebook.rules import Rule
from stream.rulebook.rules_in_force import Watchlists

_HEADER = re.compile(r"^\s*\[\[\s*rule\s*\]\]")
_AT_LINE = re.compile(r"\(at line (\d+)")


def checked(
    text: str, file: str, directory: Directory, lists: Watchlists | None, step_s: int
) -> tuple[list[dict[str, Any]], list[Rule], dict[str, int]]:
    """What goes to the control topic, the same as rules, and how many subjects each is about. `lists` None: watchlists are taken on
    trust. Raises BadRule."""
    definitions = rule_grammar.read(text, file)
    made = [rule_grammar.define(one, file, number) for number, one in enumerate(definitions, start=1)]
    return definitions, made, held_against(made, file, directory, lists, step_s)


def held_against(
    made: list[Rule], file: str, directory: Directory, lists: Watchlists | None, step_s: int
) -> dict[str, int]:
    """How many subjects each rule is about. Raises BadRule for what could never match here, or would match too much."""
    subjects = list(directory.ids)
    topics = [subject.removeprefix("topic:") for subject in subjects if subject.startswith("topic:")]
    return rules_in_force.check(made, file, subjects, topics, lists, step_s)


def looked_at(text: str, file: str, directory: Directory, lists: Watchlists | None, step_s: int) -> Checked:
    """Every rule for itself: the good ones in words, the bad ones with their line. Raises nothing."""
    good, faults, ids = [], [], set()
    try:
        for number, given in enumerate(_tables(text, file), start=1):
            try:
                rule = rule_grammar.define(given, file, number)
                matched = held_against([rule], file, directory, lists, step_s)
            except BadRule as error:
                faults.append(_fault(text, error, number))
                continue
            if rule.id in ids:
                twice = BadRule(f"{file}, rule {rule.id}", "id", "another rule has it.", "Give each an id of its own.")
                faults.append(_fault(text, twice, number))
            else:
                ids.add(rule.id)
                good.append(said(rule, matched[rule.id]))
    except BadRule as error:
        faults.append(_fault(text, error, 0))
    return Checked(ok=bool(good) and not faults, rules=good, errors=faults, unbounded=UNBOUNDED)


def said(rule: Rule, subjects: int) -> Meaning:
    """A rule in words."""
    return Meaning(
        id=rule.id, version=rule.version, names=rule.name, severity=rule.severity, enabled=rule.enabled, subjects=subjects,
        means=means(rule, subjects),
    )  # fmt: skip


def line_of(text: str, number: int, key: str) -> int:
    """The line, from 1, of a key such as `all[2].threshold` in the rule of this number; that of the rule where the key is not written."""
    lines = text.splitlines()
    heads = [at for at, line in enumerate(lines) if _HEADER.match(line)]
    if not 0 < number <= len(heads):
        return 0
    begin, end = heads[number - 1], heads[number] if number < len(heads) else len(lines)
    at = begin
    for name, place in re.findall(r"([A-Za-z_-]+)(?:\[(\d+)\])?", key):
        pattern = re.compile(rf"(?<![\w-]){re.escape(name)}\s*=")
        at = next((line for line in range(at, end) if pattern.search(lines[line])), at)
        if place:
            at = _nth_table(lines, at, end, int(place))
    return at + 1


def _nth_table(lines: list[str], begin: int, end: int, place: int) -> int:
    """The line on which the place-th table of the list that begins at `begin` opens."""
    opened = depth = 0
    for at in range(begin, end):
        for sign in lines[at].partition("#")[0]:
            if sign == "{":
                depth += 1
                opened += depth == 1
                if depth == 1 and opened == place:
                    return at
            elif sign == "}":
                depth -= 1
    return begin


def _tables(text: str, file: str) -> Iterator[Any]:
    """The rules of a text as they stand. Raises BadRule where the text as a whole is wrong."""
    try:
        rule_grammar.read(text, file)
    except BadRule:
        try:
            found = tomllib.loads(text).get("rule")
        except (tomllib.TOMLDecodeError, RecursionError, ValueError):
            found = None
        whole = isinstance(found, list) and 0 < len(found) <= rule_grammar.MOST_RULES
        if not whole or set(tomllib.loads(text)) != {"rule"}:
            raise  # not of one rule: no TOML, none at all, too many
    yield from tomllib.loads(text)["rule"]


def _fault(text: str, error: BadRule, number: int) -> Fault:
    what = str(error).removeprefix(f"{error.place}, {error.key}: ")
    at = _AT_LINE.search(what)
    end = len(text.rstrip().splitlines()) if "(at end of document)" in what else 0
    rule = error.place.rpartition(", rule ")[2] if ", rule " in error.place else ""
    return Fault(
        line=int(at[1]) if at and not number else end or line_of(text, number, error.key), rule=rule, key=error.key,
        title=safe(what[:1].upper() + what[1:], 300), remedy=error.remedy,
    )  # fmt: skip

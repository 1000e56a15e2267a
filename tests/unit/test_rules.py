"""The grammar of a user's own rules: what is right is read as it is meant, what is wrong is refused with the key named."""

import string
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundswell.errors import BadRule
from groundswell.records import RuleSet
from stream.rulebook import rules_in_force
from stream.rulebook.rule_grammar import CONDITION_KEYS, HISTORY_KEYS, MOST_RULES, RULE_KEYS, define, read
from stream.rulebook.rule_words import means
from stream.rulebook.rules import Rule

LOUD: dict[str, Any] = {
    "id": "loud",
    "name": {"en": "Loud", "zh": "声量异常"},
    "subjects": ["XNAS:*", "XSHG:600519"],
    "all": [
        {"metric": "count", "of": "negatives", "window": "15m", "comparison": ">=", "threshold": 10},
        {"metric": "times_expected", "window": "15m", "comparison": ">=", "threshold": 3},
    ],
}
SURGES = {"metric": "episodes", "of": "negative-surge", "within": "7d", "threshold": 3}
SUBJECTS = ["XNAS:AAPL", "XNAS:MSFT", "XSHG:600519", "topic:fraud", "market"]


def rule(**changes: Any) -> dict[str, Any]:
    return {name: value for name, value in (LOUD | changes).items() if value is not None}


def condition(**changes: Any) -> dict[str, Any]:
    made = {"metric": "count", "window": "15m", "threshold": 10} | changes
    return {name: value for name, value in made.items() if value is not None}


def refused(given: Any) -> BadRule:
    with pytest.raises(BadRule) as caught:
        define(given, "mine.toml")
    return caught.value


def test_a_rule_is_read_as_it_was_meant() -> None:
    made = define(
        rule(**{"for": "5m", "severity": "critical", "topics": ["topic:fraud"], "all": [condition()]}), "mine.toml"
    )
    assert (made.id, made.severity, made.holds_s, made.sieve.topics) == ("loud", "critical", 300, ("fraud",))
    assert [(one.metric, one.of, one.window_s, one.comparison, one.threshold) for one in made.conditions] == [
        ("count", "negatives", 900, ">=", 10.0)
    ]


@pytest.mark.parametrize(
    ("given", "key"),
    [
        (rule(id=None), "id"),
        (rule(id="Loud!"), "id"),
        (rule(id="negative-surge"), "id"),
        (rule(name="Loud"), "name"),
        (rule(name={"en": "Loud"}), "name.zh"),
        (rule(name={"en": "Loud", "zh": "响", "fr": "fort"}), "name.fr"),
        (rule(severity="loud"), "severity"),
        (rule(severity=2), "severity"),
        (rule(enabled="yes"), "enabled"),
        (rule(enabled=1), "enabled"),
        (rule(subjects=None), "subjects"),
        (rule(subjects=[]), "subjects"),
        (rule(subjects="XNAS:AAPL"), "subjects"),
        (rule(subjects=["XNAS AAPL"]), "subjects"),
        (rule(subjects=["*"] * 201), "subjects"),
        (rule(topics=[]), "topics"),
        (rule(sources=[]), "sources"),
        (rule(sources=["a*b*c*d*e"]), "sources"),
        (rule(feeds=["tv"]), "feeds"),
        (rule(topics=["fraud"]), "topics"),  # the expectation is of all negatives
        (rule(feeds=["news"]), "feeds"),
        (rule(colour="red"), "colour"),
        (rule(**{"for": 5}), "for"),
        (rule(**{"for": "5"}), "for"),
        (rule(**{"for": "2d"}), "for"),
        (rule(watchlist=""), None),
        (rule(watchlist="Big ones"), "watchlist"),
        (rule(all=None), "all"),
        (rule(all=[]), "all"),
        (rule(any=[condition()]), "all"),
        (rule(all=[condition()] * 11), "all"),
        (rule(all=["count"]), "all[1]"),
        (rule(all=[{"all": [{"all": [{"all": [condition()]}]}]}]), "all[1].all[1].all[1].all"),
        (rule(all=[{"any": [condition()], "metric": "count"}]), "all[1].metric"),
        (rule(all=[condition(metric=None)]), "all[1].metric"),
        (rule(all=[condition(metric="counts")]), "all[1].metric"),
        (rule(all=[condition(of="documents")]), "all[1].of"),
        (rule(all=[condition(metric="share", of="mentions", threshold=0.5)]), "all[1].of"),
        (rule(all=[condition(window=None)]), "all[1].window"),
        (rule(all=[condition(window="15")]), "all[1].window"),
        (rule(all=[condition(window="15s")]), "all[1].window"),
        (rule(all=[condition(window="4m")]), "all[1].window"),
        (rule(all=[condition(window="25h")]), "all[1].window"),
        (rule(all=[condition(metric="rate_of_change", window="13h")]), "all[1].window"),
        (rule(all=[condition(within="7d")]), "all[1].within"),
        (rule(all=[condition(comparison="=>")]), "all[1].comparison"),
        (rule(all=[condition(threshold=None)]), "all[1].threshold"),
        (rule(all=[condition(threshold="10")]), "all[1].threshold"),
        (rule(all=[condition(threshold=True)]), "all[1].threshold"),
        (rule(all=[condition(threshold=10.5)]), "all[1].threshold"),
        (rule(all=[condition(threshold=-1)]), "all[1].threshold"),
        (rule(all=[condition(threshold=10**400)]), "all[1].threshold"),
        (rule(all=[condition(threshold=0)]), "all[1].threshold"),
        (rule(all=[condition(metric="share", threshold=30)]), "all[1].threshold"),
        (rule(all=[condition(metric="share", threshold=float("nan"))]), "all[1].threshold"),
        (rule(all=[condition(metric="share", comparison=">", threshold=1)]), "all[1].threshold"),
        (rule(all=[condition(metric="times_expected", threshold=float("inf"))]), "all[1].threshold"),
        (rule(all=[condition(metric="times_expected", threshold=-3.0)]), "all[1].threshold"),
        (rule(all=[{"metric": "episodes", "within": "7d", "threshold": 3}]), "all"),
        (rule(any=[{"metric": "episodes", "within": "7d", "threshold": 3}, condition()], all=None), "any"),
        (rule(all=[condition(threshold=10), condition(comparison="<", threshold=10)]), "all"),
        (rule(all=[condition(threshold=10), condition(comparison="<=", threshold=9, of="mentions", window="1h")]), "all"),
        (rule(all=[condition(metric="share", threshold=0.5), condition(metric="share", comparison="<", threshold=0.2)]), "all"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_with_its_key_and_what_to_write(given: dict[str, Any], key: str | None) -> None:
    if key is None:
        assert define(given, "mine.toml").watchlist == ""
        return
    found = refused(given)
    assert found.key == key
    assert "mine.toml" in str(found)
    assert key in str(found)
    assert found.remedy


def test_what_can_hold_together_is_no_contradiction() -> None:
    few = condition(comparison="<=", threshold=9, window="5m")
    assert define(rule(all=[condition(threshold=10, window="1h"), few]), "f").conditions
    assert define(rule(any=[condition(), condition(comparison="<", threshold=10)], all=None), "f").conditions


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("", "rule"),
        ("[[rule]]\nid = ", "rule"),
        ('[[rules]]\nid = "a"', "rules"),
        ("rule = 3", "rule"),
        ("rule = [1]", "rule"),
        ("a = " + "[" * 5000, "rule"),
        ("x" * 300_000, "rule"),
    ],
)
def test_a_file_that_is_none_is_refused(text: str, key: str) -> None:
    with pytest.raises(BadRule) as caught:
        read(text, "mine.toml")
    assert caught.value.key == key


def toml(*rules: str) -> str:
    return "\n".join(
        f'[[rule]]\nid = "{one}"\nname = {{ en = "A", zh = "甲" }}\nsubjects = ["*"]\n'
        'all = [ { metric = "count", window = "15m", threshold = 3 } ]'
        for one in rules
    )


def test_two_rules_of_one_id_and_too_many_rules_are_refused() -> None:
    with pytest.raises(BadRule, match="id: another rule has it"):
        read(toml("a", "b", "a"), "mine.toml")
    with pytest.raises(BadRule, match="there are 101"):
        read(toml(*(f"r{i}" for i in range(MOST_RULES + 1))), "mine.toml")
    assert len(read(toml(*(f"r{i}" for i in range(MOST_RULES))), "mine.toml")) == MOST_RULES


leaf = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=12),
    st.sampled_from(["15m", "7d", "negatives", "count", "share", "episodes", ">=", "this-rule", "*", "critical"]),
)  # fmt: skip
junk = st.recursive(
    leaf,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.sampled_from([*RULE_KEYS, *CONDITION_KEYS, *HISTORY_KEYS, "x"]), inner, max_size=6),
    ),
    max_leaves=12,
)
known_keys = {*RULE_KEYS, *CONDITION_KEYS, *HISTORY_KEYS, "rule", "en", "zh"}


@given(junk, st.sampled_from([None, *RULE_KEYS]), st.sampled_from([None, *CONDITION_KEYS, *HISTORY_KEYS]))
def test_whatever_is_put_in_its_place_a_rule_is_read_or_refused_by_key(
    value: Any, key: str | None, inner: str | None
) -> None:
    given = value if key is None else rule(**{key: value}) if inner is None else rule(all=[condition(**{inner: value})])
    made, error = None, None
    try:
        made = define(given, "mine.toml")
    except BadRule as caught:
        error = caught
    if error is not None:
        assert error.key
        assert error.key in str(error)
        assert error.remedy
        named = error.key.replace("]", "").replace("[", ".").split(".")[0]
        assert named in known_keys or (isinstance(given, dict) and named in given) or named == "(no name)"
    if made is not None:
        assert made.version == define(msgspec.json.decode(msgspec.json.encode(given)), "again").version
        assert made.window_s >= 300


@given(st.text(alphabet=string.printable, max_size=200))
def test_no_text_does_more_than_be_refused(text: str) -> None:
    with pytest.raises(BadRule) as caught:
        read(text, "mine.toml")
    assert caught.value.key


def test_the_version_is_of_what_a_rule_decides_and_not_of_what_it_is_called() -> None:
    version = define(LOUD, "f").version
    assert define(rule(name={"en": "X", "zh": "乙"}, severity="critical", enabled=False), "g").version == version
    assert define(rule(subjects=["XSHG:600519", "XNAS:*"]), "f").version == version
    assert define(rule(subjects=["XNAS:*"]), "f").version != version
    assert define(rule(**{"for": "5m"}), "f").version != version


def checked(*given: dict[str, Any], lists: dict[str, list[str]] | None = None, step_s: int = 60) -> dict[str, int]:
    made = [define(one, "mine.toml", number) for number, one in enumerate(given, 1)]
    return rules_in_force.check(made, "mine.toml", SUBJECTS, ["fraud"], lists, step_s)


def test_a_rule_that_would_never_match_is_refused_and_the_nearest_is_named() -> None:
    assert checked(rule()) == {"loud": 3}
    with pytest.raises(BadRule, match="XNAS:APPL matches no subject") as caught:
        checked(rule(subjects=["XNAS:APPL"]))
    assert "XNAS:AAPL" in caught.value.remedy
    with pytest.raises(BadRule, match="no topic fruad") as caught:
        checked(rule(topics=["fruad"], all=[condition()]))
    assert "fraud" in caught.value.remedy
    with pytest.raises(BadRule, match="no multiple of the step"):
        checked(rule(all=[condition(window="20m")]), step_s=900)
    assert checked(rule(subjects=None, watchlist="mine"), lists={"mine": ["topic:*", "market"]}) == {"loud": 2}
    with pytest.raises(BadRule, match="mine is empty"):
        checked(rule(subjects=None, watchlist="mine"), lists={"mine": []})
    with pytest.raises(BadRule, match="no watchlist ours"):
        checked(rule(watchlist="ours"), lists={"mine": ["market"]})


def test_the_rules_in_force_are_the_same_in_whatever_order_the_sets_came() -> None:
    one = RuleSet(id="rules_a", rules=[rule(id="a"), rule(id="b")], by="ana", at=5)
    two = RuleSet(
        id="rules_b",
        rules=[rule(id="b", subjects=["*"]), rule(id="c", enabled=False), {"id": "broken"}],
        by="ben",
        at=6,
    )
    forward, back = rules_in_force.of([one, two], {}), rules_in_force.of([two, one], {})
    assert forward == back
    assert [found.id for found in forward.rules] == ["a", "b"]
    assert forward.by_id["b"].subjects == ("XNAS:*", "XSHG:600519")  # the elder keeps its id
    assert forward.applied_ms["a"] == 5
    assert rules_in_force.of([one], {}).revision != forward.revision


def test_a_rule_selects_by_pattern_and_never_what_tests_the_installation() -> None:
    force = rules_in_force.of([RuleSet(id="r", rules=[rule(subjects=["*"])], by="ana", at=1)], {})
    assert [force.selects(force.rules[0], subject) for subject in ("XNAS:AAPL", "TEST:CANARY", "TEST:DRILL1")] == [
        True,
        False,
        False,
    ]


def test_each_rule_is_said_in_both_languages_with_its_numbers() -> None:
    found: list[Rule] = [
        define(rule(), "f"),
        define(rule(topics=["fraud"], sources=["reuters.com"], feeds=["news"], watchlist="mine", **{"for": "1h30m"}, any=[
            condition(metric="share", threshold=0.25), condition(metric="rate_of_change", of="reach", threshold=2.5),
            {"all": [condition(comparison="<", threshold=7), SURGES]},
        ], all=None), "f"),
    ]  # fmt: skip
    said = [means(one, 12) for one in found]
    assert said[0]["en"].startswith(
        "Alerts (warning) about XNAS:* or XSHG:600519 (12 subjects) when negative texts in 15m are at least 10"
    )
    assert said[0]["zh"].startswith(
        "XNAS:*、XSHG:600519（现有 12 个）：15 分钟内负面达到 10 条，且 15 分钟内负面达到预期的 3 倍时"
    )
    for words in (
        "25 %",
        "2.5 times",
        "less than 7",
        "at least 3",
        "1h30m",
        "fraud",
        "reuters.com",
        "the watchlist mine",
    ):
        assert words in said[1]["en"]
    for words in ("25%", "2.5 倍", "不足 7 条", "达到 3 次", "1 小时 30 分钟", "fraud", "reuters.com", "关注列表 mine"):
        assert words in said[1]["zh"]

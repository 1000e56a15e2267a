"""What a message says of an alert by a user's own rule: the rule's name, what it found, and that no bound on false alarms holds."""

import pytest

from alerts.say import Say
from alerts.wording.message import message_of
from alerts.wording.notice import LINE_LIMITS, TEXT_LIMIT, notice_of
from groundswell.records import AlertRule
from tests.tellings import telling

RULE = AlertRule(id="loud", version=7, name={"en": "Loud and unusual", "zh": "又多又反常"}, bounded=False)
SUMMARY = {
    "en": "Harbour Steel: your rule “Loud and unusual” (no bound on false alarms) holds: 12 negative texts in 15m (at least 10).",
    "zh": "海港钢铁：自定义规则“又多又反常”（不在误报预算之内）成立：15 分钟内负面 12 条（要求达到 10 条）。",
}


@pytest.mark.parametrize(
    ("lang", "name", "mark"), [("en", "Loud and unusual", "no bound"), ("zh", "又多又反常", "不在误报预算")]
)
def test_it_names_the_rule_says_what_it_found_and_claims_nothing_about_chance(lang: str, name: str, mark: str) -> None:
    found = notice_of(telling(Say.FIRING, rule=RULE, summary=SUMMARY, effect=0.0, severity="notice"), lang)
    whole = " ".join((found.title, *found.sentences))
    assert name in found.title
    assert mark in found.sentences[0]
    assert SUMMARY[lang] in whole
    for claim in ("By chance", "若属偶然", "× normal", "are normal", "Likely size"):
        assert claim not in whole
    assert len(whole) <= TEXT_LIMIT
    assert max(len(found.title), len(found.short)) <= LINE_LIMITS[lang]
    assert found.tone == "plain"


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("say", [say for say in Say if say not in (Say.DISABLED, Say.RECOVERED)])
def test_every_state_of_it_can_be_said_with_the_longest_name_there_may_be(say: Say, lang: str) -> None:
    long = AlertRule(id="x" * 40, version=2**32 - 1, name={"en": "W" * 60, "zh": "规" * 60}, bounded=False)
    made = telling(say, rule=long, summary={"en": "s" * 900, "zh": "述" * 900})
    found = notice_of(made, lang)
    assert len(" ".join((found.title, *found.sentences))) <= TEXT_LIMIT
    assert max(len(found.title), len(found.short)) <= LINE_LIMITS[lang]
    assert message_of([made, made], None, lang).items


def test_its_end_is_not_said_to_be_a_return_to_normal() -> None:
    found = notice_of(
        telling(Say.RESOLVED, rule=RULE, summary={"en": "It has not held for ten steps.", "zh": "不再成立。"}), "en"
    )
    assert "holds no longer" in found.title
    assert "normal" not in " ".join((found.title, *found.sentences, found.short))

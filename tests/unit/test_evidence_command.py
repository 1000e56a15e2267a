"""`groundswell evidence` on files: no service runs here. What Redis holds is in tests/contract/test_evidence_in_redis.py."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from groundswell.commands.evidence import _again, evidence
from groundswell.commands.evidence_view import lines, passed, spans
from groundswell.decisions import Detected
from groundswell.evidence_export import Exported, Told, sealed, shown, signing_keys
from groundswell.evidence_words import GATES, TYPES, WORDS
from groundswell.secrets import new_key
from tests.unit.test_detect import CALM
from tests.unit.test_evidence import thawed

SECRET = new_key()
TOLD = [
    Told(event=one.event.id, type=one.event.type, at=one.event.timestamp, evidence=thawed(one.evidence))
    for one in CALM.told
    if one.event.data.episode_id == CALM.told[0].event.data.episode_id
]
EPISODE = TOLD[0].evidence["episode"]
EXPORTED = Exported(
    installation="groundswell", exported_at="2026-11-22T09:00:00Z", episode=EPISODE, subject="XNAS:AAPL", transitions=TOLD
)  # fmt: skip
RULE: dict[str, Any] = {
    "subject": "XNAS:AAPL", "transition": "alert.firing", "versions": {"rule": "apple-talk/1"},
    "rule": {"id": "apple-talk", "version": 1, "name": {"en": "Talk of Apple", "zh": "苹果声量"}, "bounded": False},
    "conditions": [
        {"metric": "count", "of": "mentions", "window_s": 900, "value": 5.0, "comparison": ">=", "threshold": 4.0, "holds": True}
    ],
    "counted": {"negatives": 2, "mentions": 5, "reach": 6}, "floors": {"stories": 4, "authors": 3, "publishers": 0},
}  # fmt: skip


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "evidence.json"
    made.write_bytes(sealed(EXPORTED, signing_keys(SECRET)[0]))
    return made


def ran(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(
        evidence, arguments, obj={"environment": environment, "config": None}, standalone_mode=False
    )


def ended(*arguments: str, **environment: str) -> tuple[int, str]:
    """Exit status, and what was said."""
    done = ran(*arguments, **environment)
    assert done.exception is None, done.exception
    return int(done.return_value or 0), done.output


def changed(file: Path, **fields: Any) -> Path:
    record, seal = file.read_bytes().splitlines()
    told = json.loads(record)
    told["transitions"][0]["evidence"].update(fields)
    file.write_bytes(json.dumps(told, separators=(",", ":"), ensure_ascii=False).encode() + b"\n" + seal)
    return file


def test_every_transition_of_an_exported_episode_is_decided_again(file: Path) -> None:
    status, said = ended("replay", str(file))
    assert status == 0
    assert [line.split()[-1] for line in said.splitlines()] == ["identical"] * len(TOLD)
    assert len(TOLD) >= 2
    status, said = ended("replay", str(file), "--json")
    assert (status, json.loads(said)["identical"]) == (0, True)


def test_what_differs_is_named_with_both_values(file: Path) -> None:
    status, said = ended("replay", str(changed(file, severity="notice")))
    assert status == 1
    assert "severity: 'notice' was frozen, 'critical' comes out" in said
    assert said.count("identical") == len(TOLD) - 1


def test_verify_needs_no_service_and_says_whose_key_it_is(file: Path, tmp_path: Path) -> None:
    key, apart = shown(signing_keys(SECRET)[0]), {"GROUNDSWELL_STATE_DIR": str(tmp_path / "none")}
    status, said = ended("verify", str(file), **apart)
    assert status == 0
    assert key in said
    assert "compare it" in said
    assert "the key that was given" in ended("verify", str(file), "--key", key, **apart)[1]
    assert "the key of this installation" in ended("verify", str(file), GROUNDSWELL_SECRET_KEY=SECRET)[1]
    status, said = ended("verify", str(file), "--json", GROUNDSWELL_SECRET_KEY=f"{new_key()},{SECRET}")
    assert json.loads(said)["whose"] == "earlier"


def test_a_touched_file_is_refused_with_what_no_longer_follows(file: Path) -> None:
    status, said = ended("verify", str(changed(file, negatives=99)))
    assert status == 1
    assert "NO" in said
    assert "not what was signed" in said
    assert "negatives: 99 was frozen" in said
    status, said = ended("verify", str(file), "--key", shown(signing_keys(new_key())[0]), "--json")
    assert status == 1
    assert "another key" in json.loads(said)["wrong"]


def test_the_key_of_an_installation_is_shown_newest_first() -> None:
    newer = new_key()
    _, said = ended("key", "--json", GROUNDSWELL_SECRET_KEY=f"{newer},{SECRET}")
    assert json.loads(said) == {"key": shown(signing_keys(newer)[0]), "earlier": [shown(signing_keys(SECRET)[0])]}


@pytest.mark.parametrize(
    ("lang", "words"), [("en", ("evidence", "stories", "usual")), ("zh", ("证据", "事由", "常态"))]
)
def test_a_record_is_shown_in_both_languages(file: Path, lang: str, words: tuple[str, ...]) -> None:
    _, said = ended("show", str(file), "--lang", lang)
    assert EPISODE in said
    assert all(word in said for word in words), said
    _, by_locale = ended("show", str(file), LANG=f"{lang}_XX.UTF-8")
    assert by_locale == said


def test_what_show_prints_for_programs_can_be_replayed(file: Path, tmp_path: Path) -> None:
    _, said = ended("show", str(file), "--json")
    again = tmp_path / "shown.json"
    again.write_text(said, encoding="utf-8")
    assert ended("replay", str(again))[0] == 0
    alone = tmp_path / "alone.json"
    alone.write_text(json.dumps(TOLD[0].evidence), encoding="utf-8")
    assert ended("replay", str(alone))[0] == 0


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"transitions":[]}', '{"inputs":1}', "[" * 100_000])
def test_a_file_that_is_no_evidence_never_comes_out_identical(tmp_path: Path, content: str) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text(content, encoding="utf-8")
    done = ran("replay", str(wrong))
    assert done.exception is not None or done.return_value == 1
    assert "identical" not in done.output


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("onset", 2**62), ("documents", [{"at": -(2**62)}]), ("severity", "counted_is"), ("mode", "evidence_is"),
        ("ln_m", {}), ("versions", {}), ("effect", {}), ("observed", {"1m": {}}),
    ],
)  # fmt: skip
def test_a_record_of_any_numbers_is_shown(place: str, value: Any) -> None:
    told = Told(event="gw_1", type="alert.firing", at="", evidence=TOLD[0].evidence | {place: value})
    assert len(lines(told, "en")) > 5
    assert [row[0] for row in spans(told)][:1] == ["1m"]


@pytest.mark.parametrize(
    "inputs",
    [
        {"row": ""},
        {"row": "AAAA"},
        {"counts": []},
        {"counts": [1e308]},
        {"slot": {}},
        {"slots": {"weekend": [[1, 2**40]]}},
    ],
)
def test_inputs_that_were_never_a_case_are_told_apart_from_a_decision(inputs: dict[str, Any]) -> None:
    frozen = TOLD[0].evidence | {"inputs": TOLD[0].evidence["inputs"] | inputs}
    assert _again(Told(event="gw_1", type="alert.firing", at="", evidence=frozen))


def test_hostile_text_stays_on_its_line() -> None:
    hostile = "\x1b[2J\u202eevil\n[bold]"
    frozen = TOLD[0].evidence | {
        "documents": [{"id": hostile, "at": 1, "source": hostile, "story": hostile, "negative": 1.0}],
        "versions": {"model": hostile},
        "during": hostile,
    }
    said = lines(Told(event="gw_1", type="alert.firing", at="", evidence=frozen), "en")
    assert any("evil" in text for _, text in said)
    assert not any(sign in text for _, text in said for sign in "\x1b\u202e\n")


def test_a_record_of_a_rule_is_shown_and_says_that_it_cannot_be_decided_again(tmp_path: Path) -> None:
    told = Told(event="gw_1", type="alert.firing", at="2026-11-22T08:00:00Z", evidence=RULE)
    said = dict(lines(told, "zh"))
    assert "苹果声量" in said["规则"]
    assert said["条件"].endswith("成立")
    assert passed(told, "en")[2] == "2"
    file = tmp_path / "rule.json"
    exported = Exported(installation="", exported_at="", episode="ep_1", subject="XNAS:AAPL", transitions=[told])
    file.write_bytes(sealed(exported, signing_keys(SECRET)[0]))
    status, answer = ended("replay", str(file))
    assert status == 1
    assert "a rule of your own" in answer


def test_both_languages_have_the_same_words_and_each_decision_has_one() -> None:
    assert WORDS["en"].keys() == WORDS["zh"].keys()
    assert TYPES["en"].keys() == TYPES["zh"].keys()
    assert all(GATES[tongue].keys() == {str(one) for one in Detected} for tongue in ("en", "zh"))

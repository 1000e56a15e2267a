"""Rules, watchlists, sensitivities and previews over HTTP: one desk with the command line, refusals that say what to do."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dashboard.words import Words
from groundswell import times
from groundswell.commands.tuning import directory_of
from groundswell.decisions import Detected
from groundswell.errors import BadRule
from groundswell.evidence_words import GATES
from groundswell.records import Sensitivity, Watchlist
from groundswell.running import beat
from groundswell.running.beat import Beat
from groundswell.settings import Settings
from stream.detection import lines
from stream.past.previews import Previews
from stream.rulebook import rule_check, rule_grammar, rule_text
from stream.rulebook.rule_watch import Kept, Match
from tests.pages import JSON, KEYS, NOW, Site, open_site

LOUD = """[[rule]]
id = "loud"
name = { en = "Loud", zh = "多" }
subjects = ["XNAS:*"]
all = [
  { metric = "count", window = "10m", threshold = 30 },
  { metric = "times_expected", window = "10m", threshold = 3 },
]
"""
QUIET = LOUD.replace("loud", "quiet").replace("Loud", "Quiet")
DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with open_site() as one:
        yield one


async def send(site: Site, method: str, path: str, body: Any = None) -> Any:
    content = None if body is None else json.dumps(body).encode()
    return await site.http.request(method, f"/api/v1{path}", content=content, headers=JSON)


async def got(site: Site, path: str) -> Any:
    return (await send(site, "GET", path)).json()


# -- rules ---------------------------------------------------------------------------------------------------------------


async def test_a_text_of_rules_is_said_in_words_and_each_wrong_one_is_named_with_its_line(site: Site) -> None:
    wrong = LOUD.replace("threshold = 3 }", 'threshold = "three" }') + QUIET.replace("XNAS:*", "XZZZ:*") + LOUD
    said = (await send(site, "POST", "/rules/check", {"text": wrong})).json()
    assert not said["ok"]
    assert [(one["line"], one["rule"], one["key"]) for one in said["errors"]] == [
        (7, "loud", "all[2].threshold"),
        (12, "quiet", "subjects"),
    ]
    assert all(one["title"] and one["remedy"] for one in said["errors"])
    assert [one["id"] for one in said["rules"]] == ["loud"]
    assert "65" in said["rules"][0]["means"]["en"] or said["rules"][0]["subjects"] > 0
    assert "30 条" in said["rules"][0]["means"]["zh"]
    assert not site.pen.written


@pytest.mark.parametrize(
    ("text", "line"),
    [("", 0), ("[[rule]]\nid = ", 2), ('colour = "red"\n', 0), ("[[rule]]\nid = 'A'\n", 2), ("[[rule]]\n" * 101, 0)],
)
async def test_a_text_that_is_no_rules_is_refused_in_words(site: Site, text: str, line: int) -> None:
    said = (await send(site, "POST", "/rules/check", {"text": text})).json()
    assert (said["ok"], said["rules"], said["errors"][0]["line"]) == (False, [], line)
    refused = await send(site, "POST", "/rules", {"text": text})
    assert (refused.status_code, refused.json()["reason"]) == (400, "bad_rule")
    assert not site.pen.written


async def test_a_rule_is_saved_under_its_id_where_it_is_and_taken_away_alone(site: Site) -> None:
    await send(site, "POST", "/rules", {"text": LOUD + QUIET, "name": "desk.toml", "by": "Lin"})
    assert list(site.view.rules) == ["rules_desk"]
    louder = LOUD.replace("threshold = 30", "threshold = 40")
    made = await send(site, "POST", "/rules", {"text": louder})
    assert (made.status_code, made.json()["items"][0]["set"]) == (201, "rules_desk")
    rows = {one["id"]: one for one in (await got(site, "/rules"))["items"]}
    assert sorted(rows) == ["loud", "quiet"]
    assert "40" in rows["loud"]["means"]["en"]
    assert rule_grammar.read(rows["loud"]["text"], "") == rule_grammar.read(louder, "")
    assert (await send(site, "DELETE", "/rules/loud")).status_code == 204
    assert [one["id"] for one in (await got(site, "/rules"))["items"]] == ["quiet"]
    assert (await send(site, "DELETE", "/rules/rules_desk")).status_code == 204
    assert (await got(site, "/rules"))["items"] == []
    assert (await send(site, "DELETE", "/rules/loud")).json()["reason"] == "no_such_rule"


async def test_a_file_may_not_take_the_id_of_another_file(site: Site) -> None:
    await send(site, "POST", "/rules", {"text": LOUD, "name": "one.toml"})
    refused = await send(site, "POST", "/rules", {"text": LOUD, "name": "two.toml"})
    assert refused.status_code == 400
    assert "rules_one" in refused.json()["title"]
    assert list(site.view.rules) == ["rules_one"]


async def test_one_rule_as_json_is_the_same_as_its_text(site: Site) -> None:
    (given,) = rule_grammar.read(LOUD, "")
    made = await send(site, "POST", "/rules", {"rule": given})
    assert made.status_code == 201
    (kept,) = site.view.rules.values()
    assert kept.rules == [given]


async def test_a_list_of_rules_says_how_often_each_matched_and_who_runs_it(site: Site) -> None:
    await send(site, "POST", "/rules", {"text": LOUD})
    now = (await got(site, "/rules"))["revision"]
    for number, revision in enumerate((now, "other")):
        await beat.say(site.redis, KEYS, Beat(stage="aggregate", instance=str(number), pid=1, at=NOW, rules=revision))
    matches = [Match(NOW - 90_000_000, "XNAS:AAPL", "old"), Match(NOW - 1_000, "XNAS:MSFT", "ep_new")]
    site.writer.set(KEYS.rules(5), msgspec.json.encode(Kept(matches={"loud": matches})))
    board = await got(site, "/rules")
    assert (board["processes"], board["in_force_in"]) == (2, 1)
    (row,) = board["items"]
    assert row["matched_24h"] == 1
    assert [(one["episode"], one["names"]["zh"]) for one in row["last"]] == [("ep_new", "微软"), ("old", "苹果公司")]


def test_every_example_of_the_docs_can_be_edited_as_text_and_is_the_same_rule() -> None:
    for page in ("rules.md", "rules.zh.md"):
        for text in (DOCS / page).read_text("utf-8").split("```toml\n")[1:]:
            given = rule_grammar.read(text.partition("```")[0], page)
            assert rule_grammar.read("\n".join(rule_text.written(one) for one in given), page) == given


def test_a_key_that_is_not_written_is_looked_for_at_its_rule() -> None:
    assert rule_check.line_of(LOUD + QUIET, 2, "severity") == 9
    assert rule_check.line_of("", 1, "id") == 0


# -- watchlists and sensitivities ------------------------------------------------------------------------------------------


async def test_names_are_put_on_a_list_many_at_once_and_what_nobody_knows_is_said(site: Site) -> None:
    made = await send(site, "PUT", "/watchlists/desk", {"subjects": ["XNAS:AAPL"]})
    assert made.status_code == 200
    names = ["腾讯控股", "MSFT", "topic:*", "Nobody & Sons", " ", "XNAS:AAPL"]
    added = (await send(site, "POST", "/watchlists/desk/members", {"subjects": names})).json()
    assert added["added"] == ["XHKG:00700", "XNAS:MSFT", "topic:*"]
    assert (added["known"], added["not_found"]) == (["XNAS:AAPL"], ["Nobody & Sons"])
    (pattern,) = [one for one in added["list"]["entries"] if one["pattern"]]
    assert (pattern["entry"], pattern["matched"] > 5) == ("topic:*", True)
    left = (await send(site, "DELETE", "/watchlists/desk/members/topic:*")).json()
    assert [one["entry"] for one in left["entries"]] == ["XHKG:00700", "XNAS:AAPL", "XNAS:MSFT"]


async def test_a_list_shows_how_its_subjects_stand_now(site: Site) -> None:
    site.view.apply(
        "watchlist_hot",
        msgspec.json.encode(
            Watchlist(id="watchlist_hot", name="hot", subjects=["XTST:HLVN", "topic:*"], by="Lin", at=NOW)
        ),
    )
    (row,) = (await got(site, "/watchlists"))["items"]
    states = {one["entry"]: one for one in row["entries"]}
    assert states["topic:*"]["neg"] == site.hub.shown.rows["topic:fraud"].negatives_15
    assert states["XTST:HLVN"]["row"]["state"] == "firing"


async def test_lists_say_which_part_of_the_budget_is_theirs(site: Site) -> None:
    none = (await got(site, "/watchlists"))["sharing"]
    assert (none["watched"], none["half"], none["budget"]) == (0, False, 5.0)
    await send(site, "PUT", "/watchlists/desk", {"subjects": ["XNAS:AAPL", "XNAS:MSFT"]})
    few = (await got(site, "/watchlists"))["sharing"]
    assert few["half"]
    assert few["a_day"] == pytest.approx(2.5, rel=0.2)
    assert few["times"] > 50
    await send(site, "PUT", "/watchlists/all", {"subjects": ["X*", "topic:*"]})
    assert not (await got(site, "/watchlists"))["sharing"]["half"], "everybody first is nobody first"


async def test_a_list_is_renamed_with_its_sensitivity_unless_a_rule_names_it(site: Site) -> None:
    await send(site, "PUT", "/watchlists/desk", {"subjects": ["XNAS:AAPL"]})
    await send(site, "PUT", "/sensitivities/watchlist:desk", {"value": "more"})
    await send(site, "POST", "/rules", {"text": LOUD.replace('subjects = ["XNAS:*"]', 'watchlist = "desk"')})
    refused = await send(site, "PUT", "/watchlists/desk", {"name": "mine"})
    assert (refused.status_code, refused.json()["reason"]) == (400, "bad_list")
    assert "loud" in refused.json()["title"]
    await send(site, "DELETE", "/rules/loud")
    assert (await send(site, "PUT", "/watchlists/desk", {"name": "mine"})).json()["sensitivity"] == "more"
    assert list(site.view.watchlists) == ["watchlist_mine"]
    assert list(site.view.sensitivities) == ["sensitivity_watchlist:mine"]
    assert (await send(site, "DELETE", "/watchlists/mine")).status_code == 204
    assert not site.view.sensitivities
    assert (await send(site, "GET", "/watchlists/mine")).status_code == 404


async def test_a_sensitivity_is_of_all_of_a_list_or_of_one_subject_and_gone_when_cleared(site: Site) -> None:
    await send(site, "PUT", "/watchlists/desk", {"subjects": ["XNAS:AAPL", "XNAS:MSFT"]})
    for about, value in (("all", "more"), ("watchlist:desk", 2), ("AAPL", "fewer")):
        assert (await send(site, "PUT", f"/sensitivities/{about}", {"value": value})).status_code == 202
    rows = (await got(site, "/sensitivities"))["items"]
    assert [(one["about"], one["value"]) for one in rows] == [
        ("all", "more"), ("watchlist:desk", 2.0), ("XNAS:AAPL", "fewer")
    ]  # fmt: skip
    assert rows[0]["a_day"] == 20
    for one in rows:
        assert (await send(site, "DELETE", f"/sensitivities/{one['about']}")).status_code == 204
    (whole,) = (await got(site, "/sensitivities"))["items"]
    assert (whole["value"], whole["at"]) == ("balanced", 0)


def test_a_lists_number_is_shared_by_its_subjects_and_a_subjects_own_comes_first() -> None:
    settings = Settings()
    directory = directory_of(settings)()
    lists = [Watchlist(id="watchlist_a", name="a", subjects=["XNAS:AAPL", "XNAS:MSFT"], by="", at=1)]
    of_list = Sensitivity(id="sensitivity_watchlist:a", watchlist="a", value=1.0, by="", at=1)
    own = Sensitivity(id="sensitivity_XNAS:AAPL", subject="XNAS:AAPL", value=0.1, by="", at=0)
    policy = lines.policy(settings, directory, lists, [of_list, own])
    a_day = {one: policy.weight_of(one) * policy.budget / len(directory) for one in ("XNAS:AAPL", "XNAS:MSFT")}
    assert a_day == pytest.approx({"XNAS:AAPL": 0.1, "XNAS:MSFT": 0.5})
    gone = lines.policy(settings, directory, [], [of_list])
    assert gone.lines.get("XNAS:MSFT", gone.ln_h) == lines.policy(settings, directory).line("XNAS:MSFT")


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "reason"),
    [
        ("PUT", "/sensitivities/all", {"value": "loud"}, 400, "bad_sensitivity"),
        ("PUT", "/sensitivities/all", {"value": 0}, 400, "bad_sensitivity"),
        ("PUT", "/sensitivities/all", {"value": True}, 400, "wrong_shape"),
        ("PUT", "/sensitivities/topic:*", {"value": "more"}, 400, "bad_sensitivity"),
        ("PUT", "/sensitivities/XNAS:NOSUCH", {"value": "more"}, 400, "no_such_subject"),
        ("PUT", "/sensitivities/watchlist:none", {"value": "more"}, 404, "no_such_list"),
        ("DELETE", "/sensitivities/all", None, 404, "nothing_set"),
        ("PUT", "/watchlists/Not A Name", {"subjects": []}, 400, "bad_list"),
        ("PUT", "/watchlists/none", {"name": "some"}, 404, "no_such_list"),
        ("PUT", "/watchlists/desk", {"subjects": ["XNAS:NOSUCH"]}, 400, "no_such_subject"),
        ("POST", "/watchlists/none/members", {"subjects": ["Nobody & Sons"]}, 400, "no_such_subject"),
        ("PUT", "/watchlists/desk", {"members": []}, 400, "wrong_shape"),
        ("POST", "/sensitivities/preview", {"days": 400}, 400, "wrong_shape"),
        ("POST", "/sensitivities/preview", {"values": []}, 400, "wrong_shape"),
        ("POST", "/rules/preview", {"text": "[[rule]]"}, 400, "bad_rule"),
        ("POST", "/rules/preview", {"id": "none"}, 404, "no_such_rule"),
        ("GET", "/previews/none", None, 404, "no_such_preview"),
    ],
)
async def test_what_cannot_be_is_a_problem_with_a_remedy_and_writes_nothing(
    site: Site, method: str, path: str, body: Any, status: int, reason: str
) -> None:
    answer = await send(site, method, path, body)
    assert (answer.status_code, answer.json()["reason"]) == (status, reason), answer.text
    assert answer.json()["remedy"]
    assert not site.pen.written


async def test_a_broker_that_is_away_is_said_and_nothing_looks_written(site: Site) -> None:
    site.pen.away = True
    answer = await send(site, "PUT", "/watchlists/desk", {"subjects": ["XNAS:AAPL"]})
    assert (answer.status_code, answer.json()["reason"]) == (503, "broker_away")
    assert not site.view.watchlists


# -- previews --------------------------------------------------------------------------------------------------------------

CHILD = """
import json, sys, time
said = {said!r}
sys.stderr.write(json.dumps({{"share": 0.5}}) + "\\nnot json\\n"); sys.stderr.flush()
time.sleep({sleep})
if isinstance(said, str):
    sys.stderr.write(json.dumps({{"problem": {{"reason": said, "title": "It failed.", "remedy": "Do this."}}}}) + "\\n")
    sys.exit(2)
print(json.dumps({{**said, "arguments": sys.argv[1:]}}))
"""


def an_episode(number: int, effect: float, at_ms: int = NOW - 60_000, subject: str = "XNAS:AAPL") -> dict[str, Any]:
    return {
        "id": f"e{number}", "subject": subject, "name": {"en": "Apple"}, "fired": times.rfc3339(at_ms), "minutes": 4.0,
        "severity": "warning", "effect": effect, "negatives": 9, "expected": 1.5, "rule": "loud", "said": "a text\u202e",
    }  # fmt: skip


def found(*episodes: dict[str, Any], name: str = "fewer") -> dict[str, Any]:
    setting = {
        "name": name, "budget_a_day": 1.0, "fired": len(episodes), "fired_a_day": 1.0, "by_day": {"2026-11-21": len(episodes)},
        "minutes_to_fire": 5.0, "minutes": 4.0, "severity": {}, "held": {}, "episodes": list(episodes),
    }  # fmt: skip
    return {
        "from": times.rfc3339(NOW - 86_400_000), "until": times.rfc3339(NOW), "days": 1.0, "warm_up_days": 0.0,
        "warm_up_enough": False, "documents": 7, "subjects": 3, "seconds": 0.1, "settings": [setting, {**setting, "name": "last"}],
    }  # fmt: skip


def child(site: Site, tmp_path: Path, said: Any, *, sleep: float = 0.0, deadline_s: float = 20.0) -> Previews:
    """The site's previews by a program that only says so."""
    file = tmp_path / "child.py"
    file.write_text(CHILD.format(said=said, sleep=sleep), encoding="utf-8")
    assert site.parts.tuning is not None
    rules, lists = site.parts.tuning.rules, site.parts.tuning.lists
    made = Previews(
        site.clock, site.redis, KEYS, rules, lists, command=(sys.executable, str(file)), environment={}, deadline_s=deadline_s
    )  # type: ignore[arg-type]  # fmt: skip
    object.__setattr__(site.parts.tuning, "previews", made)
    return made


async def over(site: Site, preview_id: str) -> Any:
    async with asyncio.timeout(15):
        while (now := await got(site, f"/previews/{preview_id}"))["state"] == "running":
            await asyncio.sleep(0.05)
    return now


async def test_a_preview_says_how_often_and_on_what_beside_what_was_told(site: Site, tmp_path: Path) -> None:
    told = next(iter(site.hub.shown.alerts.values())).event.data
    at_ms = times.parse_ms(told.detected_at)
    many = [an_episode(number, 2 + number) for number in range(25)]
    child(site, tmp_path, found(*many, an_episode(99, 50, at_ms, told.subject.id)))
    asked = await send(site, "POST", "/sensitivities/preview", {"days": 30})
    assert asked.status_code == 202
    done = await over(site, asked.json()["id"])
    assert (done["state"], done["share"]) == ("done", 1.0)
    one = done["found"]["settings"][0]
    assert (one["fired"], len(one["episodes"])) == (26, 20)
    assert {26, 50} <= {each["effect"] for each in one["episodes"]}
    assert min(each["effect"] for each in one["episodes"]) > 6
    assert [each["alert"] for each in one["episodes"] if each["subject"] == told.subject.id] == [told.episode_id]
    assert "\u202e" not in one["episodes"][0]["said"]
    assert (done["found"]["days"], done["found"]["asked_days"]) == (1.0, 30.0)
    assert done["found"]["told"]["fired"] == 3


async def test_the_same_question_is_not_played_twice_and_another_one_has_to_wait(site: Site, tmp_path: Path) -> None:
    child(site, tmp_path, found(), sleep=0.5)
    first = (await send(site, "POST", "/sensitivities/preview", {})).json()
    again = (await send(site, "POST", "/sensitivities/preview", {})).json()
    assert first["id"] == again["id"]
    other = await send(site, "POST", "/rules/preview", {"text": LOUD})
    assert (other.status_code, other.json()["reason"]) == (409, "preview_busy")
    await over(site, first["id"])
    assert (await send(site, "POST", "/sensitivities/preview", {})).json()["state"] == "done"
    mine = (await send(site, "POST", "/rules/preview", {"text": LOUD})).json()
    assert [one["name"] for one in (await over(site, mine["id"]))["found"]["settings"]] == ["last"]


@pytest.mark.parametrize(("sleep", "deadline_s", "reason"), [(0.0, 20.0, "nothing_to_test"), (60.0, 0.5, "too_slow")])
async def test_a_preview_that_cannot_be_says_why(
    site: Site, tmp_path: Path, sleep: float, deadline_s: float, reason: str
) -> None:
    child(site, tmp_path, "nothing_to_test", sleep=sleep, deadline_s=deadline_s)
    asked = (await send(site, "POST", "/sensitivities/preview", {})).json()
    done = await over(site, asked["id"])
    assert (done["state"], done["problem"]["reason"]) == ("failed", reason)
    assert done["problem"]["remedy"]


async def test_a_preview_can_be_stopped_and_its_process_is_gone(site: Site, tmp_path: Path) -> None:
    previews = child(site, tmp_path, found(), sleep=60)
    asked = (await send(site, "POST", "/sensitivities/preview", {})).json()
    await asyncio.sleep(0.3)
    stopped = await send(site, "DELETE", f"/previews/{asked['id']}")
    assert (stopped.status_code, stopped.json()["state"]) == (202, "stopped")
    await previews.close()
    file = str(tmp_path / "child.py").encode()
    running = [one for one in Path("/proc").glob("[0-9]*/cmdline") if file in one.read_bytes()]
    assert running == []
    assert (await send(site, "POST", "/rules/preview", {"text": LOUD})).status_code == 202, "the next may begin"
    await previews.close()


def test_a_rule_that_is_wrong_as_a_whole_names_its_place() -> None:
    with pytest.raises(BadRule) as refused:
        rule_check.checked(LOUD + LOUD, "desk.toml", directory_of(Settings())(), None, 60)
    assert refused.value.key == "id"


async def test_a_search_finds_also_what_nobody_has_mentioned_yet(site: Site) -> None:
    found = (await got(site, "/subjects?q=腾讯"))["items"]
    assert ("XHKG:00700", "腾讯控股") in [(one["subject"], one["names"]["zh"]) for one in found]
    mentioned = (await got(site, "/subjects?q=halvorn"))["items"]
    assert mentioned[0]["subject"] == "XTST:HLVN"


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_decision_of_detector_and_rules_is_said_in_both_languages_by_page_and_command(language: Any) -> None:
    words = Words().of(language, ("rules",))
    assert {f"decision.{one}" for one in Detected} <= words.keys()
    assert set(Detected) <= GATES[language].keys()


async def test_what_was_told_is_not_known_while_redis_is_away(site: Site, tmp_path: Path) -> None:
    child(site, tmp_path, found(an_episode(1, 3.0)))
    asked = (await send(site, "POST", "/sensitivities/preview", {})).json()
    site.server.connected = False
    async with asyncio.timeout(15):
        assert site.parts.tuning is not None
        while site.parts.tuning.previews.get(asked["id"]).state == "running":
            await asyncio.sleep(0.05)
    done = site.parts.tuning.previews.get(asked["id"])
    site.server.connected = True
    assert (done.state, (done.found or {})["told"]) == ("done", None)


async def test_nothing_is_shown_or_written_before_what_people_have_set_is_read(site: Site) -> None:
    site.app.state.parts = replace(site.parts, control_read=lambda: False)
    for method, path, body in (
        ("GET", "/watchlists", None),
        ("POST", "/watchlists/desk/members", {"subjects": ["AAPL"]}),
    ):
        answer = await send(site, method, path, body)
        assert (answer.status_code, answer.json()["reason"]) == (503, "control_not_read")
    assert not site.pen.written

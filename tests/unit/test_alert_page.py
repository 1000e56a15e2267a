"""The pages of alerts, whole without a script: what an analyst reads there, what happened to an alert, and what people may say of it."""

import json
import re
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from alerts.people import delivery_log
from dashboard.alerts.papers import marked
from groundswell.errors import BrokerAway
from groundswell.keys import MINUTE_MS
from groundswell.records import Acknowledgement, AlertRule, AlertView, DeliveryOutcome, DocumentCard, Feedback, Silence
from groundswell.times import rfc3339
from tests import believable
from tests.pages import JSON, KEYS, NOW, TOPOLOGY, Site, open_site

SURGE = believable.SURGE.subject
HTML_EN, HTML_ZH = {"Accept-Language": "en"}, {"Accept-Language": "zh-CN"}


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with open_site(hours=1) as one:
        one.hub._acks = lambda: dict(one.view.acks)
        yield one


async def page(site: Site, path: str, headers: dict[str, str] = HTML_EN) -> str:
    answer = await site.http.get(path, headers=headers)
    assert answer.status_code == 200, answer.text
    return re.sub(r"\s+", " ", re.sub(r"<script.*?</script>", "", answer.text, flags=re.DOTALL))


async def course(site: Site, episode: str = "ep_9a41", lang: str = "en") -> dict[str, Any]:
    answer = await site.http.get(f"/api/v1/alerts/{episode}/course?lang={lang}")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def say(site: Site, **body: Any) -> Any:
    return await site.http.post("/api/v1/feedback", content=json.dumps(body).encode(), headers=JSON)


def show(site: Site, view: AlertView) -> None:
    pipeline = site.writer.pipeline()
    believable.write_alert(pipeline, KEYS, view)
    pipeline.execute()


def changed(view: AlertView, **data: Any) -> AlertView:
    new = msgspec.structs.replace(view.event.data, **data)
    return msgspec.structs.replace(view, event=msgspec.structs.replace(view.event, data=new))


def card(site: Site, subject: str, one: DocumentCard) -> None:
    home = TOPOLOGY.scored_partition(subject)
    site.writer.zadd(KEYS.documents(home, subject), {msgspec.json.encode(one): one.published_at})


def tried(site: Site, endpoint: str, **more: Any) -> None:
    given: dict[str, Any] = {
        "event": "msg_ep_9a41", "episode": "ep_9a41", "endpoint": endpoint, "attempt": 1, "outcome": "sent", "status": 200,
        "at": NOW - 20 * MINUTE_MS, "type": "alert.firing",
    }  # fmt: skip
    site.writer.lpush(f"{KEYS.delivery}:log:{endpoint}", msgspec.json.encode(DeliveryOutcome(**given | more)))
    site.writer.hset(f"{KEYS.delivery}:waiting", endpoint, 0)


# -- the evidence --------------------------------------------------------------------------------------------------


async def test_the_page_says_how_sure_it_is_and_how_often_chance_would_do_it(site: Site) -> None:
    shown = await page(site, "/alerts/ep_9a41")
    assert "Evidence 1.6 × 10¹⁰ to 1" in shown
    assert "At most 5 false alarms a day over all subjects, guaranteed by the bound." in shown
    assert "hours" in shown
    assert "carries it" in shown
    assert shown.count("It still fires.") == 3
    assert "Recalls and accidents" in shown, "what the excess is made of, by topic"
    assert "全部标的合计每天至多 5 次误报，由上界保证" in await page(site, "/alerts/ep_9a41", HTML_ZH)


async def test_a_story_is_called_by_what_it_begins_with_and_the_first_telling_says_what_was_left_out(
    site: Site,
) -> None:
    view = believable.alert(NOW)
    grown = {"decision": "updated", "ln_h": 14.9, "excess_by": {"story": [["s0", 9.0], ["", 3.0]]}}
    again = {"what": "firing", "at": rfc3339(NOW), "id": "gw_2", "type": "alert.updated"}
    show(
        site, msgspec.structs.replace(view, timeline=[*view.timeline, again], evidence=view.evidence | {"gw_2": grown})
    )
    shown = await page(site, "/alerts/ep_9a41")
    assert shown.count("It still fires.") == 3
    assert re.search(r"<bdi>\S[^<]{10,60}</bdi><svg", shown[shown.index("by story") :])
    assert "<bdi>s0</bdi>" not in shown


async def test_a_measured_line_is_not_called_guaranteed(site: Site) -> None:
    view = believable.alert(NOW)
    show(site, msgspec.structs.replace(view, evidence={view.event.id: believable.EVIDENCE | {"mode": "calibrated"}}))
    shown = await page(site, "/alerts/ep_9a41")
    assert "as measured on simulated talk" in shown
    assert "guaranteed" not in shown


async def test_a_rule_of_a_user_s_own_shows_its_conditions_and_that_no_bound_holds(site: Site) -> None:
    view = believable.alert(NOW)
    rule = AlertRule(id="loud", version=3, name={"en": "Ten in a quarter", "zh": "一刻钟十条"}, bounded=False)
    asked = {
        "metric": "count",
        "of": "negatives",
        "window_s": 900,
        "value": 12.0,
        "comparison": ">=",
        "threshold": 10.0,
        "holds": True,
    }
    view = changed(view, rule=rule)
    show(site, msgspec.structs.replace(view, evidence={view.event.id: {"conditions": [asked]}}))
    shown = await page(site, "/alerts/ep_9a41")
    assert "By your rule “Ten in a quarter”" in shown
    assert "No bound on false alarms holds for this rule." in shown
    assert "count negatives</span>, 15 min: <b>12</b> · ≥ 10 · holds" in shown
    assert "to 1; the alarm line" not in shown, "it was not decided by evidence"
    assert "该规则不受误报上界约束" in await page(site, "/alerts/ep_9a41", HTML_ZH)


async def test_one_text_alone_is_never_called_a_surge(site: Site) -> None:
    rule = AlertRule(id="single-document", version=1, bounded=False)
    show(site, changed(believable.alert(NOW), rule=rule, kind="document"))
    shown = await page(site, "/alerts/ep_9a41")
    assert "One text alone, from a trusted source. It is not a surge" in shown
    assert "the alarm line" not in shown


@pytest.mark.parametrize("frozen", [{}, {"ln_m": "much"}, {"floors": None}, [], {"documents": 3}])
async def test_evidence_that_cannot_be_read_leaves_the_page_standing(site: Site, frozen: Any) -> None:
    view = believable.alert(NOW)
    show(site, msgspec.structs.replace(view, evidence={view.event.id: frozen}))
    assert "49 negative in 15 min" in await page(site, "/alerts/ep_9a41")


def as_published(told: Any) -> AlertView:
    """A transition as the relay leaves it for the pages."""
    event, kept = told.event, msgspec.json.decode(msgspec.json.encode({**told.evidence, "budget": 5.0}))
    step = {"what": event.data.state, "at": event.timestamp, "id": event.id, "type": event.type}
    return AlertView(
        episode=event.data.episode_id, subject=told.subject, state=event.data.state, event=event, timeline=[step],
        evidence={event.id: kept},
    )  # fmt: skip


async def test_what_the_detector_really_freezes_is_read_whole(site: Site) -> None:
    from tests.unit.test_detect import CALM

    assert CALM.told
    for told in CALM.told:
        view = as_published(told)
        show(site, view)
        shown = await page(site, f"/alerts/{view.episode}")
        assert "false alarms a day over all subjects" in shown
        assert f"{told.evidence['floors']['stories']} stories" in shown
        assert "The last minutes and hour, as they stood then" in shown


async def test_the_end_of_an_alert_is_explained_by_what_it_was_told_for(site: Site) -> None:
    view = believable.alert(NOW, state="resolved", minutes_ago=100)
    calm = {"decision": "resolved", "ln_m": {"combined": 1.0}, "ln_h": 14.9, "budget": 5.0, "mode": "guaranteed"}
    show(site, msgspec.structs.replace(view, evidence={"gw_1": believable.EVIDENCE, view.event.id: calm}))
    shown = await page(site, "/alerts/ep_9a41")
    assert "Evidence 1.6 × 10¹⁰ to 1" in shown
    assert "the evidence crossed the line" in shown
    assert shown.count("It still fires.") == 3


async def test_what_a_rule_of_a_user_s_own_really_freezes_is_read_whole(site: Site) -> None:
    from tests.unit.test_rule_watch import NOON_MS, Road, at_least, burst, in_force, rule

    road = Road(in_force(rule(all=[at_least(3)])))
    burst(road, NOON_MS)
    road.pass_time(30)
    for told in road.told:
        view = as_published(told)
        show(site, view)
        shown = await page(site, f"/alerts/{view.episode}")
        assert "By your rule “Mine”" in shown
        assert "What the rule asks" in shown
        assert "3" in shown


# -- the documents -------------------------------------------------------------------------------------------------


def test_the_deciding_sentence_is_marked_by_code_points() -> None:
    assert marked("🔥 Fire. 起火了。 More.", " 起火了。 ") == [
        ("🔥 Fire. ", False),
        ("起火了。", True),
        (" More.", False),
    ]
    assert marked("Nothing of it.", "else") == [("Nothing of it.", False)]
    assert marked("", "x") == []


async def test_a_sentence_of_the_title_is_marked_there_and_not_said_twice(site: Site) -> None:
    view = believable.alert(NOW)
    first = msgspec.structs.replace(view.event.data.documents[0], title="Vans burn. Shares fall.", excerpt="Vans burn.")
    show(site, changed(view, documents=[first]))
    shown = await page(site, "/alerts/ep_9a41")
    assert "<bdi>Vans burn.</bdi></mark><bdi> Shares fall.</bdi>" in shown
    assert shown.count("Vans burn.") == 1


async def test_copies_are_folded_under_their_original_with_sources_and_times(site: Site) -> None:
    like = believable.cards(NOW)[0]
    for place, source in enumerate(("mirror.example", "echo.example")):
        card(site, SURGE, msgspec.structs.replace(
            like, id=f"c{place}", story="s0", echo=True, source=source, url=f"https://{source}/x", published_at=NOW - place
        ))  # fmt: skip
    shown = await page(site, "/alerts/ep_9a41")
    folded = shown[shown.index('<details class="copies">') :]
    assert folded.index("echo.example") < folded.index("mirror.example"), "oldest first"
    assert "18 copies" in folded
    assert re.search(r"\d+ more are not listed any more", folded)


async def test_each_company_has_its_own_polarity(site: Site) -> None:
    other = believable.COMPANIES[2]
    like = believable.cards(NOW)[0]
    about = (SURGE, other.subject)
    card(site, SURGE, msgspec.structs.replace(like, id="d000", source="wirepress.example", about=about))
    card(site, other.subject, msgspec.structs.replace(like, id="d000", label="positive", about=about))
    shown = await page(site, "/alerts/ep_9a41")
    assert re.search(r'data-polarity="positive" data-company="XTST:VNTP" data-name="Vantorp Steel"', shown)
    assert re.search(r'data-polarity="negative" data-company="XTST:HLVN"', shown)


# -- what happened -------------------------------------------------------------------------------------------------


async def test_the_course_has_deliveries_by_endpoint_with_outcome_status_and_tries(site: Site) -> None:
    tried(site, "ep_chat", outcome="retry", status=503)
    tried(site, "ep_chat", attempt=2, at=NOW - 19 * MINUTE_MS)
    tried(site, "ep_mail", outcome="given_up", status=0, attempt=9, at=NOW - 10 * MINUTE_MS)
    tried(site, "ep_mail", episode="ep_other", event="msg_other")
    said = [step["says"] for step in (await course(site))["steps"]]
    assert "ep_chat: delivered · 200 · 2 tries" in said
    assert "ep_mail: given up · 9 tries" in said
    assert len([one for one in said if one.startswith("ep_")]) == 2


async def test_what_held_it_back_is_said_a_silence_and_a_market_that_is_talked_down_as_much(site: Site) -> None:
    show(site, changed(believable.alert(NOW), fires_up_to=1.5))
    market = believable.Company("market", "Market", "市场", 1.0)
    show(
        site,
        changed(
            believable.alert(NOW, episode="ep_market", company=market, negatives=20),
            rule=AlertRule(id="negative-surge", version=1),
        ),
    )
    silence = Silence(
        id="sil_1", subjects=[SURGE], until=NOW + 60 * MINUTE_MS, by="lin", at=NOW - MINUTE_MS, reason="known"
    )
    site.view.apply(silence.id, msgspec.json.encode(silence))
    await site.hub.tick()
    found = await course(site)
    held = [step for step in found["steps"] if step["state"] == "silenced"]
    assert [(step["says"][:15], step.get("link"), step.get("who")) for step in held] == [
        ("held back where", "ep_market", None),
        ("silenced until", None, "lin"),
    ]
    assert [one["id"] for one in found["silences"]] == ["sil_1"]


async def test_an_update_says_its_cause(site: Site) -> None:
    view = believable.alert(NOW)
    again = {"what": "firing", "at": rfc3339(NOW), "id": "gw_2", "type": "alert.updated"}
    cause = {"decision": "updated", "severity": "critical", "negatives": 80, "expected_since_onset": 9.5}
    show(
        site, msgspec.structs.replace(view, timeline=[*view.timeline, again], evidence=view.evidence | {"gw_2": cause})
    )
    steps = (await course(site))["steps"]
    assert steps[-1]["says"] == "updated · critical · 80 negative, 9.5 expected · it grew, or its cause changed"


async def test_who_has_seen_it_and_who_looks_into_it_is_in_the_course(site: Site) -> None:
    ack = Acknowledgement(id="ep_9a41", by="lin", at=NOW, note="calling them", assigned="Ana")
    site.view.apply(ack.id, msgspec.json.encode(ack))
    await site.hub.tick()
    found = await course(site)
    assert found["ack"]["assigned"] == "Ana"
    assert {"says": "assigned to Ana", "who": "lin", "text": "calling them"}.items() <= found["steps"][-1].items()
    assert "由 Ana 跟进" in await page(site, "/alerts/ep_9a41", HTML_ZH)


async def test_a_course_is_read_within_a_bound_however_long_the_logs_are(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery_log, "ROWS_MOST", 200)
    for place in range(3):
        tried(site, f"ep_{place}")
        for _ in range(250):
            tried(site, f"ep_{place}", episode="ep_other", at=NOW)
    found = await course(site)
    assert found["tries_whole"] is False
    assert not [step for step in found["steps"] if step["says"].startswith("ep_")]


async def test_logs_are_read_no_further_back_than_the_onset(site: Site) -> None:
    rows, whole = await delivery_log.of_episode(site.redis, KEYS, ["none"], "ep_9a41", 0)
    assert (rows, whole) == ([], True)
    for age in range(150):
        tried(site, "ep_old", episode="ep_other", at=NOW - age)
    tried(site, "ep_old", at=NOW)
    rows, whole = await delivery_log.of_episode(site.redis, KEYS, ["ep_old"], "ep_9a41", NOW + 1)
    assert ([row.episode for row in rows], whole) == (["ep_9a41"], True)


# -- what people say -----------------------------------------------------------------------------------------------


async def test_a_comment_is_written_to_the_topic_and_stands_in_the_course(site: Site) -> None:
    answer = await say(site, kind="comment", episode="ep_9a41", text="<b>They deny it</b>", by="lin")
    assert answer.status_code == 201, answer.text
    ((topic, key, value),) = site.pen.sent
    assert (topic, key) == ("feedback.v1", b"ep_9a41")
    kept = msgspec.json.decode(value, type=Feedback)
    assert (kept.by, kept.subject, kept.onset) == ("lin", SURGE, NOW // MINUTE_MS * MINUTE_MS - 27 * MINUTE_MS)
    assert {"says": "comment", "who": "lin", "text": "<b>They deny it</b>"}.items() <= (await course(site))["steps"][
        -1
    ].items()
    assert "&lt;b&gt;They deny it&lt;/b&gt;" in await page(site, "/alerts/ep_9a41")


async def test_a_verdict_is_counted_one_a_person(site: Site) -> None:
    for by, kind in (("lin", "right"), ("ana", "not_a_surge"), ("lin", "not_a_surge")):
        assert (await say(site, kind=kind, episode="ep_9a41", by=by)).status_code == 201
    said = (await site.http.get("/api/v1/alerts/ep_9a41/feedback")).json()
    assert said["verdict"] == {"right": 0, "not_a_surge": 2}
    assert [one["kind"] for one in said["items"]] == ["right", "not_a_surge", "not_a_surge"]


async def test_a_label_is_kept_with_the_text_that_it_is_about(site: Site) -> None:
    answer = await say(
        site, kind="wrong_label", episode="ep_9a41", document="d000", company=SURGE, label="neutral", by="lin"
    )
    assert answer.status_code == 201, answer.text
    kept = msgspec.json.decode(site.pen.sent[0][2], type=Feedback)
    assert (kept.label, kept.said, kept.subject) == ("neutral", "negative", SURGE)
    assert (kept.source, kept.excerpt) == ("wirepress.example", believable.NEWS[0][3])
    assert "Halvorn Motors" in kept.names
    assert "People say: neutral 1 (Halvorn Motors)" in await page(site, "/alerts/ep_9a41")


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        ({"kind": "comment", "episode": "ep_9a41", "text": "  "}, 400, "wrong_shape"),
        ({"kind": "comment", "episode": "ep_9a41", "text": "x" * 2_001}, 400, "wrong_shape"),
        ({"kind": "comment", "text": "about nothing"}, 400, "wrong_shape"),
        ({"kind": "right", "episode": "ep_none"}, 404, "no_such_episode"),
        ({"kind": "wrong_label", "episode": "ep_9a41", "document": "d000"}, 400, "wrong_shape"),
        ({"kind": "wrong_label", "episode": "ep_9a41", "document": "dx", "label": "neutral"}, 404, "no_such_document"),
        (
            {
                "kind": "wrong_label",
                "episode": "ep_9a41",
                "document": "d000",
                "label": "neutral",
                "company": "XTST:NRVB",
            },
            400,
            "wrong_shape",
        ),
        ({"kind": "praise", "episode": "ep_9a41"}, 400, "wrong_shape"),
        ({"kind": "right", "episode": "ep_9a41", "vote": 3}, 400, "wrong_shape"),
    ],
)
async def test_a_word_that_means_nothing_is_refused_and_not_written(
    site: Site, body: dict[str, Any], status: int, reason: str
) -> None:
    answer = await say(site, **body)
    assert (answer.status_code, answer.json()["reason"]) == (status, reason)
    assert answer.json()["remedy"]
    assert site.pen.sent == []


async def test_a_broker_that_is_away_is_said_and_nothing_is_shown_as_kept(site: Site) -> None:
    site.pen.away = True
    answer = await say(site, kind="right", episode="ep_9a41")
    assert (answer.status_code, answer.json()["reason"]) == (503, BrokerAway.reason)
    assert (await course(site))["verdict"] == {"right": 0, "not_a_surge": 0}


async def test_others_are_told_of_a_word_by_the_live_stream(site: Site) -> None:
    site.parts.remarks._changed = site.hub.again
    before = site.hub.cursor
    await say(site, kind="comment", episode="ep_9a41", text="seen")
    await site.hub.tick()
    stream = site.hub.watch(["alerts"], before)
    assert b"retry" in await anext(stream)
    assert b'"episode":"ep_9a41"' in await anext(stream)


async def test_whoever_is_signed_in_speaks_under_that_name_whatever_the_request_says() -> None:
    async with open_site(hours=1, access="proxy", proxy_role="analyst") as site:
        body = json.dumps({"kind": "right", "episode": "ep_9a41", "by": "somebody else"}).encode()
        answer = await site.http.post("/api/v1/feedback", content=body, headers={**JSON, "X-Forwarded-User": "lin"})
        assert (answer.status_code, answer.json()["by"]) == (201, "lin")
        shown = await page(site, "/alerts/ep_9a41", {"X-Forwarded-User": "lin"})
        assert 'data-may-act="yes"' in shown
        assert 'id="your-name"' not in shown


async def test_a_viewer_reads_the_page_and_may_not_act() -> None:
    async with open_site(hours=1, access="proxy", proxy_role="viewer") as site:
        shown = await page(site, "/alerts/ep_9a41", {"X-Forwarded-User": "guest"})
        assert 'data-may-act="no"' in shown
        body = json.dumps({"kind": "right", "episode": "ep_9a41"}).encode()
        answer = await site.http.post("/api/v1/feedback", content=body, headers={**JSON, "X-Forwarded-User": "guest"})
        assert answer.status_code == 403


# -- the list ------------------------------------------------------------------------------------------------------


def named(shown: str) -> list[str]:
    return re.findall(r'<td><a href="/alerts/(ep_\w+)">', shown)


async def test_the_list_has_a_tab_for_what_fires_what_was_seen_and_what_is_over(site: Site) -> None:
    ack = Acknowledgement(id="ep_51c0", by="lin", at=NOW)
    site.view.apply(ack.id, msgspec.json.encode(ack))
    await site.hub.tick()
    assert named(await page(site, "/alerts?state=firing")) == ["ep_9a41"]
    assert named(await page(site, "/alerts?state=acknowledged")) == ["ep_51c0"]
    assert named(await page(site, "/alerts?state=resolved")) == ["ep_2f7d"]
    assert len(named(await page(site, "/alerts?state=nonsense"))) == 3


async def test_the_list_is_filtered_by_name_by_id_and_by_severity(site: Site) -> None:
    assert named(await page(site, "/alerts?subject=奎隆")) == ["ep_51c0"]
    assert named(await page(site, "/alerts?subject=XTST:HLVN")) == ["ep_9a41"]
    assert named(await page(site, "/alerts?severity=critical")) == ["ep_9a41"]
    shown = await page(site, "/alerts?subject=%3Cscript%3E&state=firing")
    assert "&lt;script&gt;" in shown
    assert "None among the alerts that are kept." in shown


async def test_a_long_list_goes_on_by_address_and_shows_each_alert_once(site: Site) -> None:
    for place in range(70):
        show(
            site,
            believable.alert(NOW, episode=f"ep_x{place:02}", company=believable.COMPANIES[3], minutes_ago=100 + place),
        )
    seen: list[str] = []
    path = "/alerts?subject=Zephira"
    while path:
        shown = await page(site, path)
        seen += named(shown)
        older = re.search(r'rel="next" href="([^"]+)"', shown)
        path = older[1].replace("&amp;", "&") if older else ""
        assert not path or "subject=Zephira" in path
    assert len(seen) == len(set(seen)) == 70


@pytest.mark.parametrize("state", ["firing", "resolved", "recovering"])
async def test_every_state_of_an_alert_has_its_page_in_both_languages(site: Site, state: str) -> None:
    show(site, believable.alert(NOW, episode="ep_any", state=state, minutes_ago=200))
    for headers in (HTML_EN, HTML_ZH):
        shown = await page(site, "/alerts/ep_any", headers)
        assert "{" not in shown, "a place that was not filled"

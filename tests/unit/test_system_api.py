"""How the installation fares over HTTP: findings that a person can act on, books, speed of two readings, and services that are away."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from groundswell import tokens
from groundswell.records import DeadLetter, Role
from groundswell.running.books import Counts
from groundswell.running.health import bad_topics
from tests.installed import Installed, a_letter
from tests.pages import TOPOLOGY

JSON = {"Content-Type": "application/json"}


@pytest.fixture
async def site() -> AsyncIterator[Installed]:
    one = Installed()
    one.beats()
    one.counted(1_000)
    yield one
    await one.http.aclose()
    await one.redis.aclose()
    one.writer.close()


async def told(site: Installed, after_s: float = 0.0) -> dict[str, Any]:
    site.clock.advance(after_s)
    answer = await site.http.get("/api/v1/system")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def test_all_well_is_said_when_it_is(site: Installed) -> None:
    found = await told(site)
    assert (found["healthy"], found["findings"]) == (True, [])
    assert [one["stage"] for one in found["stages"]] == ["ingest", "tag", "aggregate", "deliver", "dashboard"]
    assert [one["books"]["balanced"] for one in found["stages"][:4]] == [True] * 4
    assert (found["kafka"]["brokers"], found["model"]["running"]) == (3, ["bundled-1"])


async def test_a_stage_without_a_process_and_a_missing_topic_are_named_with_what_to_do(site: Installed) -> None:
    site.beats("tag")
    there = {**TOPOLOGY.wanted(), "groundswell.scored.v1": 12}
    del there["groundswell.tagged.v1"]
    site.installation.wrong = bad_topics(TOPOLOGY.missing(there), there, TOPOLOGY.wanted())
    found = await told(site)
    assert [(one["what"], one["stage"]) for one in found["findings"]] == [
        ("no_process", "tag"),
        ("bad_topic", ""),
        ("bad_topic", ""),
    ]
    assert "Start `groundswell tag`" in found["findings"][0]["sentence"]
    assert "groundswell topology --create" in found["findings"][1]["sentence"]
    values = [(one["values"]["topic"], one["values"]["found"]) for one in found["findings"][1:]]
    assert values == [("groundswell.tagged.v1", 0), ("groundswell.scored.v1", 12)]


async def test_speed_is_the_difference_of_two_readings_and_never_made_up(site: Installed) -> None:
    first = await told(site)
    assert {one["per_s"] for one in first["stages"]} == {None}
    site.counted(1_500)
    later = await told(site, 10)
    assert later["speed_over_s"] == 10
    assert {one["stage"]: one["per_s"] for one in later["stages"]} == {
        "ingest": 50.0,
        "tag": 50.0,
        "aggregate": 100.0,
        "deliver": 0.0,
        "dashboard": None,
    }
    site.counted(10)  # the books began anew
    assert {one["per_s"] for one in (await told(site, 10))["stages"]} == {None}


async def test_books_that_do_not_add_up_are_told_only_when_they_last(site: Installed) -> None:
    site.books("tag", Counts(read=1_000, applied=990, emitted=2_000))
    assert (await told(site))["findings"] == []  # it may be on its way
    lasting = (await told(site, 4))["findings"]
    assert [(one["what"], one["stage"], one["values"]["applied"]) for one in lasting] == [("not_balanced", "tag", 990)]


async def test_a_stage_that_says_it_is_behind_has_lost_nothing(site: Installed) -> None:
    site.books("tag", Counts(read=900, applied=900, emitted=2_000))
    site.beats(tag={"lag": 100})
    await told(site)
    assert (await told(site, 4))["findings"] == []
    site.beats()
    await told(site, 4)
    assert [one["what"] for one in (await told(site, 4))["findings"]] == ["not_read"]


async def test_a_broker_that_is_away_is_said_and_the_rest_is_still_shown(site: Installed) -> None:
    site.installation.away = True
    found = await told(site)
    assert [one["what"] for one in found["findings"]] == ["broker_away"]
    assert (found["kafka"]["reachable"], found["stages"][1]["books"]["read"]) == (False, 1_000)
    site.installation.away = False
    assert (await told(site, 31))["kafka"] is not None
    assert (await told(site))["healthy"]


async def test_a_redis_that_is_away_is_an_answer_and_no_error(site: Installed) -> None:
    site.server.connected = False
    found = await told(site, 3)
    assert (found["findings"][0]["what"], found["stages"], found["healthy"]) == ("redis_away", [], False)
    site.server.connected = True
    assert (await told(site, 3))["healthy"]


async def test_partitions_that_are_counted_again_say_how_far_they_are(site: Installed) -> None:
    site.beats(aggregate={"state": "warming", "warming": 8, "warmed": 0.25})
    assert (await told(site))["warming"] == {"partitions": 8, "share": 0.25}


async def test_the_watch_and_the_last_drill_are_told_as_deliver_said_them(site: Installed) -> None:
    site.beats(deliver={"canary_at": 1_795_300_000_000, "drill": "missed", "drill_at": 1_795_299_000_000})
    found = await told(site)
    assert (found["canary_at"], found["drill"]) == (1_795_300_000_000, [1_795_299_000_000, "missed"])


async def test_nothing_changed_is_nothing_sent(site: Installed) -> None:
    await told(site)
    tag = (await site.http.get("/api/v1/system")).headers["etag"]
    again = await site.http.get("/api/v1/system", headers={"If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")


# -- dead letters ------------------------------------------------------------------------------------------------------


async def listed(site: Installed, **asked: Any) -> dict[str, Any]:
    answer = await site.http.get("/api/v1/dead-letters", params=asked)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def test_letters_are_counted_by_reason_and_listed_page_by_page_newest_first(site: Installed) -> None:
    site.installation.kept = [*(a_letter(number) for number in range(5)), a_letter(9, "not_json")]
    first = await listed(site, limit=4)
    assert [(one["reason"], one["count"], one["waiting"]) for one in first["reasons"]] == [
        ("bad_time", 5, 5),
        ("not_json", 1, 1),
    ]
    rest = await listed(site, limit=4, cursor=first["next"])
    places = [one["place"].split("/")[2] for one in first["items"] + rest["items"]]
    assert places == ["1009", "1004", "1003", "1002", "1001", "1000"]
    assert rest["next"] == ""
    assert [one["reason"] for one in (await listed(site, reason="not_json"))["items"]] == ["not_json"]


async def test_kafka_is_read_once_for_many_who_look(site: Installed) -> None:
    site.installation.kept = [a_letter(1)]
    for _ in range(5):
        await listed(site)
    assert site.installation.reads == 1
    await listed(site, anew=1)
    site.clock.advance(11)
    await listed(site)
    assert site.installation.reads == 3


async def test_one_letter_shows_its_bytes_and_gives_them_as_a_file_that_no_browser_opens(site: Installed) -> None:
    raw = b"\xff\xfe<script>alert(1)</script>" + b"x" * 1_000
    site.installation.kept = [a_letter(1, payload=raw)]
    path = f"/api/v1/dead-letters/{site.installation.kept[0].place}"
    assert "x" * 500 not in (await site.http.get("/api/v1/dead-letters")).text
    shown = (await site.http.get(path)).json()
    assert (shown["bytes"], shown["text"], shown["key"]) == (len(raw), None, "wire")
    file = await site.http.get(path, params={"raw": "1"})
    assert file.content == raw
    assert file.headers["content-type"] == "application/octet-stream"
    assert file.headers["content-disposition"].startswith("attachment")
    assert (await site.http.get("/api/v1/dead-letters/groundswell.news.v1/0/0/0")).status_code == 404


async def replay(site: Installed, **body: Any) -> Any:
    return await site.http.post("/api/v1/dead-letters/replay", json=body, headers=JSON)


def offsets(letters: list[DeadLetter]) -> list[int]:
    return [one.src.offset for one in letters]


async def test_letters_of_a_reason_go_out_again_once_and_what_cannot_says_why(site: Installed) -> None:
    site.installation.kept = [a_letter(1), a_letter(2, payload=b""), a_letter(3, "not_json")]
    done = (await replay(site, reason="bad_time")).json()
    assert (offsets(site.installation.sent), len(done["sent"])) == ([1_001], 1)
    assert done["not_sent"][0]["why"].endswith("Push it again.")
    assert [one["waiting"] for one in (await listed(site))["reasons"]] == [1, 1]
    await replay(site, reason="bad_time")
    assert offsets(site.installation.sent) == [1_001]
    await replay(site, places=[site.installation.kept[0].place], again=True)
    assert offsets(site.installation.sent) == [1_001, 1_001]


@pytest.mark.parametrize("body", [{}, {"places": ["a/0/0/0"], "reason": "bad_time"}, {"reason": "x", "every": True}])
async def test_a_replay_that_does_not_say_which_is_refused(site: Installed, body: dict[str, Any]) -> None:
    answer = await replay(site, **body)
    assert (answer.status_code, answer.json()["reason"]) == (400, "wrong_shape")


async def test_another_site_cannot_send_letters_again(site: Installed) -> None:
    headers = {"Origin": "https://evil.example", **JSON}
    answer = await site.http.post("/api/v1/dead-letters/replay", json={"reason": "bad_time"}, headers=headers)
    assert answer.status_code == 403


async def test_a_broker_that_is_away_is_said_to_who_asks_for_letters(site: Installed) -> None:
    site.installation.away = True
    answer = await site.http.get("/api/v1/dead-letters")
    assert (answer.status_code, answer.json()["reason"]) == (503, "broker_away")


# -- who may see what --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("role", "letters", "endpoints", "adds"), [
    ("viewer", False, False, False), ("analyst", False, True, False), ("operator", True, True, True),
])  # fmt: skip
async def test_a_page_offers_what_the_person_may_do(role: Role, *, letters: bool, endpoints: bool, adds: bool) -> None:
    site = Installed(access="token")
    try:
        made, text = tokens.made({}, "Lin", role, 0, "test", site.clock.now_ms())
        site.view.apply(made.id, msgspec.json.encode(made))
        headers = {"Authorization": f"Bearer {text}"}
        system = (await site.http.get("/system", headers=headers)).text
        places = (await site.http.get("/endpoints", headers=headers)).text
        assert ("letters.js" in system, "endpoints.js" in places) == (letters, endpoints)
        assert 'id="verdict"' in system
        assert ('id="endpoint-add" hidden' not in places) is adds
        assert (await site.http.get("/api/v1/dead-letters", headers=headers)).status_code == (200 if letters else 403)
        assert (await site.http.get("/api/v1/system", headers=headers)).status_code == 200
    finally:
        await site.http.aclose()
        await site.redis.aclose()
        site.writer.close()

"""What README.md promises of the commands, on one `groundswell up` that all tests here share, as its user sees it.

The order is that of a first hour: start, subscribe, push a day with a surge in it, look, push more in every form, stop. Reading commands
come first, while the road is at work; more is pushed only after the alert, because a later time would make the rest of the history late.
"""

import asyncio
import base64
import csv
import gzip
import json
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from alerts.receiver import Receiver
from groundswell.demo import script
from groundswell.records import Tagged
from groundswell.running import runfile
from groundswell.settings import Settings
from stream.topology import TAGGED
from tests.stages import Site, clean_environment

pytestmark = pytest.mark.in_order
START_S, COMMAND_S, ALERT_S, STOP_S, WATCH_S = 60, 60, 45, 12, 20
STAGES = {"ingest", "tag", "aggregate", "deliver", "dashboard"}
NAME = "desk [/b] 风控"  # as Rich would read it: the end of something that never began


@dataclass
class Road:
    """What runs, and how a user reaches it."""

    process: subprocess.Popen[str]
    environment: dict[str, str]
    folder: Path
    page: str
    receiver: Receiver
    subscribed: dict[str, Any]

    def command(self, *arguments: str, given: str | None = None, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "groundswell", *arguments], cwd=self.folder, env=self.environment | more,
            input=given, capture_output=True, text=True, timeout=COMMAND_S, check=False,
        )  # fmt: skip

    def json(self, *arguments: str, given: str | None = None) -> Any:
        """What a command prints for programs; it must have gone well."""
        done = self.command(*arguments, "--json", given=given)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def file(self, name: str, content: str) -> str:
        raw = content.encode()
        (self.folder / name).write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
        return name


@pytest.fixture(scope="module")
def receiver() -> Iterator[tuple[Receiver, str]]:
    """A receiver of webhooks on a thread of its own, and its URL."""
    found, loop = Receiver(), asyncio.new_event_loop()
    serving = threading.Thread(target=loop.run_forever)
    serving.start()
    try:
        yield found, asyncio.run_coroutine_threadsafe(found.start(), loop).result(5)
        asyncio.run_coroutine_threadsafe(found.stop(), loop).result(5)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        serving.join(5)
        loop.close()


@pytest.fixture(scope="module")
def road(receiver: tuple[Receiver, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Road]:
    """`groundswell up`, one subscriber, and a quiet day with a surge at its end pushed to it."""
    folder, (hooks, url), port = tmp_path_factory.mktemp("commands"), receiver, free_port()
    environment = clean_environment() | {
        "GROUNDSWELL_STATE_DIR": str(folder), "GROUNDSWELL_MODEL": "scripted", "GROUNDSWELL_PORT": str(port),
        "GROUNDSWELL_CATALOGUES": str(script.catalogue()), "GROUNDSWELL_DELIVER_HTTP": "true",
        "GROUNDSWELL_DELIVER_ALLOW": url.split("/")[2],
    }  # fmt: skip
    with (folder / "up.txt").open("w") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "groundswell", "up"], cwd=folder, env=environment, text=True,
            stdin=subprocess.DEVNULL, stdout=said, stderr=said,
        )  # fmt: skip
    found = Road(process, environment, folder, f"http://127.0.0.1:{port}", hooks, {})
    try:
        until(lambda: f"Groundswell runs: {found.page}/" in up_said(found), START_S, lambda: up_said(found))
        found.subscribed = found.json("endpoints", "add", url, "--name", NAME)
        hooks.secret = found.subscribed["secret"]
        lines = script.opening(a_closing_time_ms())
        day = found.file("day.jsonl", "\n".join(json.dumps(line, ensure_ascii=False) for line in lines))
        assert found.json("push", day, "--topic", "comments")["accepted"] == len(lines)
        yield found
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(2 * STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def a_closing_time_ms() -> int:
    """The last 45th second of a minute: half a minute before it, where lateness ends, a minute with most of the surge has closed.

    A day that ends elsewhere may wait a minute for its alert.
    """
    now_s = time.time_ns() // 1_000_000_000
    return ((now_s - 45) // 60 * 60 + 45) * 1000


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def up_said(road: Road) -> str:
    return (road.folder / "up.txt").read_text(encoding="utf-8")


def until(true: Callable[[], object], seconds: float, shown: Callable[[], object]) -> None:
    end_s = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end_s, f"not within {seconds} s; last seen: {shown()}"
        time.sleep(0.1)


def test_health_says_in_words_that_all_is_well_though_rows_are_on_their_way(road: Road) -> None:
    done = road.command("health")
    assert done.returncode == 0, done.stdout
    assert done.stdout.startswith("All well.")
    assert {line.split(":")[0] for line in done.stdout.splitlines()[1:]} == STAGES
    assert "model scripted" in done.stdout


def test_health_of_one_process_speaks_of_no_other(road: Road) -> None:
    done = road.command("health", "--process", "tag")
    assert done.returncode == 0, done.stdout
    assert done.stdout.splitlines()[1].startswith("tag: ")
    assert "ingest" not in done.stdout


def test_the_topics_are_told_with_who_writes_and_who_reads(road: Road) -> None:
    topics = {topic["topic"]: topic for topic in road.json("topology")}
    assert topics["groundswell.news.v1"]["readers"] == "ingest"
    assert topics["groundswell.alerts.v1"]["writers"] == "aggregate"
    assert all(topic["partitions"] > 0 for topic in topics.values())


def test_settings_name_their_variables_and_hide_their_secrets(road: Road) -> None:
    secrets = {"GROUNDSWELL_KAFKA_PASSWORD": "open-sesame-1", "GROUNDSWELL_AUTHOR_PEPPER": "open-sesame-2"}
    done = road.command("settings", **secrets, GROUNDSWELL_KAFKA_USER="[/b]")
    assert done.returncode == 0, done.stderr
    assert "GROUNDSWELL_DELIVER_ALLOW" in done.stdout
    assert road.environment["GROUNDSWELL_DELIVER_ALLOW"] in done.stdout
    assert "[/b]" in done.stdout, "a value is shown as it is"
    assert "open-sesame" not in done.stdout + done.stderr


def test_doctor_finds_nothing_to_set_right(road: Road) -> None:
    done = road.command("doctor")
    assert done.returncode == 0, done.stdout
    assert all(line.startswith("ok ") for line in done.stdout.splitlines())
    assert "Redis answers" in done.stdout


def test_doctor_names_the_setting_that_is_wrong(road: Road) -> None:
    done = road.command("doctor", GROUNDSWELL_PORT="99999")
    assert done.returncode == 1
    assert done.stdout.startswith("NO  settings: ")
    assert "port" in done.stdout
    assert done.stderr == ""


def test_a_second_up_beside_the_first_is_told_and_harms_it_not(road: Road) -> None:
    before = (road.folder / "running.json").read_bytes()
    done = road.command("up", GROUNDSWELL_PORT=str(free_port()))
    assert done.returncode == 2
    assert f"process {road.process.pid}" in done.stderr
    assert "Traceback" not in done.stderr
    assert (road.folder / "running.json").read_bytes() == before


@pytest.fixture(scope="module")
def alert(road: Road) -> dict[str, Any]:
    """The alert that the surge in the pushed day must give, as its subscriber received it."""
    hooks = road.receiver
    until(lambda: hooks.received, ALERT_S, lambda: road.command("accounting").stdout)
    assert hooks.received[0].verified
    return hooks.received[0].event


def test_the_webhook_is_what_the_printed_schema_says(road: Road, alert: dict[str, Any]) -> None:
    schema = json.loads(road.command("schema", "alert").stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(alert, schema)
    assert alert["data"]["subject"]["id"] == script.PLANTED


def test_alerts_lists_what_was_delivered(road: Road, alert: dict[str, Any]) -> None:
    (listed,) = road.json("alerts")
    assert listed["event"]["id"] == alert["id"]
    assert listed["event"]["data"]["subject"]["id"] == script.PLANTED
    assert listed["event"]["data"]["observed"]["negatives"] > listed["event"]["data"]["expected"]["high"]


def test_deliveries_shows_the_try_and_its_answer(road: Road, alert: dict[str, Any]) -> None:
    done = road.command("deliveries")
    assert done.returncode == 0, done.stderr
    tried = [line for line in done.stdout.splitlines() if alert["id"] in line]
    assert len(tried) == 1
    assert road.subscribed["id"] in tried[0]
    assert " 204 " in tried[0]


def received(road: Road, kind: str) -> list[Any]:
    return [one for one in road.receiver.received if one.event.get("type") == kind]


@pytest.mark.usefixtures("alert")
def test_a_test_event_is_sent_and_the_answer_is_told_in_words(road: Road) -> None:
    done = road.command("endpoints", "test", NAME)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "answered 204" in done.stdout
    (told,) = received(road, "endpoint.test")
    assert told.verified
    assert told.event["data"]["test"] is True


@pytest.mark.usefixtures("alert")
def test_after_a_rotation_the_old_secret_verifies_as_well_as_the_new_one(road: Road) -> None:
    rotated = road.json("endpoints", "rotate", road.subscribed["id"], "--hours", "1")
    assert rotated["old_secret_until"] > time.time() * 1000
    for secret in (road.subscribed["secret"], rotated["secret"]):
        road.receiver.secret = secret
        assert road.json("endpoints", "test", road.subscribed["id"])["well"] is True
        assert received(road, "endpoint.test")[-1].verified, "old" if secret != rotated["secret"] else "new"


def test_an_acknowledgement_reaches_who_heard_the_alert_and_the_page(road: Road, alert: dict[str, Any]) -> None:
    episode = alert["data"]["episode_id"]
    done = road.command("ack", episode, "--by", "Lin", "--note", "calling them", "--assign", "Ana")
    assert done.returncode == 0, done.stderr
    assert "assigned to Ana" in done.stdout
    until(lambda: received(road, "alert.acknowledged"), ALERT_S, lambda: road.command("deliveries").stdout)
    told = received(road, "alert.acknowledged")[0].event["data"]
    assert (told["episode_id"], told["acknowledged"]["by"], told["acknowledged"]["assigned"]) == (episode, "Lin", "Ana")
    until(
        lambda: page(road, f"/api/v1/alerts/{episode}")["ack"],
        COMMAND_S,
        lambda: page(road, f"/api/v1/alerts/{episode}"),
    )
    assert road.json("unack", episode) == {"episode": episode, "acknowledged": False}


@pytest.mark.usefixtures("alert")
def test_a_silence_is_listed_here_and_over_http_until_it_is_ended(road: Road) -> None:
    made = road.json(
        "silences", "add", "--match", "topic in fraud,default", "--for", "2h", "--reason", "known [/b]", "--by", "Lin"
    )
    listed = road.command("silences", "list")
    assert "known [/b]" in listed.stdout
    until(lambda: page(road, "/api/v1/silences")["items"], COMMAND_S, lambda: page(road, "/api/v1/silences"))
    assert page(road, "/api/v1/silences")["items"][0]["id"] == made["id"]
    assert road.command("silences", "end", made["id"]).returncode == 0
    assert road.json("silences", "list") == []


def test_what_was_sent_can_be_shown_and_sent_again_under_its_id(road: Road, alert: dict[str, Any]) -> None:
    shown = road.command("deliveries", "show", alert["id"])
    assert shown.returncode == 0, shown.stderr
    assert "try 1: It answered 204" in shown.stdout
    result = road.json("deliveries", "replay", NAME, "--since", "30d", "--all")
    assert result["well"] is True, result
    until(lambda: [one.id for one in road.receiver.received].count(alert["id"]) == 2, COMMAND_S, lambda: result)


SLIPS = {
    ("endpoints", "add", "https://127.0.0.1/", "--name", "x"): "GROUNDSWELL_DELIVER_ALLOW",
    ("endpoints", "add", "https://a.com/", "--name", "x", "--quiet", "22-7", "--zone", "UTC"): "22:00-07:00",
    ("endpoints", "add", "https://a.com/", "--name", "x", "--quiet", "22:00-07:00"): "--zone Asia/Shanghai",
    ("endpoints", "add", "https://a.com/", "--name", "x", "--secret", "hunter2"): "Leave --secret out",
    ("endpoints", "test", "nobody"): "endpoints list",
    ("silences", "add", "--for", "2h", "--reason", "x"): "--all",
    ("silences", "add", "--match", "topics fraud", "--for", "2h", "--reason", "x"): "FIELD=VALUE",
    ("silences", "add", "--subject", "market", "--for", "soon", "--reason", "x"): "2h",
    ("ack", "ep_nobody"): "groundswell alerts",
    ("deliveries", "replay", NAME, "--since", "yesterday"): "2026-11-21T18:00:00+08:00",
}


@pytest.mark.usefixtures("alert")
@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_is_told_with_what_to_do(slip: tuple[str, ...], road: Road) -> None:
    done = road.command(*slip)
    assert (done.returncode, done.stdout) == (2, "")
    assert SLIPS[slip] in done.stderr
    assert "Traceback" not in done.stderr


def test_programs_without_a_webhook_read_the_alert_in_a_feed_and_a_stream(road: Road, alert: dict[str, Any]) -> None:
    with urllib.request.urlopen(f"{road.page}/feeds/alerts.atom?lang=zh", timeout=10) as answer:
        assert alert["data"]["subject"]["names"]["zh"] in answer.read().decode()
    with urllib.request.urlopen(f"{road.page}/api/v1/alerts/stream?since=0", timeout=10) as stream:
        while not (line := stream.readline().decode()).startswith("data: "):
            pass
    assert json.loads(line.removeprefix("data: "))["data"]["episode_id"] == alert["data"]["episode_id"]
    assert {one["episode"] for one in page(road, "/api/v1/alerts")["items"]} == {alert["data"]["episode_id"]}


def page(road: Road, path: str) -> Any:
    with urllib.request.urlopen(road.page + path, timeout=10) as answer:
        return json.load(answer)


@pytest.mark.usefixtures("alert")
def test_watch_shows_the_subject_until_ctrl_c_and_gives_the_terminal_back(road: Road) -> None:
    ours, theirs = pty.openpty()
    watching = subprocess.Popen(
        [sys.executable, "-m", "groundswell", "watch"], stdin=theirs, stdout=theirs, stderr=theirs, cwd=road.folder,
        env=road.environment | {"TERM": "xterm", "COLUMNS": "120", "LINES": "40"},
    )  # fmt: skip
    os.close(theirs)
    try:
        seen, end_s = b"", time.monotonic() + WATCH_S
        while b"firing" not in seen and time.monotonic() < end_s:
            seen += read(ours)
        watching.send_signal(signal.SIGINT)
        while watching.poll() is None and time.monotonic() < end_s:
            seen += read(ours)
        assert watching.wait(1) in (0, 130)
        seen += read(ours)
    finally:
        watching.kill()
        watching.wait()
        os.close(ours)
    text = seen.decode("utf-8", "replace")
    assert "Blue Whale Biotech" in text
    assert "firing" in text
    assert "Traceback" not in text
    assert "\x1b[?1049l" in text, "the screen that was there before comes back"


def read(terminal: int) -> bytes:
    """What has appeared, waited for a moment."""
    if not select.select([terminal], [], [], 0.2)[0]:
        return b""
    try:
        return os.read(terminal, 65_536)
    except OSError:  # nobody writes any more
        return b""


FORMS = {
    "said.jsonl": '{"text": "Pinewind Bank opens a branch"}\n\n{"text": "松涛银行今天开新网点", "author": "李"}\n',
    "said.jsonl.gz": '{"text": "Pinewind Bank closes a branch"}\n{"text": "松涛银行网点搬家了"}\n',
    "said.txt": "Northridge Vale Energy at noon\n北岭能源中午的消息\n",
}
TYPED = "Northridge Vale Energy at night\n北岭能源夜里的消息\n"
REFUSED = ('{"text":"x","published_at":"[/b]"}', "not json [/b]")


@pytest.mark.usefixtures("alert")
@pytest.mark.parametrize("name", FORMS)
def test_a_file_of_every_form_is_taken_whole(name: str, road: Road) -> None:
    told = road.json("push", road.file(name, FORMS[name]), "--topic", "news")
    assert (told["sent"], told["accepted"], told["refused"], told["not_yet_read"]) == (2, 2, 0, 0)


@pytest.mark.usefixtures("alert")
def test_standard_input_is_taken_line_by_line_and_the_summary_is_a_sentence(road: Road) -> None:
    done = road.command("push", "-", "--topic", "comments", given=TYPED)
    assert done.returncode == 0, done.stderr
    assert "2 accepted, 0 refused." in done.stdout


@pytest.mark.usefixtures("alert")
def test_speed_is_kept(road: Road) -> None:
    feed = road.file("slow.txt", "".join(f"Harbor line {number}\n" for number in range(6)))
    told = road.json("push", feed, "--topic", "news", "--speed", "6")
    assert told["accepted"] == 6
    assert 3 < told["per_second"] < 7


@pytest.mark.usefixtures("alert")
def test_columns_of_other_names_are_mapped_and_old_times_shifted_to_now(road: Road) -> None:
    with (road.folder / "feed.csv").open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file).writerows(
            [
                ("body", "when", "who"),
                ("Cloudstack Harbor, said first", "2015-08-24T09:30:00Z", "desk"),
                ("云栈科技，一分钟后说的", "1440408660000", "街角"),
            ]
        )
    mapped = ("--map", "text=body", "--map", "published_at=when", "--map", "source=who")
    before_ms = time.time_ns() // 1_000_000
    assert road.json("push", "feed.csv", "--topic", "news", *mapped, "--shift-to-now")["accepted"] == 2

    found = verdicts(road, {"Cloudstack Harbor, said first", "云栈科技，一分钟后说的"})
    first, last = found["Cloudstack Harbor, said first"], found["云栈科技，一分钟后说的"]
    assert (first.source, last.source) == ("desk", "街角")
    assert before_ms <= last.published_at <= time.time_ns() // 1_000_000
    assert last.published_at - first.published_at == 60_000


@pytest.mark.usefixtures("alert")
def test_documents_come_in_over_http(road: Road) -> None:
    request = urllib.request.Request(
        f"{road.page}/api/v1/documents?feed=comments",
        json.dumps([{"text": "蓝鲸生物的药我不敢再吃了", "author": "u1"}, {"text": "Posted over HTTP"}]).encode(),
        {"content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 202
        assert json.load(answer)["accepted"] == 2
    verdicts(road, {"Posted over HTTP"})  # so that no later count of what was accepted has these two in it


@pytest.mark.usefixtures("alert")
def test_a_file_that_is_not_there_is_told_in_one_line(road: Road) -> None:
    done = road.command("push", "none.csv", "--topic", "news")
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert "none.csv" in done.stderr


@pytest.mark.usefixtures("alert")
def test_what_is_refused_is_counted_and_listed_with_its_reason_and_place(road: Road) -> None:
    lines = ('{"text": "A good one among bad ones"}', *REFUSED)
    done = road.command("push", road.file("bad.jsonl", "\n".join(lines)), "--topic", "news")
    assert done.returncode == 0, done.stderr
    assert "1 accepted, 2 refused (groundswell dead-letters says why)" in done.stdout

    letters = road.json("dead-letters")
    assert [letter["reason"] for letter in letters] == ["bad_time", "not_json"]
    assert tuple(base64.b64decode(letter["payload"]).decode() for letter in letters) == REFUSED
    table = road.command("dead-letters", "--reason", "bad_time")
    assert table.returncode == 0, "a text that looks like markup stops nothing"
    partition, offset, place = letters[0]["src"]
    assert f"groundswell.news.v1/{partition}/{offset}/{place}" in table.stdout
    assert "[/b]" in table.stdout
    assert "not_json" not in table.stdout


@pytest.mark.usefixtures("alert")
def test_every_text_pushed_has_its_verdict_on_kafka(road: Road) -> None:
    typed = set(FORMS["said.txt"].splitlines() + TYPED.splitlines())
    found = verdicts(road, typed | {"Pinewind Bank opens a branch", "松涛银行网点搬家了", "Posted over HTTP"})
    assert {one.label for one in found.values()} <= {"negative", "neutral", "positive"}
    assert found["Posted over HTTP"].feed == "comments"


def verdicts(road: Road, texts: set[str]) -> dict[str, Tagged]:
    """These texts on groundswell.tagged.v1, waited for."""
    site = Site(runfile.joined(Settings(state_dir=str(road.folder))), road.folder)
    end_s = time.monotonic() + COMMAND_S
    while True:
        found = {one.text: one for one in asyncio.run(site.values(TAGGED, Tagged))}
        if texts <= found.keys():
            return found
        assert time.monotonic() < end_s, texts - found.keys()


@pytest.mark.usefixtures("alert")
def test_the_books_balance_and_name_a_fate_for_every_input(road: Road) -> None:
    told = road.json("accounting", "--assert")
    assert told["balanced"] is True
    assert told["wrong"] == []
    assert set(told["stages"]) == STAGES - {"dashboard"}
    for counts in told["stages"].values():
        assert counts["read"] == sum(
            counts[fate] for fate in ("applied", "duplicate", "late", "dead_lettered", "in_flight")
        )
    assert told["stages"]["ingest"]["dead_lettered"] == len(REFUSED)


@pytest.mark.usefixtures("alert")
def test_an_endpoint_is_listed_without_its_secret_and_gone_once_removed(road: Road) -> None:
    listed = road.command("endpoints", "list")
    assert listed.returncode == 0, listed.stderr
    assert NAME in listed.stdout
    assert road.subscribed["secret"] not in listed.stdout
    assert road.command("endpoints", "remove", road.subscribed["id"]).returncode == 0
    assert road.json("endpoints", "list") == []


def test_up_ends_in_time_and_leaves_nothing_behind(road: Road) -> None:
    """Last: nothing runs after it."""
    children = descendants(road.process.pid)
    assert len(children) >= len(STAGES) + 1
    started_s = time.monotonic()
    road.process.terminate()
    assert road.process.wait(2 * STOP_S) == 0, up_said(road)
    assert time.monotonic() - started_s < STOP_S
    assert not children & living().keys()
    assert not (road.folder / "running.json").exists()
    assert "Traceback" not in up_said(road)

    done = road.command("alerts")
    assert (done.returncode, done.stdout) == (2, "")
    assert "Start `groundswell up` first" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def living() -> dict[int, int]:
    """Process -> its parent; what has ended and only waits to be noticed is not among them."""
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,stat="], capture_output=True, text=True, check=True)
    rows = [line.split() for line in listed.stdout.splitlines()]
    return {int(pid): int(parent) for pid, parent, state in rows if not state.startswith("Z")}


def descendants(of: int) -> set[int]:
    parents, found = living(), {of}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {of}

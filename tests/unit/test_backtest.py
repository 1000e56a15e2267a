"""Back-tests: what they find is what the detector finds live, what a file may hold, and what people read of it."""

import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from groundswell import times
from groundswell.cli import cli
from groundswell.commands import backtest as command
from groundswell.control import ControlView
from groundswell.errors import BadSetting, GroundswellError
from groundswell.keys import HOUR_MS, MINUTE_MS
from groundswell.records import Row, ScoredBatch, ScoredDocument, Sensitivity, Source, Tagged, Watchlist
from groundswell.settings import Settings
from stream.detection import lines, surge
from stream.detection.detect import Detector, Transition
from stream.detection.policy import Policy
from stream.names import entities
from stream.names.directory import MARKET, Directory
from stream.past import past_file
from stream.past.backtest import Counted, Play
from stream.past.backtest_report import Findings, overlap, report
from stream.past.backtest_series import Series
from stream.past.past_file import BadPast
from stream.topology import Topology
from stream.windows import Window, advance, due_steps, first_step, fold, is_new

MONDAY_MS = 1_699_833_600_000  # 2023-11-13 00:00 UTC
SUBJECTS = ("XNAS:AAPL", "XNAS:MSFT", "XNYS:BAC")
DIRECTORY = Directory(entities.load())
POLICY = Policy(
    settings=surge.Settings(), ln_h=surge.threshold(5.0, len(DIRECTORY)), lateness_ms=30_000, budget=5.0,
    versions={"sensitivity": "balanced"},
)  # fmt: skip
KEEN = Policy(
    settings=surge.Settings(), ln_h=surge.threshold(5000.0, len(DIRECTORY)), lateness_ms=30_000, budget=5000.0,
    versions={"sensitivity": "5000"},
)  # fmt: skip
SURGES = {"XNAS:AAPL": 500, "XNAS:MSFT": 700, "XNYS:BAC": 515}


def talk(subject: str, minutes: int = 900, seed: int = 0, a_minute: int = 8) -> list[ScoredDocument]:
    """Quiet talk, a burst at its minute, some of it late and some of it echoes."""
    chance, found = random.Random(f"{subject}{seed}"), []
    for minute in range(minutes):
        heavy = 0 <= minute - SURGES[subject] < 10
        for _ in range(a_minute if heavy else int(chance.random() < 0.3)):
            at_ms = MONDAY_MS + minute * MINUTE_MS + chance.randrange(60_000)
            late_ms = chance.choice((0, 0, 0, 20_000, 400_000)) if not heavy else 0
            number = len(found)
            found.append(ScoredDocument(
                index=0, id=f"{subject}{number}", story=f"s{number}", echo=chance.random() < 0.1, published_at=at_ms - late_ms,
                ingested_at=at_ms + 500, author=f"a{number}", source=f"w{number % 3}", excerpt=f"words {number}",
                rows=(Row(subject, "negative" if heavy or chance.random() < 0.4 else "neutral", 0.9),),
            ))  # fmt: skip
    return sorted(found, key=lambda one: (one.ingested_at, one.id))


def records(documents: Sequence[ScoredDocument], most: int = 1) -> list[ScoredBatch]:
    made, at, chance = [], 0, random.Random(7)
    while at < len(documents):
        size = chance.randint(1, most)
        piece = [msgspec.structs.replace(one, index=i) for i, one in enumerate(documents[at : at + size])]
        made.append(ScoredBatch(partition=0, offset=len(made), documents=piece))
        at += size
    return made


def one_after_the_other(batches: Sequence[ScoredBatch], policy: Policy = POLICY) -> list[Transition]:
    """What aggregate does with the records of one partition, in so many words."""
    window, detector, told = Window(), Detector(policy, DIRECTORY), []
    for batch in batches:
        for document in batch.documents:
            alone = msgspec.structs.replace(batch, documents=[document])
            if is_new(window, alone):
                if window.closed_ms == 0:
                    window.closed_ms = first_step(document, policy.step_ms)
                advance(window, alone.documents, policy.lateness_ms)
                for start_ms in due_steps(window, policy.step_ms, 10_000):
                    told += detector.close(window, start_ms)
                    window.closed_ms = start_ms + policy.step_ms
            told += detector.early(window, detector.note(fold(window, alone)))
    return told


def abreast(
    lanes: Sequence[Sequence[ScoredBatch]], *policies: Policy, piecemeal: bool = False
) -> list[list[Transition]]:
    told: list[list[Transition]] = [[] for _ in policies or (POLICY,)]
    play = Play(policies or (POLICY,), DIRECTORY, lambda number, one: told[number].append(one))
    left = {number: list(batches) for number, batches in enumerate(lanes)}
    for number in left:
        play.lane(number)
    chance = random.Random(1)
    while hungry := play.turn():
        for number in hungry:
            size = chance.randint(1, 9) if piecemeal else len(left[number])
            piece, left[number] = left[number][:size], left[number][size:]
            play.lane(number).put(piece)
            play.lane(number).over = not left[number]
    return told


def said(told: Sequence[Transition]) -> list[tuple[str, str, bytes]]:
    return sorted((one.event.id, one.event.timestamp, msgspec.json.encode(one.evidence)) for one in told)


def ends(lanes: Sequence[Sequence[ScoredBatch]]) -> list[list[ScoredBatch]]:
    """With a last word in each lane at the same time, so that each closes as much."""
    end_ms = MONDAY_MS + 1_000 * MINUTE_MS
    made = []
    for lane in lanes:
        rows = (Row(lane[0].documents[0].rows[0].subject, "neutral", 0.0),)
        last = msgspec.structs.replace(
            lane[-1].documents[0], published_at=end_ms, ingested_at=end_ms, rows=rows, index=0
        )
        made.append([*lane, ScoredBatch(partition=0, offset=len(lane), documents=[last])])
    return made


@pytest.mark.parametrize(("most", "piecemeal"), [(1, False), (9, True)])
def test_partitions_played_abreast_decide_what_each_decides_by_itself(most: int, piecemeal: bool) -> None:
    lanes = ends([records(talk(subject), most) for subject in SUBJECTS])
    alone = [one for lane in lanes for one in one_after_the_other(lane)]
    assert {one.subject for one in alone if one.event.type == "alert.firing"} == set(SUBJECTS)
    assert said(abreast(lanes, piecemeal=piecemeal)[0]) == said(alone)


def test_two_settings_at_once_decide_what_each_decides_alone() -> None:
    lanes = ends([records(talk(subject, a_minute=2)) for subject in SUBJECTS])
    balanced, keen = abreast(lanes, POLICY, KEEN)
    assert said(balanced) == said(abreast(lanes, POLICY)[0])
    assert said(keen) == said(abreast(lanes, KEEN)[0])
    assert len(keen) > len(balanced)


def test_what_fires_before_the_tested_days_only_teaches(tmp_path: Path) -> None:
    file = tmp_path / "scored.jsonl"
    file.write_bytes(b"\n".join(msgspec.json.encode(one) for subject in SUBJECTS for one in records(talk(subject))))
    found = told(run(str(file), "--from", times.rfc3339(MONDAY_MS + 600 * MINUTE_MS), "--json"))
    assert found["form"] == "scored"
    assert list(found["settings"][0]["by_subject"]) == ["XNAS:MSFT"], "the two others fired while it warmed up"
    assert found["warm_up_days"] == pytest.approx(600 / 1440, abs=0.01)
    assert not found["warm_up_enough"]
    whole = told(run(str(file), "--json"))
    assert whole["settings"][0]["fired"] == 3
    assert whole["warm_up_days"] == 0


def test_only_the_subjects_asked_for_are_counted_and_decide_the_same(tmp_path: Path) -> None:
    file = tmp_path / "scored.jsonl"
    file.write_bytes(b"\n".join(msgspec.json.encode(one) for subject in SUBJECTS for one in records(talk(subject))))
    whole = told(run(str(file), "--json"))["settings"][0]["episodes"]
    one = told(run(str(file), "--subject", "XNYS:BAC", "--json"))["settings"][0]["episodes"]
    assert one == [each for each in whole if each["subject"] == "XNYS:BAC"]
    assert one[0]["minutes_to_fire"] >= 0
    assert one[0]["minutes"] > 0


RULE = """[[rule]]
id = "loud"
name = { en = "Loud", zh = "多" }
subjects = ["XNAS:*"]
all = [{ metric = "count", window = "10m", threshold = 30 }]
"""


def test_rules_of_ones_own_are_played_beside_the_detector(tmp_path: Path) -> None:
    file, rules = tmp_path / "scored.jsonl", tmp_path / "desk.toml"
    file.write_bytes(b"\n".join(msgspec.json.encode(one) for subject in SUBJECTS for one in records(talk(subject))))
    rules.write_text(RULE, encoding="utf-8")
    alone = told(run(str(file), "--json"))["settings"]
    ours, theirs = told(run(str(file), "--rules", str(rules), "--json"))["settings"]
    assert ours == alone[0], "neither changes what the other decides"
    assert theirs["name"] == "desk.toml"
    assert theirs["by_subject"] == {"XNAS:AAPL": 1, "XNAS:MSFT": 1}
    assert {one["rule"] for one in theirs["episodes"]} == {"loud"}
    assert theirs["budget_a_day"] == 0


# -- files ------------------------------------------------------------------------------------------------------------


def counts(minutes: int = 900, subject: str = "XNAS:AAPL") -> list[str]:
    chance = random.Random(3)
    lines = []
    for minute in range(minutes):
        negative = 9 if 0 <= minute - 500 < 10 else int(chance.random() < 0.1)
        if mentions := negative + int(chance.random() < 0.3):
            lines.append(f"{subject},{times.rfc3339(MONDAY_MS + minute * MINUTE_MS)},{negative},{mentions}")
    return lines


def test_counts_are_enough_to_find_a_surge(tmp_path: Path) -> None:
    file = tmp_path / "counts.csv"
    file.write_text("\n".join(["subject,minute,negative,mentions", *counts()]))
    found = told(run(str(file), "--json"))
    [episode] = found["settings"][0]["episodes"]
    assert episode["subject"] == "XNAS:AAPL"
    assert episode["onset"] == times.rfc3339(MONDAY_MS + 500 * MINUTE_MS)
    assert episode["minutes_to_fire"] <= 5
    assert episode["negatives"] >= 90


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("XNAS:AAPL,2023-11-13T00:05:00Z,3,2", "3 negatives, 2 mentions"),
        ("XNAS:AAPL,2023-11-13T00:05:00,1,2", "without a zone"),
        ("XNAS:AAPL,yesterday,1,2", "yesterday"),
        ("XNAS:AAPL,2023-11-13T00:05:00Z,one,2", "'one' is no count"),
        ("XNAS:AAPL,2023-11-13T00:05:00Z,-1,2", "'-1' is no count"),
        ("XNAS:AAPL,2023-11-13T00:05:00Z,1", "zip"),
        (",2023-11-13T00:05:00Z,1,2", "'' is no subject"),
        ("TEST:DRILL1,2023-11-13T00:05:00Z,1,2", "'TEST:DRILL1' is no subject"),
        ("XNAS:AAPL,2023-11-13T00:00:30Z,0,1", "has counts of that minute already"),
    ],
)
def test_a_bad_line_is_named_by_its_number_and_nothing_is_made_of_the_file(
    tmp_path: Path, line: str, said: str
) -> None:
    file = tmp_path / "counts.csv"
    file.write_text(f"subject,minute,negative,mentions\nXNAS:AAPL,2023-11-13T00:00:00Z,1,2\n{line}\n")
    with pytest.raises(BadPast) as refused:
        past_file.read(str(file), Topology())
    assert str(refused.value).startswith("Line 3: ")
    assert said in str(refused.value)
    found = past_file.read(str(file), Topology(), skip_bad=True)
    assert (found.skipped, found.documents) == (1, 2)


@pytest.mark.parametrize(
    "content",
    ["subject,negative,mentions\nA,1,2\n", "", '{"neither": 1}\n', '{"subject": "A", "negatives": 1, "mentions": 1}\n'],
)
def test_a_file_of_something_else_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / ("counts.csv" if "," in content and "{" not in content else "counts.jsonl")
    file.write_text(content)
    with pytest.raises(BadPast):
        past_file.read(str(file), Topology())


def test_an_hour_of_counts_is_strewn_over_its_minutes_the_same_way_each_time(tmp_path: Path) -> None:
    file = tmp_path / "counts.csv"
    file.write_text(
        "subject,hour,negative,mentions,reach\nXNAS:AAPL,2023-11-13T05:00:00Z,30,100,150\nXNAS:AAPL,2023-11-13T06:00:00Z,2,2,2\n"
    )
    [first], [again] = (list(past_file.read(str(file), Topology()).lanes.values()) for _ in range(2))
    assert first == again
    early = [one for one in first if isinstance(one, Counted) and one.minute_ms < MONDAY_MS + 6 * HOUR_MS]
    assert [sum(column) for column in zip(*(one[2:] for one in early), strict=True)] == [30, 100, 150]
    assert len({one.minute_ms for one in early}) > 20
    assert all(MONDAY_MS + 5 * HOUR_MS <= one.minute_ms < MONDAY_MS + 6 * HOUR_MS for one in early)


def test_tagged_records_are_counted_for_their_companies_topics_markets_and_all_talk(tmp_path: Path) -> None:
    tagged = Tagged(
        id="d1", src=Source(3, 7), story="s", title="Apple loses", text="Much of it.", published_at=MONDAY_MS, ingested_at=MONDAY_MS + 5,
        tagged_at=MONDAY_MS + 9, label="negative", negative=0.9, neutral=0.1, positive=0.0, topics=[("fraud", 0.8), ("other", 0.3)],
        companies=[Row("XNAS:AAPL", "negative", 0.95)],
    )  # fmt: skip
    file = tmp_path / "tagged.jsonl"
    file.write_bytes(msgspec.json.encode(tagged) + b"\n" + msgspec.json.encode(tagged) + b"\n")  # twice: by a zombie
    found = past_file.read(str(file), Topology())
    assert found.form == "tagged"
    rows = [row for lane in found.lanes.values() for item in lane for row in item.documents[0].rows]  # type: ignore[union-attr]
    assert sorted(row.subject for row in rows) == sorted(["XNAS:AAPL", "topic:fraud", "market:XNYS", MARKET])
    assert all(number == Topology().scored_partition(item.documents[0].rows[0].subject)  # type: ignore[union-attr]
               for number, lane in found.lanes.items() for item in lane)  # fmt: skip


# -- what people read -------------------------------------------------------------------------------------------------


def findings(name: str, told: Sequence[Transition]) -> Findings:
    found = Findings(name, DIRECTORY, MONDAY_MS, MONDAY_MS + 3_000 * MINUTE_MS, 5.0, 9.0)
    for one in told:
        found.hear(one)
    return found


def test_two_settings_side_by_side_say_what_only_one_tells() -> None:
    lanes = ends([records(talk(subject, a_minute=2)) for subject in SUBJECTS])
    keen, balanced = (
        findings(name, one) for name, one in zip(("5000", "balanced"), abreast(lanes, KEEN, POLICY), strict=True)
    )
    play = Play([KEEN, POLICY], DIRECTORY, lambda _number, _one: None)
    made = report(play, [keen, balanced], from_ms=MONDAY_MS, until_ms=MONDAY_MS + 30 * 24 * HOUR_MS, documents=1)
    difference = made["difference"]
    assert difference["both"] == len(balanced.episodes)
    assert len(difference["only_first"]) == len(keen.episodes) - len(balanced.episodes) > 0
    assert difference["only_second"] == []
    line = command.headline(made, made["settings"][0], made["settings"][1])
    assert line.startswith(
        f"5000: would have fired {len(keen.episodes)} times in 30 days (balanced: {len(balanced.episodes)})"
    )


def test_a_night_in_new_york_is_outside_office_hours_and_its_morning_is_not() -> None:
    lanes = ends([records(talk("XNAS:AAPL"))])  # its surge: 08:20 UTC, before dawn in New York
    [episode] = findings("balanced", abreast(lanes)[0]).episodes.values()
    assert not episode.office_hours
    one = findings("balanced", [])
    assert one._office("XNAS:AAPL", MONDAY_MS + 15 * HOUR_MS)  # 10:00 in New York
    assert not one._office("XSHG:600519", MONDAY_MS + 15 * HOUR_MS)  # 23:00 in Shanghai


def test_episodes_of_one_subject_are_one_surge_when_they_overlap() -> None:
    lanes = ends([records(talk(subject)) for subject in SUBJECTS])
    found = list(findings("balanced", abreast(lanes)[0]).episodes.values())
    assert all(overlap(one, one) for one in found)
    assert not any(overlap(one, other) for one in found for other in found if one is not other)


def test_a_picture_shows_every_negative_and_what_was_expected() -> None:
    until_ms = MONDAY_MS + 1_000 * MINUTE_MS
    play = Play([POLICY], DIRECTORY, lambda _number, _one: None)
    series = Series(play, MONDAY_MS, until_ms)
    documents = talk("XNAS:AAPL")
    play.lane(0).put(ends([records(documents)])[0])
    play.lane(0).over = True
    play.turn()
    line = series.line("XNAS:AAPL")
    negatives = sum(row.label == "negative" for one in documents if not one.echo for row in one.rows)
    assert line.negatives.sum() == negatives
    assert series.busiest([], 3) == ["XNAS:AAPL"]
    assert line.expected[40] > 0
    assert line.low[40] <= line.expected[40] <= line.high[40]


def test_a_picture_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    file = tmp_path / "counts.csv"
    file.write_text("\n".join(["subject,minute,negative,mentions", *counts()]))
    picture = tmp_path / "p.svg"
    assert "1 time" not in run(str(file), "--picture", str(picture), "--against", "fewer").output
    assert "XNAS:AAPL" in picture.read_text() or picture.stat().st_size > 10_000


def test_what_is_no_sensitivity_is_refused_with_what_is() -> None:
    with pytest.raises(BadSetting) as refused:
        command.setting("loud", Settings(), DIRECTORY)
    assert "fewer, balanced, more" in refused.value.remedy
    number, word = command.setting("20", Settings(), DIRECTORY), command.setting("more", Settings(), DIRECTORY)
    assert number.ln_h == word.ln_h
    assert command.setting("2.5", Settings(), DIRECTORY).ln_h > number.ln_h


def test_the_calibrated_line_is_the_one_that_aggregate_judges_by(tmp_path: Path) -> None:
    calibrated = Settings(line="calibrated")
    for word in (None, "more", "2.5"):
        used = command.setting(word, calibrated, DIRECTORY)
        wanted = lines.policy(
            Settings(line="calibrated", sensitivity={None: "balanced", "more": "more", "2.5": 2.5}[word]), DIRECTORY
        )
        assert (used.ln_h, used.mode) == (wanted.ln_h, "calibrated")
        assert used.ln_h < command.setting(word, Settings(), DIRECTORY).ln_h
    file, config = tmp_path / "scored.jsonl", tmp_path / "groundswell.toml"
    file.write_bytes(b"\n".join(msgspec.json.encode(one) for one in records(talk("XNAS:AAPL", a_minute=4))))
    config.write_text('line = "calibrated"\n')
    plain, lower = (
        told(CliRunner().invoke(cli, [*more, "backtest", str(file), "--json"]))["settings"][0]
        for more in ([], ["--config", str(config)])
    )
    assert (plain["line"], lower["line"]) == ("guaranteed", "calibrated")
    assert lower["ln_h"] < plain["ln_h"]
    assert lower["episodes"][0]["fired"] <= plain["episodes"][0]["fired"]


def test_a_sensitivity_may_be_that_of_a_list_or_of_a_subject_alone(tmp_path: Path) -> None:
    view = ControlView()
    for one in (
        Watchlist(id="watchlist_desk", name="desk", subjects=["XNAS:AAPL", "XNYS:*"], by="", at=1),
        Sensitivity(id="sensitivity_watchlist:desk", watchlist="desk", value="fewer", by="", at=1),
    ):
        view.apply(one.id, msgspec.json.encode(one))
    more, as_set = (command.setting(word, Settings(), DIRECTORY, view, "watchlist:desk") for word in ("more", None))
    assert more.line("XNAS:AAPL") < as_set.line("XNAS:AAPL")
    assert more.line("XNAS:MSFT") >= as_set.line("XNAS:MSFT"), "the budget is kept: others pay for it"
    with pytest.raises(GroundswellError):
        command.setting("more", Settings(), DIRECTORY, view, "watchlist:none")
    file = tmp_path / "scored.jsonl"
    file.write_bytes(b"\n".join(msgspec.json.encode(one) for subject in SUBJECTS for one in records(talk(subject))))
    found = told(
        run(
            str(file), "--about", "XNAS:MSFT", "--sensitivity", "more", "--against", "fewer", "--against", "2", "--json"
        )
    )
    assert [one["name"] for one in found["settings"]] == ["more", "fewer", "2"]
    assert {one for each in found["settings"] for one in each["by_subject"]} == {"XNAS:MSFT"}


def test_who_waits_for_it_is_told_how_far_it_is_and_why_it_failed(tmp_path: Path) -> None:
    file, empty = tmp_path / "scored.jsonl", tmp_path / "empty.csv"
    file.write_bytes(b"\n".join(msgspec.json.encode(one) for one in records(talk("XNAS:AAPL"))))
    empty.write_text("subject,minute,negative,mentions\nXNAS:AAPL,2026-11-20T00:00:00Z,0,1\n")
    command_line = [sys.executable, "-m", "groundswell", "backtest", "--json", "--progress"]
    done = subprocess.run([*command_line, str(file)], capture_output=True, check=True, timeout=60)
    shares = [msgspec.json.decode(line)["share"] for line in done.stderr.splitlines()]
    assert shares == sorted(shares)
    assert msgspec.json.decode(done.stdout)["settings"][0]["fired"] == 1
    failed = subprocess.run(
        [*command_line, str(empty), "--from", "2026-11-21T00:00:00Z"], capture_output=True, check=False, timeout=60
    )
    assert failed.returncode == 2
    assert msgspec.json.decode(failed.stderr.splitlines()[0])["problem"]["reason"] == "nothing_to_test"


def test_without_a_file_a_time_is_wanted() -> None:
    assert "--from TIME" in run().output
    assert isinstance(run("--from", "yesterday").exception, BadSetting | Exception)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["backtest", *arguments])


def told(result: Result) -> dict[str, object] | object:
    if result.exception is not None:
        raise result.exception
    return msgspec.json.decode(result.stdout)

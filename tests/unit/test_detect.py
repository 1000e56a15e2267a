"""The detector and its gates on small invented streams: what must fire does, once, with its onset; what must not stays silent.

Rows are made by `Stream`, folded as aggregate folds them (`play`), so that cuts and reloads are those of production.
"""

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundswell import times
from groundswell.decisions import Detected, SubjectState
from groundswell.keys import HOUR_MS, MINUTE_MS
from groundswell.records import NEGATIVE, NEUTRAL, AlertEvent, Row, ScoredBatch, ScoredDocument
from stream.detection import surge
from stream.detection.cards import family
from stream.detection.detect import Detector, Transition, expectation
from stream.detection.episodes import Episode
from stream.detection.policy import Policy
from stream.names import entities
from stream.names.directory import MARKET, Directory
from stream.windows import Window, advance, due_steps, fold, is_new

MONDAY_MS = 1_699_833_600_000  # 2023-11-13 00:00 UTC
SUBJECT, OTHER, TOPIC = "XNAS:AAPL", "XNAS:MSFT", "topic:fraud"
DIRECTORY = Directory(entities.load())
SETTINGS = surge.Settings()
POLICY = Policy(
    settings=SETTINGS, ln_h=surge.threshold(5.0, len(DIRECTORY)), lateness_ms=30_000, page_url="http://page"
)
QUIET_MINUTES = 1_000
SURGE_MS = MONDAY_MS + QUIET_MINUTES * MINUTE_MS


@dataclass
class Stream:
    """Builds rows in order of time. Each document has a story, an author and words of its own unless told otherwise."""

    documents: list[ScoredDocument] = field(default_factory=list)

    def say(
        self, at_ms: int, *, subjects: Sequence[str] = (SUBJECT,), label: str = NEGATIVE, echo: bool = False, story: str = "",
        author: str = "", source: str = "", feed: str = "comments", about: Sequence[str] = (),
    ) -> None:  # fmt: skip
        number = len(self.documents)
        self.documents.append(
            ScoredDocument(
                index=0, id=f"d{number}", story=story or f"s{number}", echo=echo, published_at=at_ms, ingested_at=at_ms + 2_000,
                source=source or f"forum{number % 3}", author=author or f"a{number}", feed=feed,  # type: ignore[arg-type]
                lang="en", excerpt=f"words number {number}", about=list(about or [one for one in subjects if ":" in one and one.isupper()]),
                rows=[Row(subject, label, 0.9) for subject in subjects],  # type: ignore[arg-type]
            )
        )  # fmt: skip

    def quiet(self, minutes: int = QUIET_MINUTES, start_ms: int = MONDAY_MS, seed: int = 1, **given: Any) -> "Stream":
        """One negative in ten minutes or so, and some neutral talk."""
        chance = np.random.default_rng(seed)
        for minute in range(minutes):
            for label, rate in ((NEGATIVE, 0.1), (NEUTRAL, 0.3)):
                for _ in range(chance.poisson(rate)):
                    self.say(start_ms + minute * MINUTE_MS + int(chance.integers(0, 60_000)), label=label, **given)
        return self

    def surge(self, minutes: int = 12, a_minute: int = 10, start_ms: int = SURGE_MS, **given: Any) -> "Stream":
        for i in range(minutes * a_minute):
            self.say(start_ms + i * MINUTE_MS // a_minute, **given)
        return self

    def tick(self, until_ms: int, start_ms: int = SURGE_MS, subject: str = OTHER) -> "Stream":
        """Somebody else's neutral talk each minute, so that time goes on."""
        for at_ms in range(start_ms, until_ms, MINUTE_MS):
            self.say(at_ms, subjects=(subject,), label=NEUTRAL)
        return self

    def in_order(self) -> list[ScoredDocument]:
        return sorted(self.documents, key=lambda one: (one.published_at, one.id))


def one_each(documents: Iterable[ScoredDocument]) -> list[ScoredBatch]:
    """A record a document."""
    return [ScoredBatch(partition=0, offset=i, documents=[one]) for i, one in enumerate(documents)]


@dataclass
class Player:
    """What aggregate does with a record, without Kafka and Redis."""

    policy: Policy = POLICY
    window: Window = field(default_factory=Window)
    told: list[Transition] = field(default_factory=list)
    held: list[tuple[Detected, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.detector = self._detector()

    def _detector(self) -> Detector:
        return Detector(
            self.policy, DIRECTORY, tell=lambda decision, subject, _facts: self.held.append((decision, subject))
        )

    def play(self, records: Iterable[ScoredBatch]) -> "Player":
        for record in records:
            for document in record.documents:
                self._take(msgspec.structs.replace(record, documents=[document]))
        return self

    def _take(self, alone: ScoredBatch) -> None:
        if is_new(self.window, alone):
            if self.window.closed_ms == 0:
                self.window.closed_ms = alone.documents[0].published_at // self.policy.step_ms * self.policy.step_ms
            advance(self.window, alone.documents, self.policy.lateness_ms)
            for start_ms in due_steps(self.window, self.policy.step_ms, 10_000):
                self.told += self.detector.close(self.window, start_ms)
                self.window.closed_ms = start_ms + self.policy.step_ms
        self.told += self.detector.early(self.window, self.detector.note(fold(self.window, alone)))

    def reload(self) -> None:
        """Everything that Redis keeps, through its formats; everything else is lost."""
        old, self.detector = self.detector, self._detector()
        state = None
        if old.state is not None:
            rows = [surge.rows_to_bytes(old.state, i) for i in range(len(old.subjects))]
            state = surge.State.concat([surge.row_from_bytes(row) for row in rows])
        self.detector.restore(old.subjects, state)
        self.detector.open_episodes = {
            subject: msgspec.json.decode(msgspec.json.encode(one), type=Episode)
            for subject, one in old.open_episodes.items()
        }
        self.detector.cards = {subject: deque(cards, maxlen=500) for subject, cards in old.cards.items()}
        self.detector.echoes = {subject: Counter(counts) for subject, counts in old.echoes.items()}

    @property
    def events(self) -> list[AlertEvent]:
        return [one.event for one in self.told]

    def fired(self, subject: str = SUBJECT) -> list[AlertEvent]:
        return [one.event for one in self.told if one.subject == subject and one.event.type == "alert.firing"]

    def reasons(self, subject: str = SUBJECT) -> set[Detected]:
        return {decision for decision, about in self.held if about == subject}


def played(stream: Stream) -> Player:
    return Player().play(one_each(stream.in_order()))


# -- what fires -------------------------------------------------------------------------------------------------------


def test_a_surge_fires_once_with_its_onset_and_its_documents() -> None:
    player = played(Stream().quiet().surge())
    [event] = player.fired()
    data = event.data
    assert {one.subject for one in player.told} == {SUBJECT}
    assert abs(times.parse_ms(data.started_at) - SURGE_MS) <= 2 * MINUTE_MS
    assert times.parse_ms(data.detected_at) <= SURGE_MS + 5 * MINUTE_MS
    assert data.state == "firing"
    assert data.kind == "count"
    assert data.observed.negatives >= 5
    assert data.observed.negatives > data.expected.high
    assert data.effect_low <= data.effect <= data.effect_high
    assert data.log10_e_value >= data.log10_threshold
    assert len(data.documents) == 5
    assert {one.id for one in data.documents} <= {one.id for one in Stream().quiet().surge().documents}
    assert "Apple" in data.summary["en"]
    assert "苹果" in data.summary["zh"]
    assert data.links["evidence"] == f"http://page/alerts/{data.episode_id}"


def test_quiet_talk_of_a_day_does_not_fire() -> None:
    player = played(Stream().quiet(minutes=1_440))
    assert player.told == []


def test_it_says_so_again_only_when_it_grew_and_ends_when_it_is_calm() -> None:
    stream = Stream().quiet().surge(minutes=20).quiet(minutes=100, start_ms=SURGE_MS + 20 * MINUTE_MS, seed=2)
    player = played(stream)
    kinds = [event.type for event in player.events]
    assert kinds[0] == "alert.firing"
    assert kinds[-1] == "alert.resolved"
    assert kinds.count("alert.firing") == kinds.count("alert.resolved") == 1
    assert [event.data.sequence for event in player.events] == list(range(len(kinds)))
    assert len({event.data.episode_id for event in player.events}) == 1
    assert len({event.id for event in player.events}) == len(kinds)
    end = player.events[-1].data
    assert end.state == "resolved"
    assert end.resolved_at is not None
    assert SURGE_MS + 30 * MINUTE_MS <= times.parse_ms(end.resolved_at) <= SURGE_MS + 75 * MINUTE_MS
    assert player.detector.standing(SUBJECT) in (SubjectState.RESOLVED, SubjectState.INACTIVE)


def test_a_surge_that_comes_back_within_the_hour_is_the_same_episode_counted_from_the_same_onset() -> None:
    first_end_ms = SURGE_MS + 15 * MINUTE_MS
    again_ms = SURGE_MS + 75 * MINUTE_MS
    stream = Stream().quiet().surge(minutes=15).quiet(minutes=60, start_ms=first_end_ms, seed=2)
    stream.surge(minutes=12, a_minute=12, start_ms=again_ms)
    player = played(stream)
    firing = player.fired()
    assert [event.data.previous_state for event in firing] == ["pending", "resolved"]
    assert [one.decision for one in player.told if one.event.type == "alert.firing"] == [
        Detected.FIRED,
        Detected.REOPENED,
    ]
    first, second = firing
    assert first.data.episode_id == second.data.episode_id
    assert first.id != second.id
    assert first.data.started_at == second.data.started_at
    assert second.data.observed.negatives > 150, "counted since the onset it names"
    assert second.data.resolved_at is None


def test_a_surge_after_more_than_an_hour_is_a_new_episode() -> None:
    again_ms = SURGE_MS + 170 * MINUTE_MS
    stream = Stream().quiet().surge(minutes=15).quiet(minutes=155, start_ms=SURGE_MS + 15 * MINUTE_MS, seed=2)
    player = played(stream.surge(minutes=15, a_minute=12, start_ms=again_ms))
    firing = player.fired()
    assert len(firing) == 2
    assert firing[0].data.episode_id != firing[1].data.episode_id
    assert player.detector.open_episodes[SUBJECT].id == firing[1].data.episode_id


# -- what is held back ------------------------------------------------------------------------------------------------


def test_a_storm_of_copies_does_not_fire() -> None:
    stream = Stream().quiet()
    stream.say(SURGE_MS, story="storm")
    for i in range(200):
        stream.say(SURGE_MS + i * 3_000, story="storm", echo=True)
    player = played(stream.tick(SURGE_MS + 15 * MINUTE_MS))
    assert player.told == []
    assert player.detector.echoes[SUBJECT]["storm"] == 200


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"author": "one-man"}, Detected.HELD_FEW_VOICES),
        ({"story": "one-story"}, Detected.HELD_FEW_STORIES),
        ({"feed": "news", "source": "one-paper", "author": "-"}, Detected.HELD_FEW_VOICES),
    ],
    ids=["author", "story", "publisher"],
)
def test_one_voice_alone_does_not_fire(given: dict[str, str], reason: Detected) -> None:
    player = played(Stream().quiet().surge(minutes=20, **given))
    assert player.fired() == []
    assert reason in player.reasons()


@pytest.mark.parametrize(
    ("loud", "reason"),
    [
        ({"author": "one-man"}, Detected.HELD_ONE_AUTHOR),
        ({"feed": "news", "source": "one-paper"}, Detected.HELD_ONE_PUBLISHER),
    ],
    ids=["author", "publisher"],
)
def test_one_loud_voice_among_a_few_others_does_not_fire(loud: dict[str, str], reason: Detected) -> None:
    stream = Stream().quiet().surge(minutes=20, **loud)
    for i in range(4):
        stream.say(SURGE_MS + i * 4 * MINUTE_MS)
    player = played(stream)
    assert player.fired() == []
    assert reason in player.reasons()


def test_one_companys_surge_fires_neither_its_topic_nor_the_market() -> None:
    everyday = {"subjects": (OTHER, TOPIC, MARKET)}
    stream = (
        Stream().quiet(seed=1, subjects=(SUBJECT, TOPIC, MARKET)).quiet(seed=2, **everyday).quiet(seed=3, **everyday)
    )
    stream.surge(minutes=20, a_minute=12, subjects=(SUBJECT, TOPIC, MARKET), about=(SUBJECT,))
    player = played(stream)
    assert {event.data.subject.id for event in player.events} == {SUBJECT}
    assert player.reasons(TOPIC) >= {Detected.HELD_ONE_COMPANY}


def test_a_topic_that_many_companies_share_does_fire() -> None:
    stream = Stream().quiet(subjects=(OTHER, TOPIC))
    for i in range(60):
        company = f"XTST:C{i % 12:03d}"
        stream.say(SURGE_MS + i * 6_000, subjects=(company, TOPIC), about=(company,))
    assert len(played(stream).fired(TOPIC)) == 1


def test_a_subject_that_is_still_learning_does_not_fire() -> None:
    stream = Stream()
    for i in range(19):
        stream.say(MONDAY_MS + i * 500)
    player = played(stream.tick(MONDAY_MS + 5 * MINUTE_MS, MONDAY_MS))
    assert player.told == []
    assert player.detector.standing(SUBJECT) is SubjectState.LEARNING
    assert player.reasons() <= {Detected.HELD_LEARNING}


def test_each_held_crossing_is_told_once() -> None:
    player = played(Stream().quiet().surge(minutes=20, author="one-man"))
    assert len(player.held) == len(set(player.held))


# -- the same rows, cut otherwise -------------------------------------------------------------------------------------


def whole_story() -> list[ScoredDocument]:
    stream = Stream().quiet(minutes=400).surge(minutes=6, start_ms=MONDAY_MS + 400 * MINUTE_MS)
    stream.quiet(minutes=54, start_ms=MONDAY_MS + 406 * MINUTE_MS, seed=5)
    stream.surge(minutes=5, a_minute=14, start_ms=MONDAY_MS + 460 * MINUTE_MS)
    return stream.in_order()


STORY = whole_story()
CALM = Player().play(one_each(STORY))


def test_the_story_of_the_next_tests_fires_resolves_and_reopens() -> None:
    assert [event.type for event in CALM.events if event.type != "alert.updated"] == [
        "alert.firing",
        "alert.resolved",
        "alert.firing",
    ]


@settings(max_examples=12, deadline=None)
@given(st.sets(st.integers(0, len(STORY) - 1), max_size=12))
def test_reloads_anywhere_change_no_event_and_no_evidence(reloads: set[int]) -> None:
    player = Player()
    for i, record in enumerate(one_each(STORY)):
        if i in reloads:
            player.reload()
        player.play([record])
    assert player.told == CALM.told
    assert player.detector.state is not None
    assert CALM.detector.state is not None
    assert player.detector.state.to_bytes() == CALM.detector.state.to_bytes()


def test_a_reload_before_every_row_of_the_surge_changes_nothing() -> None:
    player, start_ms = Player(), MONDAY_MS + 399 * MINUTE_MS
    for record in one_each(STORY):
        if start_ms < record.documents[0].published_at < start_ms + 15 * MINUTE_MS:
            player.reload()
        player.play([record])
    assert player.told == CALM.told


@settings(max_examples=8, deadline=None)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=6))
def test_arrays_of_another_size_give_the_same_episodes(sizes: list[int]) -> None:
    """A record is judged when all of it is counted, so an event's counts may differ by its neighbours; its identity not."""
    records, at, offset = [], 0, 0
    while at < len(STORY):
        size = sizes[offset % len(sizes)]
        documents = [msgspec.structs.replace(one, index=i) for i, one in enumerate(STORY[at : at + size])]
        records.append(ScoredBatch(partition=0, offset=offset, documents=documents))
        at, offset = at + size, offset + 1
    player = Player().play(records)
    assert len(player.fired()) == len(CALM.fired())
    for found, expected in zip(player.fired(), CALM.fired(), strict=True):
        drift_ms = times.parse_ms(found.data.started_at) - times.parse_ms(expected.data.started_at)
        assert abs(drift_ms) <= 2 * MINUTE_MS


def test_duplicates_change_nothing() -> None:
    records = one_each(STORY)
    doubled = [record for i, record in enumerate(records) for record in (*records[max(0, i - 3) : i], record)]
    assert Player().play(doubled).told == CALM.told


# -- the early look ---------------------------------------------------------------------------------------------------


def test_a_strong_surge_fires_before_its_minute_is_over() -> None:
    stream = Stream().quiet()
    for i in range(40):
        stream.say(SURGE_MS + i * 1_000)
    [event] = played(stream).fired()
    assert times.parse_ms(event.data.detected_at) < SURGE_MS + MINUTE_MS
    assert event.data.observed.negatives < 40


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 12), min_size=1, max_size=8), st.integers(0, 10), st.integers(0, 3))
def test_what_crosses_early_crosses_at_the_close(before: list[int], open_count: int, later: int) -> None:
    state = surge.State.new(1, 0.2, SETTINGS)
    quiet = np.array([False])
    for step, count in enumerate([0] * 30 + before):
        slot = surge.local_slots("UTC", MONDAY_MS // 1000 + 60 * step)
        state, _ = surge.tick(state, slot, [count], [count + 1], quiet, SETTINGS)
    slot = surge.local_slots("UTC", MONDAY_MS // 1000 + 60 * (30 + len(before)))
    early = surge.early(state, slot, [open_count], SETTINGS)
    _, verdict = surge.tick(state, slot, [open_count + later], [open_count + later + 2], quiet, SETTINGS)
    assert verdict.ln_m[0] >= early[0] - 1e-9


def test_without_the_early_look_the_same_surge_fires_too_and_not_sooner() -> None:
    class Patient(Detector):
        def early(self, window: Window, subjects: Iterable[str]) -> list[Transition]:
            return []

    stream = Stream().quiet().surge().tick(SURGE_MS + 15 * MINUTE_MS)
    eager, patient = played(stream), Player()
    patient.detector = Patient(POLICY, DIRECTORY)
    patient.play(one_each(stream.in_order()))
    assert len(eager.fired()) == len(patient.fired()) == 1
    assert times.parse_ms(eager.fired()[0].timestamp) <= times.parse_ms(patient.fired()[0].timestamp)


# -- smaller contracts ------------------------------------------------------------------------------------------------


def test_other_step_widths_find_the_same_surge() -> None:
    settings_5 = surge.Settings(step_s=300)
    policy = replace(POLICY, settings=settings_5, ln_h=surge.threshold(5.0, len(DIRECTORY), step_s=300))
    stream = Stream().quiet(minutes=1_500).surge(minutes=40, a_minute=8, start_ms=MONDAY_MS + 1_500 * MINUTE_MS)
    player = Player(policy=policy)
    player.play(one_each(stream.in_order()))
    assert len(player.fired()) == 1


def test_missing_steps_teach_nothing() -> None:
    player = played(Stream().quiet(minutes=120))
    before = player.detector.expectations(MONDAY_MS + 2 * HOUR_MS)
    player.detector.gap(600)
    assert player.detector.expectations(MONDAY_MS + 2 * HOUR_MS) == before


def test_stories_with_one_headline_are_one_family() -> None:
    def named(**given: Any) -> str:
        stream = Stream()
        stream.say(MONDAY_MS)
        from stream.detection.cards import card
        from stream.windows import Applied

        one = msgspec.structs.replace(stream.documents[0], **given)
        return family(card(Applied(one, tuple(one.rows), MONDAY_MS, open=True), SUBJECT))

    headline = "Pinewind Bank says that all its branches stay open"
    assert named(title=headline, story="x") == named(title=headline.upper() + " today", story="y")
    assert named(url="https://a.example/1?utm=2", story="x") == named(url="https://a.example/1", story="y")
    assert named(title="松涛银行下调评级", story="x") != named(title="松涛银行下调评级", story="y"), "too short to say"


def test_the_band_of_the_chart_is_ordered() -> None:
    for mean in (0.0, 0.01, 0.5, 20.0):
        band = expectation(mean, 0.3, 0.2)
        assert band.low_1 <= band.high_1
        assert band.low_5 <= band.high_5
        assert band.low_60 <= band.high_60
        assert band.high_1 <= band.high_5 <= band.high_60


def test_people_are_told_again_at_once_when_a_surge_becomes_critical() -> None:
    player = played(Stream().quiet().surge(minutes=12, a_minute=8))
    told = [(one.event.type, one.event.data.severity) for one in player.told]
    assert told[:2] == [("alert.firing", "warning"), ("alert.updated", "critical")]
    first, second = (one.event for one in player.told[:2])
    assert second.data.sequence == first.data.sequence + 1
    assert times.parse_ms(second.timestamp) - times.parse_ms(first.timestamp) < 15 * MINUTE_MS

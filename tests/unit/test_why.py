"""Why it did not fire: the counts, the line, the first gate that said no, and how many more negatives it would have taken."""

import pytest

from groundswell.keys import MINUTE_MS
from stream.detection.why import why
from tests.unit.test_detect import MONDAY_MS, OTHER, SUBJECT, SURGE_MS, Player, Stream, one_each, played


def test_the_number_that_it_would_have_taken_is_the_number_that_crosses() -> None:
    quiet = Stream().quiet()
    player = Player().play(one_each(quiet.in_order()))
    start_ms = player.window.closed_ms
    said = why(player.detector, player.window, SUBJECT, start_ms)
    assert said is not None
    assert said.decision == "below_threshold"
    assert said.exact
    assert said.ln_m < said.ln_h
    assert said.more is not None
    fewer, enough = (why_with(start_ms, said.more - 1), why_with(start_ms, said.more))
    assert fewer.ln_m < fewer.ln_h <= enough.ln_m
    assert enough.more == 0
    assert enough.negatives == said.negatives + said.more


def why_with(start_ms: int, more: int):  # type: ignore[no-untyped-def]
    player = Player().play(one_each(Stream().quiet().in_order()))
    for _ in range(more):
        player.window.minutes.setdefault(SUBJECT, {}).setdefault(start_ms, [0, 0, 0, 0, 0])[0] += 1
    found = why(player.detector, player.window, SUBJECT, start_ms)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("given", "gate"), [({"author": "one-man"}, "held_few_voices"), ({"story": "one-story"}, "held_few_stories")]
)
def test_the_floor_that_held_it_back_is_named(given: dict[str, str], gate: str) -> None:
    player = played(Stream().quiet().surge(minutes=5, **given))
    said = why(player.detector, player.window, SUBJECT, player.window.closed_ms)
    assert said is not None
    assert said.decision == gate
    assert said.more == 0
    assert said.floors


def test_an_open_episode_and_an_unknown_subject_say_so() -> None:
    player = played(Stream().quiet().surge(minutes=5))
    said = why(player.detector, player.window, SUBJECT, player.window.closed_ms)
    assert said is not None
    assert said.episode == player.fired()[0].data.episode_id
    assert said.more is None
    assert why(player.detector, player.window, OTHER, player.window.closed_ms) is None


def test_a_learning_subject_says_that_it_learns() -> None:
    stream = Stream()
    stream.say(MONDAY_MS)
    player = played(stream)
    said = why(player.detector, player.window, SUBJECT, player.window.closed_ms)
    assert said is not None
    assert said.learning
    assert said.decision == "held_learning"


def test_asking_changes_nothing() -> None:
    player = played(Stream().quiet().surge(minutes=2))
    assert player.detector.state is not None
    before, episodes = player.detector.state.to_bytes(), dict(player.detector.open_episodes)
    why(player.detector, player.window, SUBJECT, SURGE_MS + MINUTE_MS)
    assert player.detector.state.to_bytes() == before
    assert player.detector.open_episodes == episodes

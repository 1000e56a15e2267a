"""`groundswell watchlist` and `groundswell sensitivity`: what is written, what is refused, and that aggregate takes it up."""

import asyncio
import json
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import pytest
from click.testing import CliRunner

from groundswell.clock import ManualClock
from groundswell.commands import watchlists
from groundswell.control import ControlView
from groundswell.errors import GroundswellError
from groundswell.markets import is_market
from groundswell.settings import Settings
from stream.aggregate import AggregateWork
from stream.detection import lines
from stream.detection.detect import Detector
from stream.detection.list_desk import ListDesk
from stream.topology import Topology
from tests.unit.test_detect import DIRECTORY, OTHER, POLICY, SUBJECT, SURGE_MS


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs a command line against a control topic in memory; `view` is what it holds."""
    view = ControlView()

    class Pen:
        """The desk applies what it wrote by itself."""

        async def write(self, thing: Any) -> None:
            assert thing.id

        async def erase(self, object_id: str) -> None:
            assert object_id

    desk = ListDesk(Settings(), ManualClock(SURGE_MS), view, Pen(), lambda: DIRECTORY)
    monkeypatch.setattr(watchlists, "at_lists", lambda _ctx, do: asyncio.run(do(desk)))

    def run(*line: str) -> str:
        group = {"watchlist": watchlists.watchlist, "sensitivity": watchlists.sensitivity}[line[0]]
        done = CliRunner().invoke(group, list(line[1:]), obj={"environment": {"USER": "ann"}}, standalone_mode=True)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done.output

    run.view = view  # type: ignore[attr-defined]
    return run


def test_subjects_come_and_go_on_a_list(said: Any) -> None:
    said("watchlist", "add", SUBJECT, "topic:*", "--list", "desk")
    said("watchlist", "add", OTHER, "--list", "desk")
    [one] = said.view.watchlists.values()
    assert one.subjects == sorted([SUBJECT, OTHER, "topic:*"])
    assert one.by == "ann"
    found = json.loads(said("watchlist", "list", "--json"))
    assert found["lists"][0]["matched"] > 3
    assert found["lines"][SUBJECT] < found["ln_h"]
    said("watchlist", "remove", OTHER, "--list", "desk")
    assert OTHER not in said.view.watchlists["watchlist_desk"].subjects
    assert "desk is gone" in said("watchlist", "remove", "--all", "--list", "desk")
    assert said.view.watchlists == {}
    assert "No watchlist" in said("watchlist", "list")


def test_a_sensitivity_is_set_for_one_or_for_all_and_cleared(said: Any) -> None:
    said("sensitivity", "set", SUBJECT, "more")
    said("sensitivity", "set", "negative-surge", "2.5")
    assert said.view.sensitivities[f"sensitivity_{SUBJECT}"].value == "more"
    found = json.loads(said("sensitivity", "list", "--json"))
    assert found["budget"] == 2.5
    assert [one for one in found["lines"] if not is_market(one)] == [SUBJECT]
    assert "2.5 false alarms a day" in said("sensitivity", "list")
    said("sensitivity", "clear", SUBJECT)
    assert list(said.view.sensitivities) == ["sensitivity_negative-surge"]


def test_a_list_has_a_sensitivity_of_its_own_and_keeps_it_when_it_is_renamed(said: Any) -> None:
    said("watchlist", "add", SUBJECT, OTHER, "--list", "desk")
    said("sensitivity", "set", "watchlist:desk", "3")
    said("watchlist", "rename", "desk", "holdings")
    found = json.loads(said("sensitivity", "list", "--json"))
    assert [(one["about"], one["value"], one["a_day"]) for one in found["set"]] == [("watchlist:holdings", 3.0, 2.5)]
    assert found["lines"][SUBJECT] == found["lines"][OTHER] < found["ln_h"]
    said("watchlist", "remove", SUBJECT, OTHER, "--list", "holdings")
    assert not said.view.watchlists
    assert not said.view.sensitivities, "it goes with the list"


@pytest.mark.parametrize(
    "line",
    [
        ("watchlist", "add", "XNAS:NOSUCHTHING"),
        ("watchlist", "add", "zzz*"),
        ("watchlist", "add", SUBJECT, "--list", "Not A Name"),
        ("watchlist", "remove", "--list", "nowhere", "--all"),
        ("watchlist", "remove"),
        ("sensitivity", "set", SUBJECT, "loud"),
        ("sensitivity", "set", SUBJECT, "0"),
        ("sensitivity", "set", "topic:*", "more"),
        ("sensitivity", "clear", SUBJECT),
    ],
)
def test_what_cannot_be_is_refused_with_what_to_do(said: Any, line: tuple[str, ...]) -> None:
    with pytest.raises(GroundswellError) as caught:
        said(*line)
    assert caught.value.remedy
    assert not said.view.watchlists
    assert not said.view.sensitivities


def test_aggregate_judges_the_steps_that_follow_by_what_was_set(said: Any) -> None:
    work = AggregateWork(
        Topology("ns"), cast("Any", None), cast("Any", None), DIRECTORY, POLICY, ManualClock(SURGE_MS), idle_s=60.0, view=said.view,
        judged_by=partial(lines.policy_by, Settings(), DIRECTORY),
    )  # fmt: skip
    part = cast("Any", SimpleNamespace(detector=Detector(work.policy_now(), DIRECTORY)))
    work._judge_by(part)
    assert part.detector.aim is POLICY
    said("watchlist", "add", SUBJECT)
    work._judge_by(part)
    assert part.detector.policy is POLICY, "not within the step that is open"
    assert part.detector.aim.line(SUBJECT) < POLICY.ln_h
    before = part.detector.aim
    work._judge_by(part)
    assert part.detector.aim is before

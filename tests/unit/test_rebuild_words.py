"""What people read of a rebuild: how far it is, and what to write when a time is no time."""

from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from groundswell.cli import cli
from groundswell.errors import BadSetting
from stream.part import standing
from stream.rebuild import Plan, Rebuild


def part(offset: int, plan: Plan | None) -> Any:
    return SimpleNamespace(offset=offset, plan=plan)


def test_a_beat_says_how_many_partitions_are_counted_again_and_how_far() -> None:
    parts = {
        0: part(75, Plan(Rebuild(start=50, until=100))),
        1: part(10, Plan(Rebuild(start=10, until=60))),
        2: part(7, None),
    }
    assert standing(parts) == {
        "state": "warming",
        "note": "2 of 3 partitions are counted again, 25% of them read; alerts wait",
        "warming": 2,
        "warmed": 0.25,
    }
    assert standing({2: part(7, None)}) == {"note": "1 partitions"}


def test_a_rebuild_of_nothing_to_read_is_no_division_by_zero() -> None:
    assert standing({0: part(5, Plan(Rebuild(start=5, until=5)))})["state"] == "warming"


@pytest.mark.parametrize("text", ["yesterday", "2026-11-21T18:00:00"])
def test_a_time_without_a_zone_or_none_at_all_is_refused_before_anything_is_asked_for(text: str) -> None:
    done = CliRunner().invoke(cli, ["rebuild", "--from", text])
    assert isinstance(done.exception, BadSetting)
    assert "2026-11-21T18:00:00+08:00" in done.exception.remedy

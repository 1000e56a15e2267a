"""`groundswell watch`: what is said first, how old it is, and that a hostile name moves nothing in the terminal."""

import asyncio
import io
from collections.abc import AsyncIterator

import fakeredis
import msgspec
import pytest
from rich.console import Console

from groundswell.clock import ManualClock
from groundswell.keys import Keys
from groundswell.records import LiveRow
from groundswell.running import watch
from groundswell.settings import Settings
from groundswell.shown import Shown
from stream.topology import SCORED, Topology
from tests import believable

NOW = 1_795_300_020_000
KEYS = Keys()
TOPOLOGY = Topology()


@pytest.fixture
async def shown() -> AsyncIterator[Shown]:
    server = fakeredis.FakeServer()
    writer, reader = fakeredis.FakeRedis(server=server), fakeredis.FakeAsyncRedis(server=server)
    believable.fill(writer, KEYS, TOPOLOGY, NOW, hours=4)
    one = Shown(reader, KEYS, TOPOLOGY.partitions(SCORED))
    await one.look()
    yield one
    await reader.aclose()
    writer.close()


def printed(shown: Shown, now_ms: int = NOW, away: str = "", width: int = 110) -> str:
    console = Console(file=io.StringIO(), width=width, height=40, color_system=None)
    console.print(watch.screen(shown, now_ms, away, console.height))
    return console.file.getvalue()  # type: ignore[attr-defined]


async def test_the_surge_is_the_first_line_and_its_alert_is_below(shown: Shown) -> None:
    lines = printed(shown).splitlines()
    first = next(place for place, line in enumerate(lines) if "Halvorn Motors" in line)
    assert first < next(place for place, line in enumerate(lines) if "Zephira Cloud" in line)
    assert "firing" in lines[first]
    assert any("49 negative, 2–11 expected" in line for line in lines)
    assert lines[0].startswith("Counts up to 2026-11-21T22:27:00Z")


async def test_old_counts_and_an_absent_redis_are_said_in_words(shown: Shown) -> None:
    assert "nothing since" in printed(shown, NOW + 600_000)
    assert "No data: Redis is away" in printed(shown, away="Redis is away")
    nothing = Shown(fakeredis.FakeAsyncRedis(), KEYS, 64)
    assert "groundswell push" in printed(nothing)


async def test_a_hostile_name_is_only_letters(shown: Shown) -> None:
    hostile = "\x1b[2Jgone\u202e[bold red]x[/]\nsecond"
    row = shown.rows["XTST:HLVN"]
    shown.rows["XTST:HLVN"] = msgspec.structs.replace(row, names={"en": hostile}, state="\x1b]0;owned\x07")
    text = printed(shown)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "[bold red]x[/]" in text
    assert len(text.splitlines()) == len(printed(shown).splitlines())


@pytest.mark.parametrize(
    ("values", "bars"), [([], ""), ([0] * 4, "▁▁"), ([0, 0, 9, 9], "▁█"), ([-3, 0], "▁"), ([1, 0], "▂")]
)
def test_a_spark_is_quiet_when_little_happens(values: list[int], bars: str) -> None:
    assert watch.spark(values) == bars


async def test_it_ends_when_asked_to(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    async def opened(_settings: Settings) -> fakeredis.FakeAsyncRedis:
        return fakeredis.FakeAsyncRedis()

    monkeypatch.setattr(watch, "open_redis", opened)
    stop = asyncio.Event()
    console = Console(file=io.StringIO(), width=80, height=24)
    running = asyncio.create_task(watch.watch(Settings(), TOPOLOGY, ManualClock(NOW), stop, console))
    await asyncio.sleep(0)
    stop.set()
    async with asyncio.timeout(5):
        await running
    assert "Nothing has been counted yet" in console.file.getvalue()  # type: ignore[attr-defined]


def test_a_learning_subject_says_how_far_it_is() -> None:
    row = LiveRow(
        subject="XNAS:AAPL", kind="company", names={"en": "Apple"}, state="learning", at=NOW, negatives_15=3, expected_15=0, low_15=0,
        high_15=0, mentions_15=9, reach_15=9, share=0.3, evidence=-9, spark=[], minutes=[], learned_negatives=12, learned_s=7 * 3600 + 59,
    )  # fmt: skip
    assert watch.learned(row) == " 12/20, 7/24 h"
    assert watch.learned(msgspec.structs.replace(row, state="firing")) == ""
    console = Console(file=io.StringIO(), width=110)
    console.print(watch.subjects([row], 5))
    assert "learning 12/20, 7/24 h" in console.file.getvalue()

"""The chaos harness can fail: with one guarantee taken out of the stages at a time it turns red, and it says what is wrong.

Real processes on a Kafka and a Redis of their own; tag is killed at work. mutants.py takes the guarantees out.
"""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from bench import chaos
from bench.chaos_services import services
from tests.chaos.mutants import MUTANTS
from tests.chaos.own_services import java_and_redis

STAGES = ("ingest", "tag", "aggregate")
AT_ONCE = 2
KILLS = {"disorderly": 1, "credulous": 1}  # the others need tag to die in the middle of a batch: three times


async def suffers(name: str, kafka: Any, redis: Any, folder: Path, turn: asyncio.Semaphore) -> dict[str, Any]:
    """The verdict over a road whose stages lack something."""
    command = (str(Path(__file__).with_name("mutants.py")), name)
    asked = chaos.Asked(
        docs=1_500,
        seed=5,
        session_s=3.0,
        stages=STAGES,
        plan=("kill",) * KILLS.get(name, 3),
        hit=("tag",),
        calm=False,
        command=command,
        recovered_s=10.0,
        drained_s=120.0 if name in ("healthy", "unmarked") else 20.0,  # the others hold back what never comes
    )
    async with turn:
        return await chaos.both(asked, kafka, redis, folder / name, lambda _what, _share: None)


@pytest.mark.usefixtures("long_form")
async def test_each_guarantee_that_is_taken_out_is_missed(tmp_path: Path, record_property: Any) -> None:
    java_and_redis()
    turn = asyncio.Semaphore(AT_ONCE)
    async with services(tmp_path) as (kafka, redis):
        found = await asyncio.gather(*(suffers(name, kafka, redis, tmp_path, turn) for name in MUTANTS))
    seen = dict(zip(MUTANTS, found, strict=True))
    figures = {
        name: {key: one[key] for key in ("lost", "double_counted", "misplaced", "passed")} for name, one in seen.items()
    }
    record_property("figures", figures)
    print(figures)
    assert all(one["kills"] == {"tag": KILLS.get(name, 3)} for name, one in seen.items())
    assert seen["healthy"]["passed"], json.dumps(seen["healthy"])
    assert not any(one["passed"] for name, one in seen.items() if name != "healthy")
    assert seen["unmarked"]["double_counted"] > 0
    assert seen["unmarked"]["lost"] == 0
    for name in ("hasty", "disorderly", "credulous"):
        assert seen[name]["lost"] > 0, name
        assert seen[name]["double_counted"] == 0, name

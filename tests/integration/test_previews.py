"""A preview on real Kafka and Redis: the pages' process starts a back-test of the installation and shows what it found."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from dashboard.parts import Tuning
from groundswell.asked_tuning import AskedPreview, AskedRulePreview, Preview
from groundswell.clients.connect import open_redis
from groundswell.clock import SystemClock
from groundswell.commands.tuning import tuning
from groundswell.control import ControlView
from groundswell.keys import Keys
from groundswell.records import ControlObject
from tests.integration.test_past import LOUD, push, talk, told
from tests.stages import Site, site, until

WAIT_S = 90.0
RULE = f"""[[rule]]
id = "many"
name = {{ en = "Many", zh = "多" }}
subjects = ["{LOUD}"]
all = [{{ metric = "count", window = "10m", threshold = 30 }}]
"""


@pytest.fixture
async def here(kafka_address: str, redis_url: str, topic_prefix: str, tmp_path: Path) -> Site:
    return await site(kafka_address, redis_url, topic_prefix, tmp_path, single_partition=False, idle_s=1.0)


class NoPen:
    """A preview writes nothing."""

    async def write(self, thing: ControlObject) -> None:
        raise AssertionError(thing)

    async def erase(self, object_id: str) -> None:
        raise AssertionError(object_id)


async def done(made: Tuning, preview: Preview) -> Any:
    async with asyncio.timeout(WAIT_S):
        while made.previews.get(preview.id).state == "running":
            await asyncio.sleep(0.1)
    preview = made.previews.get(preview.id)
    assert preview.state == "done", preview.problem
    return preview.found


async def test_a_preview_counts_what_was_told_and_what_other_settings_and_rules_would_have(here: Site) -> None:
    documents = talk(LOUD, range(300, 310), 9)
    await push(here, documents)
    async with here.stage("aggregate"):
        await here.until_read("aggregate", len(documents))

        async def listed() -> bool:
            return any(one.type == "alert.resolved" for one in await told(here))

        await until(listed, "the surge to be over")
    redis = await open_redis(here.settings)
    made = tuning(
        here.settings, here.topology, SystemClock(), ControlView(), NoPen(), redis, Keys(here.settings.prefix)
    )
    now_ms = time.time_ns() // 1_000_000
    try:
        asked = AskedPreview(values=["fewer", "balanced", "0.001"], days=1)
        found = await done(made, await made.previews.of_sensitivities(asked, now_ms))
        counts = {one["name"]: one["fired"] for one in found["settings"]}
        assert counts == {"fewer": 1, "balanced": 1, "0.001": 1}, "a surge that none of them misses"
        assert found["told"]["fired"] == 1
        (episode,) = found["settings"][1]["episodes"]
        assert episode["alert"] == (await told(here))[0].data.episode_id
        assert 0 < found["days"] < 1, "said of what there is, not of what was asked"
        rules = await done(made, await made.previews.of_rules(AskedRulePreview(text=RULE, days=1), now_ms))
        assert (rules["settings"][0]["fired"], rules["settings"][0]["by_rule"]) == (1, {"many": 1})
        assert rules["told"]["fired"] == 0, "it was not in force"
    finally:
        await made.previews.close()
        await redis.aclose()

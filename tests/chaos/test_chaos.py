"""The short form of `groundswell chaos`, with every kind of fault: nothing is lost and nothing counted twice. `make chaos` is the long one.

Beyond the command's own verdict, the undisturbed road is held against the count of the file. test_chaos_sees.py shows that it can fail.
Two installations, twelve faults one after another and the time until all is counted again: a minute and a half.
"""

import json
import os
import time
from typing import Any

from click.testing import CliRunner

from bench.chaos_faults import KINDS
from groundswell.cli import cli
from tests.chaos.own_services import java_and_redis

KILLS = os.environ.get("GROUNDSWELL_TEST_KILLS", "3")
DOCS = os.environ.get("GROUNDSWELL_TEST_DOCS", "2400")
SEED = os.environ.get("GROUNDSWELL_TEST_SEED", "1")


def test_whatever_breaks_every_bucket_and_every_alert_is_as_if_nothing_had(record_property: Any) -> None:
    java_and_redis()
    began_s = time.monotonic()
    told = CliRunner().invoke(
        cli,
        ["chaos", "--kills", KILLS, "--docs", DOCS, "--seed", SEED, "--session", "3", "--json"],
        standalone_mode=False,
        obj=None,
    )
    found = json.loads(told.stdout)
    record_property("figures", found)
    print(round(time.monotonic() - began_s), found)
    assert sum(found["faults"].values()) >= 10
    assert set(found["faults"]) == set(KINDS)
    for part in (found, found["calm"]):
        assert (part["lost"], part["double_counted"], part["misplaced"]) == (0, 0, 0), part["examples"]
        assert part["episodes"]["planted"] >= 4
        assert (part["episodes"]["missing"], part["episodes"]["unexpected"]) == (0, 0)
    assert (found["alerts_missing"], found["alerts_twice"]) == (0, 0)
    assert found["alerts"]["received"] == found["alerts"]["due"] > 0
    assert (found["dead_letters"]["missing"], found["dead_letters"]["unexpected"]) == (0, 0)
    assert found["dead_letters"]["due"] > 0
    assert found["accounting_balanced"], found["accounting"]
    assert found["drained"]
    assert told.return_value == 0

"""`groundswell demo --once --json` as a newcomer runs it: exit 0, the promised fields, the planted surge and nothing else.

Five processes with the bundled model, and a minute of the surge that must close: 15 s alone, 20 beside other tests.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from groundswell import times
from groundswell.demo import script

RUN_S = 240.0


def demo(state: Path, *options: str) -> tuple[int, dict[str, Any], str]:
    """(exit status, the JSON printed, what was said to people)."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GROUNDSWELL_")}
    done = subprocess.run(
        [sys.executable, "-m", "groundswell", "demo", "--once", "--json", *options],
        env={**clean, "GROUNDSWELL_STATE_DIR": str(state)}, capture_output=True, text=True, timeout=RUN_S, check=False,
    )  # fmt: skip
    return done.returncode, json.loads(done.stdout) if done.stdout.strip() else {}, done.stderr


def assert_promised(status: int, found: dict[str, Any], said: str) -> None:
    assert status == 0, said
    assert found["documents"] == len(script.opening(0)) >= 600
    assert found["tagged"] == found["documents"]
    assert found["scored_rows"] >= found["tagged"]

    assert found["alerts"], said
    assert {alert["subject"] for alert in found["alerts"]} == {script.PLANTED}
    first = found["alerts"][0]
    assert set(first) >= {"id", "subject", "state", "onset", "onset_text", "negatives", "expected", "delivered_at"}
    assert first["state"] == "firing"
    assert first["negatives"] > first["expected"]["high"]
    late_ms = times.parse_ms(first["delivered_at"]) - times.parse_ms(first["onset"])
    assert 0 < late_ms < script.SURGE_MS + found["seconds_to_first_alert"] * 1_000 + 120_000

    assert found["webhook"]["verified"] == found["webhook"]["received"] == len(found["alerts"])
    assert found["seconds_to_first_alert"] <= 180

    assert found["balanced"] is True
    assert set(found["accounting"]) == {"ingest", "tag", "aggregate", "deliver"}
    for books in found["accounting"].values():
        fates = ("applied", "duplicate", "late", "dead_lettered", "in_flight")
        assert books["read"] == sum(books[fate] for fate in fates)
        assert books["in_flight"] == 0
    assert found["accounting"]["ingest"]["read"] == found["documents"]


def test_the_demo_needs_nothing_and_ends_well(tmp_path: Path) -> None:
    status, found, said = demo(tmp_path)
    assert_promised(status, found, said)
    assert not (tmp_path / "running.json").exists(), "it leaves no note that something runs"


@pytest.fixture
def demo_topics(kafka_address: str) -> Iterator[None]:
    """The demo names its own topics; those that were not there before are deleted."""
    from confluent_kafka.admin import AdminClient

    client = AdminClient({"bootstrap.servers": kafka_address, "log_level": 0})

    def names() -> set[str]:
        return {name for name in client.list_topics(timeout=10).topics if name.startswith("groundswell-demo-")}

    before = names()
    yield
    made = sorted(names() - before)
    if made:
        for deleted in client.delete_topics(made, operation_timeout=10).values():
            deleted.result(timeout=10)


@pytest.mark.usefixtures("demo_topics")
def test_the_demo_does_the_same_on_real_kafka_and_redis(kafka_address: str, redis_url: str, tmp_path: Path) -> None:
    status, found, said = demo(tmp_path, "--kafka", kafka_address, "--redis", redis_url)
    assert_promised(status, found, said)


def test_the_signatures_are_those_that_the_reference_library_verifies() -> None:
    """The demo's receiver is ours; that it asks the reference verifier is what makes `verified` mean something."""
    from alerts import receiver

    assert Webhook in vars(receiver).values() or "standardwebhooks" in Path(receiver.__file__).read_text(
        encoding="utf-8"
    )

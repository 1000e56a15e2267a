"""What cannot work says so in one line with what to do, and ends with status 2; asking for help loads nothing heavy."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis

from groundswell.settings import Settings
from stream import create
from stream.topology import Topology
from tests.stages import clean_environment

STAGES = ["ingest", "tag", "aggregate", "deliver", "dashboard"]
SECRET = "correct-horse"


def run(*arguments: str, cwd: Path, timeout_s: float = 60, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "groundswell", *arguments], cwd=cwd, capture_output=True, text=True, timeout=timeout_s,
        check=False, env=clean_environment() | {"GROUNDSWELL_STATE_DIR": str(cwd / "state"), "GROUNDSWELL_CONNECT_S": "3"} | environment,
    )  # fmt: skip


def assert_told(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """One line on standard error, status 2, no traceback, no secret."""
    assert done.returncode == 2, done
    assert done.stdout == ""
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("groundswell: ")
    for word in words:
        assert word in lines[0]
    assert SECRET not in done.stderr


def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.mark.parametrize("stage", STAGES)
def test_a_setting_out_of_bounds_is_told(stage, tmp_path):
    assert_told(run(stage, cwd=tmp_path, GROUNDSWELL_PORT="99999"), "$.port", "groundswell settings")


def test_a_setting_that_is_not_there_is_told_with_the_nearest(tmp_path):
    assert_told(run("tag", cwd=tmp_path, GROUNDSWELL_MODLE="x"), "modle", "Did you mean model?")


def test_a_broken_settings_file_is_told(tmp_path):
    (tmp_path / "groundswell.toml").write_text("kafka = \n", encoding="utf-8")
    assert_told(run("tag", cwd=tmp_path), "groundswell.toml", "TOML")
    assert_told(run("--config", "none.toml", "tag", cwd=tmp_path), "none.toml", "cannot be read")


def test_nothing_configured_and_nothing_running_is_told(tmp_path):
    assert_told(run("tag", cwd=tmp_path), "groundswell up")


@pytest.mark.parametrize("stage", STAGES)
def test_a_broker_that_does_not_answer_is_told_in_time(stage, tmp_path):
    started = time.monotonic()
    address = f"127.0.0.1:{closed_port()}"
    done = run(stage, cwd=tmp_path, GROUNDSWELL_KAFKA=address, GROUNDSWELL_REDIS="redis://127.0.0.1:1/0")
    assert_told(done, address, "GROUNDSWELL_KAFKA")
    assert time.monotonic() - started < 30


def test_an_address_that_is_none_is_told(tmp_path):
    done = run("tag", cwd=tmp_path, GROUNDSWELL_KAFKA="no address", GROUNDSWELL_REDIS="redis://127.0.0.1:1/0")
    assert_told(done, "no address")


@pytest.mark.parametrize("stage", STAGES)
def test_missing_topics_are_told(stage, tmp_path, kafka_address):
    done = run(
        stage, cwd=tmp_path, GROUNDSWELL_KAFKA=kafka_address, GROUNDSWELL_REDIS="redis://127.0.0.1:1/0", GROUNDSWELL_PREFIX="tnone"
    )  # fmt: skip
    assert_told(done, "tnone.news.v1 is missing", "groundswell topology --create")


@pytest.fixture
async def topics(kafka_address: str, topic_prefix: str) -> dict[str, str]:
    """The environment of an installation whose topics are there."""
    settings = Settings(kafka=kafka_address, redis="", prefix=topic_prefix, single_partition=True)
    await create.create(settings, Topology(topic_prefix, single=True))
    return {"GROUNDSWELL_KAFKA": kafka_address, "GROUNDSWELL_PREFIX": topic_prefix, "GROUNDSWELL_SINGLE_PARTITION": "true",
            "GROUNDSWELL_MODEL": "scripted", "GROUNDSWELL_LOG": "json"}  # fmt: skip


@pytest.mark.parametrize("stage", ["ingest", "tag", "aggregate"])
async def test_a_redis_that_does_not_answer_is_told(stage, tmp_path, topics):
    url = f"redis://user:{SECRET}@127.0.0.1:{closed_port()}/0"
    assert_told(run(stage, cwd=tmp_path, GROUNDSWELL_REDIS=url, **topics), "Redis does not answer", "GROUNDSWELL_REDIS")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        (f"http://user:{SECRET}@127.0.0.1/0", "redis://host:port/0"),
        (f"redis://user:{SECRET}@127.0.0.1:port/0", "redis://host:port/0"),
    ],
)
async def test_a_redis_address_that_is_none_is_told_without_its_password(url, words, tmp_path, topics):
    assert_told(run("tag", cwd=tmp_path, GROUNDSWELL_REDIS=url, **topics), words)


async def test_a_redis_that_refuses_us_is_told(tmp_path, topics, redis_server):
    assert_told(run("tag", cwd=tmp_path, GROUNDSWELL_REDIS=f"{redis_server}/9999", **topics), "refuses us")


async def test_a_redis_that_may_forget_is_not_trusted(tmp_path, topics, redis_server):
    port = closed_port()
    server = subprocess.Popen(
        ["redis-server", "--port", str(port), "--save", "", "--maxmemory-policy", "allkeys-lru", "--daemonize", "no"],
        stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        with redis.Redis(port=port, retry=redis.retry.Retry(redis.backoff.ConstantBackoff(0.1), 50)) as client:
            client.ping()
        done = run("tag", cwd=tmp_path, GROUNDSWELL_REDIS=f"redis://127.0.0.1:{port}/0", **topics)
    finally:
        server.terminate()
        server.wait(timeout=5)
    assert_told(done, "allkeys-lru", "noeviction")


async def test_a_metrics_port_that_is_taken_is_told(tmp_path, topics, redis_url):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = run("tag", cwd=tmp_path, GROUNDSWELL_REDIS=redis_url, GROUNDSWELL_METRICS_PORT=port, **topics)
    assert_told(done, port, "GROUNDSWELL_METRICS_PORT")


async def test_a_model_that_is_not_there_is_told(tmp_path, topics, redis_url):
    done = run(
        "tag", cwd=tmp_path, GROUNDSWELL_REDIS=redis_url, **topics | {"GROUNDSWELL_MODEL": str(tmp_path / "none")}
    )
    assert_told(done, str(tmp_path / "none"), "bundled")


async def test_a_broken_catalogue_is_told(tmp_path, topics, redis_url):
    (tmp_path / "mine.json").write_text("[{", encoding="utf-8")
    done = run("ingest", cwd=tmp_path, GROUNDSWELL_REDIS=redis_url, GROUNDSWELL_CATALOGUES="mine.json", **topics)
    assert_told(done, "mine.json")


def test_help_loads_nothing_heavy(tmp_path):
    code = (
        "import sys, groundswell.cli as c\ntry:\n    c.main(['--help'])\nfinally:\n"
        "    print(*sorted({m.split('.')[0] for m in sys.modules}), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        cwd=tmp_path,
        env=clean_environment(),
    )
    loaded = set(done.stderr.split())
    assert "groundswell" in loaded
    assert not loaded & {"torch", "numpy", "faust", "aiokafka", "transformers", "msgspec", "redis", "rich", "starlette"}
    assert "Watches news and comment streams" in done.stdout


def test_help_is_there_in_a_moment(tmp_path):
    def processor_s() -> float:
        before = os.times()
        assert run("--help", cwd=tmp_path).returncode == 0
        after = os.times()
        return after.children_user + after.children_system - before.children_user - before.children_system

    # Time on the processor, not on the wall: the machine may be busy with other things.
    assert min(processor_s() for _ in range(5)) < 0.3


@pytest.mark.parametrize("form", [[], ["--json"]], ids=["table", "json"])
def test_settings_shows_no_secret(form, tmp_path):
    secret = {"GROUNDSWELL_SECRET_KEY": SECRET, "GROUNDSWELL_REDIS": f"redis://:{SECRET}@host:6379/0"}
    done = run("settings", *form, cwd=tmp_path, COLUMNS="200", **secret)
    assert done.returncode == 0
    assert "redis://(set)@host:6379/0" in done.stdout
    assert SECRET not in done.stdout + done.stderr


@pytest.mark.parametrize(
    "record", ["inbound-document", "document", "tagged", "scored", "alert", "dead-letter", "control"]
)
def test_the_schema_of_a_record_is_printed_as_json(record, tmp_path):
    done = run("schema", record, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)

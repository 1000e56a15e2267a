"""Where tests find real services: each fixture gives an address of its own, or skips and says what is missing.

Under CI=true a missing service is a failure. `make services` starts what these look for. Data sets are never demanded.
"""

import csv
import os
import secrets
import shutil
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest
import redis
import structlog

KAFKA = "127.0.0.1:19092"
REDIS = "redis://127.0.0.1:16379"
TAKEN_S = 1_200  # longer than any test
CHROMIUM = Path("/usr/bin/chromium")
LONG = {"acceptance", "chaos", "integration"}
DATA_DIR = Path(__file__).resolve().parents[2] / "shared" / "data"


def missing(what: str) -> NoReturn:
    """Skip on a laptop, fail where every service is promised."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what} CI promises it.")
    pytest.skip(what)


def kafka_answers(address: str, timeout_s: float = 2.0) -> bool:
    """Whether a broker answers a metadata request (version 7, no topics) and counts itself as alive."""
    host, _, port = address.rpartition(":")
    request = struct.pack(">hhihi?", 3, 7, 1, -1, 0, False)
    try:
        with socket.create_connection((host, int(port)), timeout_s) as connection:
            connection.settimeout(timeout_s)
            connection.sendall(struct.pack(">i", len(request)) + request)
            reply = connection.makefile("rb").read(16)
    except (OSError, ValueError):
        return False
    return len(reply) == 16 and struct.unpack(">iiii", reply)[3] > 0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where tests take long comes first, in an order of chance within: of several that run side by side none is left alone with it.

    Files marked `in_order` tell one story of one installation: their tests are put back into the order of the file.
    """
    items.sort(key=lambda item: item.path.parent.name not in LONG)
    stories: dict[Path, list[int]] = {}
    for place, item in enumerate(items):
        if item.get_closest_marker("in_order"):
            stories.setdefault(item.path, []).append(place)
    for places in stories.values():
        told = sorted((items[place] for place in places), key=lambda item: item.reportinfo()[1] or 0)
        for place, item in zip(places, told, strict=True):
            items[place] = item


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """What Python keeps for the whole process is for the next test as it was: how the log is written, how long a CSV cell may be."""
    cell_chars, log = csv.field_size_limit(), structlog.get_config() if structlog.is_configured() else None
    yield
    csv.field_size_limit(cell_chars)
    if log is not None:
        structlog.configure(**log)
    elif structlog.is_configured():
        structlog.reset_defaults()
        structlog.contextvars.clear_contextvars()


@pytest.fixture
def long_form() -> None:
    """For tests of minutes, of which continuous integration runs a shorter sister: `make test-long` runs them all."""
    if os.environ.get("GROUNDSWELL_TEST_LONG") != "1":
        pytest.skip("Takes minutes: `make test-long` runs it.")


@pytest.fixture(scope="session")
def javascript_verifier() -> Path:
    """The node_modules that hold the reference verifier of webhook signatures; put it into NODE_PATH."""
    found = Path(__file__).resolve().parents[1] / "var" / "services" / "javascript" / "node_modules"
    if shutil.which("node") is None or not (found / "standardwebhooks").is_dir():
        missing("No node with the package standardwebhooks: run 'make services'.")
    return found


@pytest.fixture(scope="session")
def kafka_address() -> str:
    """host:port of a real Apache Kafka. Name topics with `topic_prefix`: the broker is shared."""
    address = os.environ.get("GROUNDSWELL_TEST_KAFKA", KAFKA)
    if not kafka_answers(address):
        missing(f"No Kafka answers on {address}: run 'make services', or set GROUNDSWELL_TEST_KAFKA.")
    return address


@pytest.fixture
def topic_prefix(kafka_address: str) -> Iterator[str]:
    """A prefix that no other test has; the real broker's topics that begin with it are deleted afterwards."""
    from confluent_kafka.admin import AdminClient

    prefix = f"t{secrets.token_hex(4)}"
    yield prefix
    client = AdminClient({"bootstrap.servers": kafka_address, "log_level": 0})
    ours = [name for name in client.list_topics(timeout=10).topics if name.startswith(prefix)]
    if ours:
        for deleted in client.delete_topics(ours, operation_timeout=10).values():
            deleted.result(timeout=10)


@pytest.fixture(scope="session")
def redis_server() -> str:
    """URL of a real Redis without a database number. Tests take `redis_url`, which is theirs alone."""
    url = os.environ.get("GROUNDSWELL_TEST_REDIS", REDIS).rstrip("/")
    try:
        with redis.Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2) as client:
            client.ping()
    except redis.RedisError:
        missing(f"No Redis answers on {url}: run 'make services', or set GROUNDSWELL_TEST_REDIS.")
    return url


@pytest.fixture
def redis_url(redis_server: str) -> Iterator[str]:
    """URL of an empty database that no other test has, also of another test run. Who has which is noted in database 0."""
    with redis.Redis.from_url(redis_server) as desk:
        databases = int(desk.config_get("databases")["databases"])
        first = int(desk.incr("test:databases-given"))
        numbers = [1 + (first + i) % (databases - 1) for i in range(databases - 1)]
        # A run that was killed gives nothing back: its notes end by themselves.
        number = next((one for one in numbers if desk.set(f"test:database:{one}", 1, nx=True, ex=TAKEN_S)), None)
        if number is None:
            pytest.fail(f"All {databases} databases of {redis_server} are taken: wait, or empty its database 0.")
        url = f"{redis_server}/{number}"
        with redis.Redis.from_url(url) as client:
            client.flushdb()
            yield url
            client.flushdb()
        desk.delete(f"test:database:{number}")


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of a Chromium for the browser tests."""
    if not CHROMIUM.exists():
        missing(f"No browser at {CHROMIUM}: run 'make services'.")
    return str(CHROMIUM)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of data sets beside the checkout. Public data that the project does not ship: skips, never fails."""
    if not DATA_DIR.is_dir():
        pytest.skip(f"No data sets at {DATA_DIR}.")
    return DATA_DIR

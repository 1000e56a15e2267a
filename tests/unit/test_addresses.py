"""What an address means, whom it trusts, and that nothing goes to another machine in the clear unless somebody says so."""

import ast
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundswell.clients import tls
from groundswell.clients.addresses import RedisAddress, guard_kafka, guard_redis, kafka_hosts, redis_address, shown
from groundswell.clients.connect import admin_options, kafka_options
from groundswell.errors import BadSetting, PlainText
from groundswell.running import runfile
from groundswell.settings import Settings

SECRET = "correct/horse"


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("redis://h/3", RedisAddress("single", (("h", 6379),), tls=False, checked=False, db=3)),
        (
            "rediss://ann:p%2Fw@h:1/0",
            RedisAddress("single", (("h", 1),), tls=True, checked=True, user="ann", password="p/w"),
        ),
        ("unix:///run/redis.sock", RedisAddress("single", (), tls=False, checked=False)),
        (
            "redis+cluster://a:1,b,[::1]:3",
            RedisAddress("cluster", (("a", 1), ("b", 6379), ("::1", 3)), tls=False, checked=False),
        ),
        (
            "rediss+sentinel://:pw@a,b:2/main/4",
            RedisAddress(
                "sentinel", (("a", 26379), ("b", 2)), tls=True, checked=True, password="pw", db=4, service="main"
            ),
        ),
    ],
)
def test_each_form_of_a_redis_address_is_understood(url, wanted):
    assert redis_address(url) == wanted


@pytest.mark.parametrize(
    "url",
    [
        "", "h:6379", "http://h", "redis://", "redis://h:x/0", "redis://h:99999/0", "redis+ring://h", "redis://a,b/0",
        "redis+sentinel://a:1", "redis+cluster://a:1/2", "redis+cluster://a:1,,b", f"redis://ann:{SECRET}@h:1/0",
    ],
)  # fmt: skip
def test_another_address_is_refused_with_the_forms_there_are_and_without_its_password(url):
    with pytest.raises(BadSetting) as caught:
        redis_address(url)
    assert "redis+cluster://" in caught.value.line
    assert "correct" not in caught.value.line
    assert "\n" not in caught.value.line


@given(st.text(max_size=40) | st.from_regex(r"redis(s|\+cluster|\+sentinel)?://[^ ]{0,20}", fullmatch=True))
def test_no_text_breaks_the_reading_of_an_address(text):
    """Anything but an address or a BadSetting would come out of here."""
    for read in (lambda: redis_address(text).hosts, lambda: kafka_hosts(Settings(kafka=text))):
        found = None
        with suppress(BadSetting):
            found = read()
        assert found is None or all(host and 0 < port < 65_536 for host, port in found)


@pytest.mark.parametrize("kafka", ["kafka", "10.0.0.1:9092", "127.0.0.1:1,far:2", "[2001:db8::1]:9092"])
@pytest.mark.parametrize("security", ["PLAINTEXT", "SASL_PLAINTEXT"])
def test_a_kafka_on_another_machine_wants_tls_or_a_word_of_the_operator(kafka, security):
    found = Settings(kafka=kafka, kafka_security=security, kafka_user="ann")
    for make in (guard_kafka, kafka_options, admin_options):
        with pytest.raises(PlainText) as caught:
            make(found)
        assert "GROUNDSWELL_INSECURE=true" in caught.value.line
        assert "SASL_SSL" in caught.value.line
    guard_kafka(Settings(kafka=kafka, kafka_security=security, kafka_user="ann", insecure=True))
    guard_kafka(Settings(kafka=kafka, kafka_security="SSL"))


@pytest.mark.parametrize("kafka", ["localhost:9092", "127.0.0.1:9092,127.1.2.3:9093", "[::1]:9092"])
def test_plain_text_within_this_machine_is_nobodys_business(kafka):
    guard_kafka(Settings(kafka=kafka))


@pytest.mark.parametrize(
    ("url", "well"),
    [
        ("redis://localhost/0", True),
        ("unix:///run/redis.sock", True),
        ("rediss://far/0", True),
        ("redis://far/0", False),
        ("redis+cluster://127.0.0.1:1,far:2", False),
        ("rediss://far/0?ssl_cert_reqs=none", False),
        ("rediss://far/0?ssl_check_hostname=False", False),
    ],
)
def test_a_redis_on_another_machine_wants_tls_that_checks_or_a_word_of_the_operator(url, well):
    address = redis_address(url)
    if well:
        guard_redis(Settings(redis=url), address)
    else:
        with pytest.raises(PlainText) as caught:
            guard_redis(Settings(redis=url), address)
        assert "GROUNDSWELL_INSECURE=true" in caught.value.line
    guard_redis(Settings(redis=url, insecure=True), address)


def test_sasl_without_a_user_is_refused_before_anybody_is_asked():
    with pytest.raises(BadSetting, match="kafka_user is empty"):
        kafka_options(Settings(kafka="127.0.0.1:1", kafka_security="SASL_SSL"))


def test_both_kinds_of_client_get_the_same_password_and_mechanism():
    found = Settings(
        kafka="127.0.0.1:1", kafka_security="SASL_PLAINTEXT", kafka_user="ann", kafka_password=SECRET, kafka_mechanism="PLAIN"
    )  # fmt: skip
    ours, admins = kafka_options(found), admin_options(found)
    assert (ours["sasl_mechanism"], ours["sasl_plain_username"], ours["sasl_plain_password"]) == (
        "PLAIN",
        "ann",
        SECRET,
    )
    assert (admins["sasl.mechanism"], admins["sasl.username"], admins["sasl.password"]) == ("PLAIN", "ann", SECRET)


def test_a_file_of_certificates_that_is_none_is_named(tmp_path):
    empty = tmp_path / "empty.pem"
    empty.write_text("nothing", encoding="utf-8")
    for ca, cert, key, named in (
        (str(empty), "", "", "redis_ca"),
        ("/none.pem", "", "", "redis_ca"),
        ("", str(empty), "", "redis_cert"),
        ("", "", str(empty), "redis_key"),
    ):
        with pytest.raises(BadSetting, match=named):
            tls.context("redis", ca, cert, key)


def test_a_message_shows_an_address_without_its_password():
    assert shown("redis+cluster://ann:pw@a:1,b:2/0") == "a:1,b:2/0"


def test_another_command_reaches_a_secured_installation_by_the_note_of_up(tmp_path):
    settings = Settings(
        kafka="k:1", redis="rediss://r:1/0", kafka_security="SASL_SSL", kafka_user="ann", kafka_password=SECRET, kafka_ca="ca.pem",
        insecure=True, state_dir=str(tmp_path),
    )  # fmt: skip
    note = runfile.write(settings, runfile.Running(
        pid=os.getpid(), kafka=settings.kafka, redis=settings.redis, prefix="groundswell", secret_key="", page="",
        connection=runfile.connection(settings),
    ))  # fmt: skip
    joined = runfile.joined(Settings(state_dir=str(tmp_path)))
    assert (joined.kafka_security, joined.kafka_user, joined.kafka_password) == ("SASL_SSL", "ann", SECRET)
    assert joined.kafka_ca.endswith("/ca.pem")
    assert joined.insecure
    assert runfile.joined(Settings(state_dir=str(tmp_path), kafka_user="ben")).kafka_user == "ben"
    assert note.stat().st_mode & 0o077 == 0


CLIENTS = {
    "AIOKafkaConsumer",
    "AIOKafkaProducer",
    "AIOKafkaAdminClient",
    "Redis",
    "RedisCluster",
    "Sentinel",
    "create_conn",
}
MADE_IN = {"groundswell/clients/connect.py", "groundswell/clients/redis_clients.py", "groundswell/clients/knock.py"}


def made(tree: ast.AST) -> Iterator[str]:
    """Calls that make a client, `Redis.from_url` too; librdkafka's only where it does not get its options from connect.py."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func).split(".")
        if CLIENTS & set(called[-2:]):
            yield ast.unparse(node.func)
        if called[-1] in {"AdminClient", "Producer", "Consumer"} and "admin_options" not in ast.unparse(node):
            yield ast.unparse(node)


def test_every_client_is_made_where_the_settings_are_understood():
    root = Path(__file__).parents[2]
    sources = [
        path for part in ("groundswell", "stream", "alerts", "dashboard") for path in (root / part).rglob("*.py")
    ]
    found = {
        path.relative_to(root).as_posix(): list(made(ast.parse(path.read_text(encoding="utf-8")))) for path in sources
    }
    assert {name for name, calls in found.items() if calls} == MADE_IN, found

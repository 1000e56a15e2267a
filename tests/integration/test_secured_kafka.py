"""A Kafka that lets nobody in without TLS, a password or a certificate, and rights: the road runs with the least, and a refusal has a name.

One broker for the file: some ten seconds to start, on two busy cores.
"""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from confluent_kafka.admin import AclOperation, ResourceType
from msgspec import structs

from groundswell import control
from groundswell.clients.connect import close_producer, open_consumer, open_producer, open_redis
from groundswell.errors import BadSetting, GroundswellError, NotAllowed, NotTrusted, PlainText, ProduceFailed
from groundswell.keys import Keys
from groundswell.records import InboundDocument, Incarnation
from groundswell.running import beat
from groundswell.secrets import new_key
from groundswell.settings import Settings
from stream import create
from stream.rights import NEEDS
from stream.topology import CONTROL, NEWS, Topology
from tests.secured import PASSWORD, Certificates, SecuredKafka, free_port, redis_server, secured_kafka
from tests.stages import Site, until

USERS = ("ingest", "tag", "aggregate", "deliver", "dashboard", "feed", "nobody")
PREFIX = "sec"
TOPOLOGY = Topology(PREFIX, single=True)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[SecuredKafka]:
    with secured_kafka(tmp_path_factory.mktemp("kafka"), certificates, USERS) as broker:
        yield broker


@pytest.fixture
async def topics(kafka: SecuredKafka) -> None:
    """All topics, made by the administrator."""
    await create.create(Settings(kafka=kafka.administrator, prefix=PREFIX, single_partition=True), TOPOLOGY)


@pytest.fixture
def secured(kafka: SecuredKafka, certificates: Certificates) -> Settings:
    """As everybody connects; no user yet is allowed anything."""
    return Settings(
        kafka=kafka.scram, kafka_security="SASL_SSL", kafka_ca=certificates.ca, kafka_user="nobody", kafka_password=PASSWORD,
        prefix=PREFIX, single_partition=True, connect_s=10,
    )  # fmt: skip


async def enters(settings: Settings) -> None:
    consumer = await open_consumer(settings, None)
    await consumer.topics()
    await consumer.stop()
    await create.found(settings)  # librdkafka too


async def test_each_way_to_prove_oneself_opens_both_kinds_of_client(secured, kafka, certificates):
    await enters(secured)
    await enters(structs.replace(secured, kafka_mechanism="SCRAM-SHA-256", kafka_user="old"))
    await enters(structs.replace(secured, kafka_mechanism="PLAIN", kafka_user="plain"))
    cert, key, both = certificates.signed("groundswell")
    mutual = structs.replace(secured, kafka=kafka.mutual, kafka_security="SSL", kafka_user="", kafka_password="")
    await enters(structs.replace(mutual, kafka_cert=cert, kafka_key=key))
    await enters(structs.replace(mutual, kafka_cert=both))


def refusals(
    kafka: SecuredKafka, strangers_ca: str
) -> dict[str, tuple[dict[str, Any], type[GroundswellError], list[str]]]:
    return {
        "wrong password": ({"kafka_password": "wrong"}, NotAllowed, ["User:nobody", "GROUNDSWELL_KAFKA_PASSWORD"]),
        "unknown user": ({"kafka_user": "who"}, NotAllowed, ["User:who"]),
        "another mechanism": ({"kafka_mechanism": "SCRAM-SHA-256"}, NotAllowed, ["SCRAM-SHA-256"]),
        "a mechanism that is not offered": (
            {"kafka": kafka.elsewhere.replace("127.0.0.1", "localhost"), "kafka_mechanism": "PLAIN"}, NotTrusted, ["GROUNDSWELL_KAFKA_CA"]
        ),
        "the certificate of another host": ({"kafka": kafka.elsewhere}, NotTrusted, ["127.0.0.1", "name in its certificate"]),
        "signed by nobody we know": ({"kafka_ca": ""}, NotTrusted, ["GROUNDSWELL_KAFKA_CA"]),
        "signed by somebody else": ({"kafka_ca": strangers_ca}, NotTrusted, ["GROUNDSWELL_KAFKA_CA"]),
        "plain text to a port of TLS": ({"kafka_security": "PLAINTEXT"}, BadSetting, ["hangs up", "GROUNDSWELL_KAFKA_SECURITY"]),
        "TLS to a port of plain text": ({"kafka": kafka.administrator}, BadSetting, ["GROUNDSWELL_KAFKA_SECURITY"]),
        "no certificate of our own": ({"kafka": kafka.mutual, "kafka_security": "SSL"}, BadSetting, ["GROUNDSWELL_KAFKA_CERT"]),
        "no user": ({"kafka_user": ""}, BadSetting, ["GROUNDSWELL_KAFKA_USER"]),
        "plain text over the network": (
            {"kafka": "kafka.example:9092", "kafka_security": "SASL_PLAINTEXT"}, PlainText, ["kafka.example:9092"],
        ),
        "a file that is not there": ({"kafka_ca": "/none/ca.pem"}, BadSetting, ["kafka_ca", "/none/ca.pem"]),
        "a key that belongs to another": ({"kafka_cert": strangers_ca, "kafka_key": strangers_ca}, BadSetting, ["kafka_cert"]),
    }  # fmt: skip


async def test_whoever_is_refused_is_told_why_and_what_to_set(secured, kafka, tmp_path):
    strangers_ca = Certificates(tmp_path).ca
    for name, (changed, kind, words) in refusals(kafka, strangers_ca).items():
        with pytest.raises(kind) as caught:
            await create.check(structs.replace(secured, **changed), TOPOLOGY, "tag")
        assert all(word in caught.value.line for word in words), (name, caught.value.line)
        assert PASSWORD not in caught.value.line


async def test_a_missing_right_is_named_with_topic_operation_and_principal(secured, kafka, topics):
    """Each in turn, then granted: at the end nothing is missing."""
    needs, name = NEEDS["tag"], TOPOLOGY.name
    steps = [(ResourceType.TOPIC, name(topic), AclOperation.READ) for topic in needs.reads]
    steps += [(ResourceType.TOPIC, name(topic), AclOperation.WRITE) for topic in needs.writes]
    steps.append((ResourceType.GROUP, f"{PREFIX}-tag", AclOperation.READ))
    left = list(steps)
    while True:
        try:
            await create.check(secured, TOPOLOGY, "tag")
            break
        except NotAllowed as error:
            line = error.line
            assert "User:nobody" in line
            # A topic that may not even be seen is refused as DESCRIBE.
            named = [
                step
                for step in left
                if f" {step[1]}." in line and (f" {step[2].name} " in line or " DESCRIBE " in line)
            ]
            assert named, line
            left.remove(named[0])
            kafka.allow("User:nobody", *named[0])
    assert not left


async def test_a_process_without_its_right_ends_before_it_reads_anything(secured, kafka, topics, tmp_path):
    topology = TOPOLOGY
    for topic in NEEDS["aggregate"].reads:
        kafka.allow("User:feed", ResourceType.TOPIC, topology.name(topic), AclOperation.READ)
    here = Site(
        structs.replace(secured, kafka_user="feed", redis="redis://127.0.0.1:1/0", state_dir=str(tmp_path)), tmp_path
    )
    async with here.stage("aggregate") as aggregate:
        status = await aggregate.process.wait()
    assert status == 2, aggregate.said
    assert "Kafka does not let User:feed WRITE topic sec." in aggregate.said
    assert "Traceback" not in aggregate.said


async def test_the_whole_road_runs_with_a_user_for_each_process_that_may_do_only_what_it_must(
    secured, kafka, topics, certificates, tmp_path
):
    """Six processes on two cores: some twenty seconds."""
    for who in ("ingest", "tag", "aggregate", "deliver", "dashboard"):
        kafka.allow_process(f"User:{who}", who, TOPOLOGY)
    kafka.allow_process("User:feed", "push to news", TOPOLOGY)
    cert, key, _ = certificates.signed("redis", "127.0.0.1")
    acl, port = tmp_path / "users.acl", free_port()
    acl.write_text(
        f"user default off\nuser groundswell on >{PASSWORD} ~{PREFIX}:* resetchannels +@all -@dangerous -@admin +info\n"
    )
    with redis_server(
        tmp_path / "redis", port, {"ssl": True, "ssl_ca_certs": certificates.ca, "username": "groundswell", "password": PASSWORD},
        "--port", "0", "--tls-port", str(port), "--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", certificates.ca,
        "--tls-auth-clients", "no", "--aclfile", str(acl), "--maxmemory-policy", "noeviction",
    ):  # fmt: skip
        settings = structs.replace(
            secured, kafka_user="feed", redis=f"rediss://groundswell:{PASSWORD}@127.0.0.1:{port}/0", redis_ca=certificates.ca,
            state_dir=str(tmp_path), log="json", model="scripted", secret_key=new_key(),
        )  # fmt: skip
        here = Site(settings, tmp_path)

        def user(name: str) -> dict[str, str]:
            return {"GROUNDSWELL_KAFKA_USER": name}

        await here.push(NEWS, [msgspec.json.encode(document(number)) for number in range(200)])
        async with (
            here.stage("ingest", **user("ingest")) as ingest,
            here.stage("tag", **user("tag")) as tag,
            here.stage("aggregate", **user("aggregate")) as aggregate,
            here.stage("deliver", **user("deliver")) as deliver,
            here.stage("dashboard", **user("dashboard"), GROUNDSWELL_PORT=str(free_port())) as dashboard,
        ):
            await here.until_read("ingest", 200)
            await here.until_read("tag", 200)
            rows = (await here.books()).stages["tag"].emitted
            counts = await here.until_read("aggregate", rows)
            assert (counts.applied, counts.dead_lettered) == (rows, 0), aggregate.said

            redis = await open_redis(settings)

            async def all_beat() -> bool:
                for stage in (deliver, dashboard):
                    assert stage.process.returncode is None, stage.said
                return len({one.stage for one in await beat.beats(redis, Keys(PREFIX))}) == 5

            await until(all_beat, "a beat of all five")
            await redis.aclose()
            for stage in (ingest, tag, aggregate, deliver, dashboard):
                assert (await stage.terminated())[0] == 0, stage.said
                assert "control_unread" not in stage.said, stage.said


def document(number: int) -> InboundDocument:
    return InboundDocument(
        id=f"d{number}", text=f"Harbour Tin, report {number}: 港湾锡业第 {number} 份公告，股价跌停。", source="Wire"
    )


async def test_who_may_write_nothing_is_told_so(secured):
    with pytest.raises(NotAllowed, match="User:old WRITE"):
        await open_producer(structs.replace(secured, kafka_user="old", kafka_mechanism="SCRAM-SHA-256"))


async def test_a_right_that_was_taken_away_is_named_by_the_write_that_fails(secured, kafka, topics):
    kafka.allow("User:plain", ResourceType.TOPIC, TOPOLOGY.name(NEWS), AclOperation.WRITE)
    kafka.allow("User:plain", ResourceType.TOPIC, TOPOLOGY.name(CONTROL), AclOperation.READ)
    producer = await open_producer(structs.replace(secured, kafka_user="plain", kafka_mechanism="PLAIN"))
    with pytest.raises(ProduceFailed, match="WRITE") as caught:
        await control.write(producer, TOPOLOGY, Incarnation(id="x", made_at=0))
    assert "WRITE on that topic" in caught.value.line
    await close_producer(producer)


async def test_topics_are_made_only_by_who_may(secured):
    with pytest.raises(NotAllowed, match=r"User:nobody CREATE topic other\.news\.v1"):
        await create.create(structs.replace(secured, prefix="other"), Topology("other", single=True))

"""A Redis that asks for TLS and a user, and the two forms that survive a lost machine: a cluster and a master behind sentinels."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis.asyncio
from msgspec import structs

from alerts.lanes import Lanes
from groundswell.clients.connect import open_redis
from groundswell.errors import BadSetting, NotAllowed, NotTrusted, PlainText, RedisAway, UnfitRedis
from groundswell.keys import Keys
from groundswell.running import books
from groundswell.running.books import Counts
from groundswell.settings import Settings
from tests.secured import PASSWORD, Certificates, free_port, redis_cluster, redis_server

ACL = f"""
user default off
user groundswell on >{PASSWORD} ~groundswell:* resetchannels +@all -@dangerous -@admin +info
user blind on >{PASSWORD} ~groundswell:* resetchannels +@all -@dangerous
user elsewhere on >{PASSWORD} ~others:* resetchannels +@all
"""


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[int]:
    """Of a Redis with users that wants a certificate of its clients too."""
    folder, port = tmp_path_factory.mktemp("redis"), free_port()
    cert, key, _ = certificates.signed("redis", "127.0.0.1")
    client, client_key, _ = certificates.signed("client")
    (folder / "users.acl").write_text(ACL, encoding="utf-8")
    asking = {"ssl": True, "ssl_ca_certs": certificates.ca, "ssl_certfile": client, "ssl_keyfile": client_key,
              "username": "groundswell", "password": PASSWORD}  # fmt: skip
    with redis_server(
        folder, port, asking, "--port", "0", "--tls-port", str(port), "--tls-cert-file", cert, "--tls-key-file", key,
        "--tls-ca-cert-file", certificates.ca, "--tls-auth-clients", "yes", "--aclfile", str(folder / "users.acl"),
    ):  # fmt: skip
        yield port


@pytest.fixture
def secured(port: int, certificates: Certificates) -> Settings:
    client, key, _ = certificates.signed("client")
    return Settings(
        redis=address(port), redis_ca=certificates.ca, redis_cert=client, redis_key=key, connect_s=5
    )  # fmt: skip


def address(port: int, user: str = "groundswell", host: str = "127.0.0.1", password: str = PASSWORD) -> str:
    return f"rediss://{user}:{password}@{host}:{port}/0"


async def test_a_user_with_a_certificate_may_do_what_the_processes_do(secured):
    client = await open_redis(secured)
    keys = Keys(secured.prefix)
    await books.keep(client, keys.books("tag", "documents", 0), 5, Counts(read=5, applied=5))
    assert await books.total(client, keys, "tag") == Counts(read=5, applied=5)
    assert await Lanes(client, keys, "me").hold(1_000)
    await client.aclose()


async def test_whoever_is_refused_is_told_why_and_what_to_set(secured, port, tmp_path):
    stranger = Certificates(tmp_path)
    refusals = {
        "wrong password": ({"redis": address(port, password="wrong")}, NotAllowed, ["user groundswell", "password"]),
        "the user that is off": ({"redis": f"rediss://127.0.0.1:{port}/0"}, NotAllowed, ["user default"]),
        "a user without INFO": ({"redis": address(port, "blind")}, NotAllowed, ["user blind", "+info"]),
        "a user of other keys": ({"redis": address(port, "elsewhere")}, NotAllowed, ["user elsewhere", "~groundswell:*"]),
        "the certificate of another host": ({"redis": address(port, host="localhost")}, NotTrusted, ["localhost", "GROUNDSWELL_REDIS_CA"]),
        "signed by somebody else": ({"redis_ca": stranger.ca}, NotTrusted, ["GROUNDSWELL_REDIS_CA"]),
        "no certificate of our own": ({"redis_cert": "", "redis_key": ""}, RedisAway, [f"127.0.0.1:{port}"]),
        "plain text to a port of TLS": ({"redis": f"redis://127.0.0.1:{port}/0"}, RedisAway, [f"127.0.0.1:{port}"]),
        "plain text over the network": (
            {"redis": "redis://10.1.2.3:6379/0"}, PlainText, ["10.1.2.3:6379", "rediss://", "GROUNDSWELL_INSECURE"],
        ),
        "TLS over the network that checks nothing": ({"redis": "rediss://h:6379/0?ssl_cert_reqs=none"}, PlainText, ["h:6379"]),
        "a file that is not there": ({"redis_ca": "/none.pem"}, BadSetting, ["redis_ca", "/none.pem"]),
    }  # fmt: skip
    for name, (changed, kind, words) in refusals.items():
        with pytest.raises(kind) as caught:
            await open_redis(structs.replace(secured, **changed))
        assert all(word in caught.value.line for word in words), (name, caught.value.line)
        assert PASSWORD not in caught.value.line, name


async def test_a_node_of_a_cluster_that_may_forget_is_not_trusted(tmp_path):
    with redis_cluster(tmp_path) as ports:
        with redis.Redis(port=ports[1]) as node:
            node.config_set("maxmemory-policy", "allkeys-lru")
        with pytest.raises(UnfitRedis, match="allkeys-lru"):
            await open_redis(Settings(redis=f"redis+cluster://127.0.0.1:{ports[0]}"))


# --- sentinels ---------------------------------------------------------------------------------------------------


@pytest.fixture
def sentinels(tmp_path: Path) -> Iterator[tuple[str, int]]:
    """A master, its replica and one sentinel that judges alone: the address, and the master's port."""
    master, replica, sentinel = free_port(), free_port(), free_port()
    conf = tmp_path / "sentinel.conf"
    conf.write_text(
        f"port {sentinel}\nbind 127.0.0.1\nrequirepass {PASSWORD}\nsentinel monitor main 127.0.0.1 {master} 1\n"
        "sentinel down-after-milliseconds main 700\nsentinel failover-timeout main 3000\n"
    )
    with (
        redis_server(tmp_path / "master", master, {}, "--port", str(master)),
        redis_server(tmp_path / "replica", replica, {}, "--port", str(replica), "--replicaof", f"127.0.0.1 {master}",
                     "--repl-diskless-sync-delay", "0"),
        redis_server(tmp_path / "sentinel", sentinel, {"password": PASSWORD}, f"{conf}", "--sentinel"),
    ):  # fmt: skip
        with redis.Redis(port=sentinel, password=PASSWORD, decode_responses=True) as asked:
            end_s = time.monotonic() + 30
            while asked.sentinel_master("main")["num-slaves"] < 1:
                assert time.monotonic() < end_s
                time.sleep(0.1)
        yield f"redis+sentinel://127.0.0.1:{sentinel}/main/0", master


async def test_after_a_failover_writing_goes_on_at_the_new_master(sentinels):
    """The sentinels need some seconds to agree that a master is gone."""
    url, port = sentinels
    keys = Keys("groundswell")
    client = await open_redis(Settings(redis=url, redis_sentinel_password=PASSWORD))
    key = keys.books("tag", "documents", 0)
    await books.keep(client, key, 1, Counts(read=1, applied=1))
    with redis.Redis(port=port) as master:
        assert master.wait(1, 5_000) == 1
        master.shutdown(nosave=True, now=True, force=True)
    end_s = time.monotonic() + 30
    while True:  # as every stage does: a Redis that is away is waited for
        try:
            await books.keep(client, key, 2, Counts(read=2, applied=2))
            break
        except redis.RedisError:
            assert time.monotonic() < end_s
            await asyncio.sleep(0.2)
    assert await books.resume(client, key, 1) == Counts(read=1, applied=1)
    assert client.connection_pool.get_master_address
    assert (await client.info("replication"))["role"] == "master"
    await client.aclose()


async def test_a_sentinel_that_does_not_know_the_master_or_us_says_so(sentinels):
    url, _ = sentinels
    with pytest.raises(RedisAway, match="No master found for 'other'"):
        await open_redis(Settings(redis=url.replace("/main/", "/other/"), redis_sentinel_password=PASSWORD))
    with pytest.raises(NotAllowed) as caught:
        await open_redis(Settings(redis=url))
    assert "GROUNDSWELL_REDIS_SENTINEL_PASSWORD" in caught.value.line

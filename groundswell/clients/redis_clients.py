"""A Redis client for each form of address: one server, a cluster, a master behind sentinels. All three are used alike.

The rule that makes it so is in keys.py: what one script or one MULTI touches carries one hash tag. Everything else goes out in plain
pipelines, which the cluster's client splits by node. Next: connect.py, which opens one and looks whether it is fit.
"""

from collections.abc import Iterable
from typing import Any, cast

from redis.asyncio import Redis
from redis.asyncio.cluster import ClusterNode, ClusterPipeline, RedisCluster
from redis.asyncio.sentinel import Sentinel
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisClusterException

from groundswell.clients import tls
from groundswell.clients.addresses import RedisAddress
from groundswell.settings import Settings

DEADLINES: dict[str, Any] = {"socket_timeout": 10, "socket_connect_timeout": 5}
HEALTH_CHECK_S = 15
CONNECTIONS_MOST = 1_000  # of a process: deliver asks for 200 endpoints at once; redis-py's own 100 would fail it


def client(settings: Settings, address: RedisAddress) -> Any:
    """Not yet connected. Raises BadSetting, ValueError."""
    if address.tls:  # redis-py makes its own context of the same files, but only when it connects
        tls.context("redis", settings.redis_ca, settings.redis_cert, settings.redis_key)
    files = {
        "ssl_ca_certs": settings.redis_ca or None,
        "ssl_certfile": settings.redis_cert or None,
        "ssl_keyfile": settings.redis_key or None,
    }
    shared: dict[str, Any] = {
        **DEADLINES,
        "health_check_interval": HEALTH_CHECK_S,
        "max_connections": CONNECTIONS_MOST,
        **(files if address.tls else {}),
    }
    if address.kind == "single":
        return Redis.from_url(settings.redis, **shared)
    shared |= {"username": address.user, "password": address.password, "ssl": address.tls}
    if address.kind == "cluster":
        return Cluster(startup_nodes=[ClusterNode(host, port) for host, port in address.hosts], **shared)
    sentinels = Sentinel(  # type: ignore[no-untyped-call]
        list(address.hosts),
        sentinel_kwargs={
            **DEADLINES, "password": settings.redis_sentinel_password or None, "ssl": address.tls, **(files if address.tls else {})
        },
    )  # fmt: skip
    return sentinels.master_for(address.service, redis_class=BehindSentinels, db=address.db, **shared)


class BehindSentinels(Redis):
    """The master of the moment: after a failover a command fails once, and the next connection asks the sentinels again."""

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        """The sentinels' connections too."""
        await super().aclose(close_connection_pool)
        await cast(Any, self.connection_pool).sentinel_manager.aclose()


class Cluster(RedisCluster):
    """Answers what one Redis answers: MGET over many slots, scripts in a pipeline; and fails with errors of Redis only."""

    async def mget(self, keys: Iterable[Any], *more: Any) -> list[Any]:
        """One MGET a slot. Not one moment for all, which no caller needs."""
        return await self.mget_nonatomic([*keys, *more])

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        try:
            return await super().execute_command(*args, **options)
        except (
            RedisClusterException
        ) as error:  # no RedisError: a cluster without a majority must look like a Redis that is away
            raise RedisConnectionError(str(error)) from error

    def pipeline(self, transaction: Any | None = None, shard_hint: Any | None = None) -> "Commands":
        del shard_hint
        return Commands(self, transaction)  # type: ignore[abstract]

    @property
    def connection_pool(self) -> "Cluster":
        """For callers that drop connections on which a server said something odd."""
        return self

    async def disconnect(self) -> None:
        """Close all connections; the next command opens them anew."""
        await self.aclose()


class Commands(ClusterPipeline):
    """A pipeline whose commands go to the nodes of their keys; a transaction's keys must share a slot."""

    def evalsha(self, sha: str, numkeys: int, *keys_and_args: Any) -> Any:
        """redis-py bars it, lest a node should not know the script; ours are loaded on all of them."""
        return self.execute_command("EVALSHA", sha, numkeys, *keys_and_args)

    async def execute(self, raise_on_error: bool = True, allow_redirections: bool = True) -> list[Any]:
        try:
            return await super().execute(raise_on_error, allow_redirections)
        except RedisClusterException as error:
            raise RedisConnectionError(str(error)) from error

"""How full Redis is, as INFO tells it: of one, of a cluster, of one that does not tell."""

from types import SimpleNamespace

import pytest
from redis.exceptions import ResponseError

from groundswell.running.health import filling
from groundswell.running.storage import Storage, storage


class Told:
    """A Redis of which only INFO and its connections matter."""

    def __init__(self, answer: object) -> None:
        self.answer, self.disconnected = answer, 0
        self.connection_pool = SimpleNamespace(disconnect=self._disconnect)

    async def _disconnect(self) -> None:
        self.disconnected += 1

    async def info(self) -> object:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def node(used: int, most: int) -> dict[str, object]:
    return {"redis_version": "7.4.1", "used_memory": used, "used_memory_peak": used + 5, "maxmemory": most}


async def test_one_redis_tells_what_it_holds_and_how_full_it_is():
    found = await storage(Told(node(30, 40)))
    assert found == Storage(version="7.4.1", nodes=1, used_bytes=30, peak_bytes=35, most_bytes=40, fullest=0.75)


async def test_a_cluster_is_as_full_as_its_fullest_node():
    found = await storage(Told({"10.0.0.1:6379": node(10, 100), "10.0.0.2:6379": node(95, 100)}))
    assert (found.nodes, found.used_bytes, found.most_bytes) == (2, 105, 200)
    assert [one.values["percent"] for one in filling(found.fullest)] == [95]
    assert "95 % full. Raise its `maxmemory`" in filling(found.fullest)[0].sentence


@pytest.mark.parametrize("answer", [node(10**12, 0), node(89, 100)])
async def test_one_without_a_limit_or_with_room_is_nothing_to_tell(answer):
    assert filling((await storage(Told(answer))).fullest) == []


async def test_one_that_does_not_tell_is_asked_on_a_connection_that_is_given_up():
    embedded = Told(ResponseError("unknown command"))
    assert (await storage(embedded)).used_bytes is None
    assert embedded.disconnected == 1

"""Which market a subject is part of, and that a document counts once for each market it names companies of."""

import msgspec
import pytest

from groundswell.clock import ManualClock
from groundswell.markets import MARKET, MARKETS, is_market, market_of
from groundswell.records import Document, Mention, ScoredBatch
from models.scripted import ScriptedModel
from stream.detection.season import GROUP_ZONES, GROUPS
from stream.names import entities
from stream.names.directory import Directory
from stream.tag import TagWork
from stream.topology import SCORED, Topology
from tests.unit.test_tag_work import NOW_MS, Message, redis  # noqa: F401 - a fixture

TOPOLOGY = Topology("t", single=True)
CATALOGUE = entities.load()


def test_every_company_and_index_of_the_catalogue_is_of_the_market_of_its_calendar():
    differ = [
        entry.id
        for entry in CATALOGUE.subjects.values()
        if market_of(entry.id) != (f"{MARKET}:{entry.calendar}" if entry.calendar in MARKETS else "")
    ]
    assert differ == []


@pytest.mark.parametrize(
    ("subject", "market"),
    [
        ("XNAS:AAPL|topic:fraud", "market:XNYS"),
        ("XDEM:BLUW", ""),
        ("market", ""),
        ("market:XNYS", ""),
        ("topic:fraud", ""),
    ],
)
def test_pairs_are_of_their_companys_market_and_what_is_no_listing_is_of_none(subject, market):
    assert market_of(subject) == market


def test_a_market_is_known_with_its_names_zone_and_calendar():
    directory = Directory(CATALOGUE)
    for group in MARKETS:
        about = directory[f"{MARKET}:{group}"]
        assert (about.kind, about.group, about.zone) == ("market", group, GROUP_ZONES[group])
        assert set(about.names) == {"en", "zh"}
        assert is_market(about.id)
    assert set(MARKETS) == set(GROUPS) - {"ALWAYS"}
    assert is_market(MARKET)
    assert not is_market("XNAS:AAPL")


@pytest.mark.parametrize(
    ("named", "markets"),
    [
        ([], ["market"]),
        (["XDEM:BLUW"], ["market"]),
        (["XNAS:AAPL", "XNYS:JPM", "INDEX:SPX"], ["market", "market:XNYS"]),
        (["XNAS:AAPL", "XSHE:000858", "XHKG:00700"], ["market", "market:XHKG", "market:XNYS", "market:XSHG"]),
        (["TEST:CANARY", "XNAS:AAPL"], []),
    ],
)
async def test_a_document_counts_once_for_each_market_it_names_companies_of(redis, named, markets):  # noqa: F811
    sent = []

    class Producer:
        async def send(self, topic, value, **_where):
            import asyncio

            if topic == TOPOLOGY.name(SCORED):
                sent.append(msgspec.json.decode(value, type=ScoredBatch))
            return asyncio.ensure_future(asyncio.sleep(0))

    document = Document(id="d", text="A plunge", author="a", published_at=NOW_MS, ingested_at=NOW_MS,
                        mentions=[Mention(one) for one in named])  # fmt: skip
    work = TagWork(TOPOLOGY, redis, Producer(), ScriptedModel(), ManualClock(NOW_MS))
    await work.process(0, [Message(0, msgspec.json.encode([document]))])
    rows = [row for batch in sent for one in batch.documents for row in one.rows]
    assert sorted(row.subject for row in rows if is_market(row.subject)) == markets
    assert {tuple(one.about) for batch in sent for one in batch.documents} == {tuple(named)}

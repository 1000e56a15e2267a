"""The tables of a subject's page: topics over time, sources, stories with reach, and how far back they are counted."""

from collections.abc import AsyncIterator

import msgspec
import pytest
from hypothesis import given
from hypothesis import settings as budget
from hypothesis import strategies as st

from dashboard.subjects import breakdown as tables
from groundswell.keys import HOUR_MS, MINUTE_MS
from groundswell.records import DocumentCard
from stream.detection import cards
from tests import said
from tests.pages import KEYS, NOW, TOPOLOGY, Site, open_site

SUBJECT = "XTST:HLVN"
BEGIN = NOW - 3 * HOUR_MS


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with open_site() as one:
        said.write(one.writer, KEYS, TOPOLOGY, SUBJECT, said.negatives(NOW))
        yield one


def card(minutes_ago: int, **changes: object) -> DocumentCard:
    one = DocumentCard(
        id=f"d{minutes_ago}", story=f"s{minutes_ago}", published_at=NOW - minutes_ago * MINUTE_MS, source="wire", label="negative",
        negative=0.9, lang="en", title=f"Text {minutes_ago}", topics=("fraud",), about=(SUBJECT,),
    )  # fmt: skip
    return msgspec.structs.replace(one, **changes)


def test_the_page_and_the_counter_mean_the_same_number_of_cards() -> None:
    assert tables.KEPT == cards.CARDS


async def test_topics_have_names_and_lie_over_the_span_that_was_asked_for(site: Site) -> None:
    found = (await site.http.get(f"/api/v1/subjects/{SUBJECT}/breakdown?from={BEGIN}&to={NOW}")).json()
    expected = [one for one in said.negatives(NOW) if BEGIN <= one.published_at < NOW]
    assert found["documents"] == len(expected)
    assert (found["from"], found["to"], found["since"]) == (BEGIN, NOW, None)
    by_id = {row["id"]: row for row in found["topics"]}
    assert by_id["safety"]["names"] == {"en": "Recalls and accidents", "zh": "召回与事故"}
    for name, row in by_id.items():
        assert row["negatives"] == sum(row["over"]) == sum(name in one.topics for one in expected)
        assert len(row["over"]) * found["bin_ms"] >= NOW - BEGIN
    surge_from = (NOW - 28 * MINUTE_MS - BEGIN) // found["bin_ms"]
    assert sum(by_id["safety"]["over"][:surge_from]) == 0
    assert [row["id"] for row in found["companies"]] == ["XTST:VNTP"]
    assert found["companies"][0]["names"]["en"] == "Vantorp Steel"


async def test_reach_is_the_originals_and_their_copies_and_the_widest_story_is_first(site: Site) -> None:
    found = (await site.http.get(f"/api/v1/subjects/{SUBJECT}/breakdown")).json()
    first = found["stories"][0]
    assert first["title"] == said.STORIES[0][1]
    assert (first["echoes"], first["reach"]) == (84, 84 + first["negatives"])
    assert [row["reach"] for row in found["stories"]] == sorted(
        (row["reach"] for row in found["stories"]), reverse=True
    )
    sources = {row["source"]: row["negatives"] for row in found["sources"]}
    assert sum(sources.values()) <= found["documents"]
    assert list(sources.values()) == sorted(sources.values(), reverse=True)


async def test_a_subject_that_nobody_spoke_of_has_empty_tables(site: Site) -> None:
    found = (await site.http.get("/api/v1/subjects/XTST:NOBODY/breakdown")).json()
    assert [found[name] for name in ("documents", "topics", "sources", "stories", "since")] == [0, [], [], [], None]


@pytest.mark.parametrize("query", ["from=5&to=4", "from=0&to=9999999999999", "to=x"])
async def test_a_span_that_is_none_is_refused(site: Site, query: str) -> None:
    answer = await site.http.get(f"/api/v1/subjects/{SUBJECT}/breakdown?{query}")
    assert (answer.status_code, answer.json()["reason"]) == (400, "wrong_shape")


def test_a_table_says_so_when_the_cards_do_not_reach_back() -> None:
    full = [card(minutes) for minutes in range(tables.KEPT, 0, -1)]
    week = NOW - 170 * HOUR_MS
    since = tables.breakdown(SUBJECT, full, {}, week, NOW).since
    assert since is not None
    assert since == pytest.approx(full[0].published_at, abs=10 * MINUTE_MS)
    assert since >= full[0].published_at
    assert tables.breakdown(SUBJECT, full, {}, NOW - HOUR_MS, NOW).since is None, "they reach back over this hour"
    assert tables.breakdown(SUBJECT, full[1:], {}, week, NOW).since is None, "none was dropped yet"


def test_a_link_that_is_none_and_a_text_that_hides_are_cleaned() -> None:
    bad = card(5, title="safe\u202etxet", url="javascript:alert(1)", source="\x1b[31mred")
    row = tables.breakdown(SUBJECT, [bad], {}, BEGIN, NOW).stories[0]
    assert (row.title, row.url, row.source) == ("safetxet", "", "[31mred")


async def test_a_card_that_cannot_be_read_hides_no_other(site: Site) -> None:
    site.writer.rpush(KEYS.negatives(TOPOLOGY.scored_partition(SUBJECT), SUBJECT), b"{", msgspec.json.encode(card(1)))
    found = (await site.http.get(f"/api/v1/subjects/{SUBJECT}/breakdown?to={NOW}")).json()
    assert "wire" in [row["source"] for row in found["sources"]] or found["sources_total"] > len(found["sources"])


@budget(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 10_000), max_size=60),
    st.integers(1, 9_000),
    st.integers(1, 9_000),
)
def test_every_card_of_the_span_is_counted_once(minutes: list[int], ago: int, length: int) -> None:
    begin = NOW - ago * MINUTE_MS
    end = begin + length * MINUTE_MS + 7
    within = [one for one in map(card, minutes) if begin <= one.published_at < end]
    found = tables.breakdown(SUBJECT, [card(one) for one in minutes], {}, begin, end)
    assert found.documents == len(within)
    assert sum(sum(row.over) for row in found.topics) == len(within)
    assert all(len(row.over) <= tables.BINS for row in found.topics)
    assert found.stories_total == len({one.story for one in within})
    assert found.companies == [], "a subject is not about itself"


async def test_shares_look_back_a_quarter_of_an_hour_and_where_nothing_was_said_there_is_none(site: Site) -> None:
    found = (await site.http.get(f"/api/v1/subjects/{SUBJECT}/series?from={NOW - HOUR_MS}&to={NOW}")).json()
    counted = [sum(found[name][45:60]) for name in ("neg", "neu", "pos", "uns")]
    assert found["share"][59] == pytest.approx(counted[0] / sum(counted), abs=1e-4)
    empty = (await site.http.get(f"/api/v1/subjects/XTST:NOBODY/series?from={NOW - HOUR_MS}&to={NOW}")).json()
    assert set(empty["share"]) == {None}


async def test_while_it_learns_the_answer_says_how_far_it_is(site: Site) -> None:
    learning = (await site.http.get("/api/v1/subjects/XTST:LMNW/series")).json()
    assert learning["learned"] == {"negatives": 0, "s": 0}
    assert (await site.http.get(f"/api/v1/subjects/{SUBJECT}/series")).json()["learned"] is None

"""What is counted for each company that a document names: what is said of it, not of its neighbours."""

import pytest

from groundswell.records import Document, Mention, Row
from groundswell.tagging import UNREAD, Polarity, Tag
from stream.rows import company_rows, places

BAD, CALM, GOOD = Polarity(0.8, 0.15, 0.05, False), Polarity(0.1, 0.8, 0.1, False), Polarity(0.1, 0.2, 0.7, True)


def document(*mentions: Mention) -> Document:
    return Document(
        id="d",
        text="Alfa falls as Beta wins",
        source="wire",
        published_at=1,
        ingested_at=1,
        lang="en",
        mentions=[*mentions],
    )


def tag(*targets: Polarity | None) -> Tag:
    return Tag(0.6, 0.3, 0.1, False, [("market", 0.9)], (0, 4), 5, False, targets=[*targets])


ALFA, BETA, FED = Mention("XNAS:A", 0, 4), Mention("XNAS:B", 14, 18), Mention("XNAS:F")


def test_each_company_gets_what_is_said_of_it():
    assert company_rows(document(ALFA, BETA), tag(BAD, GOOD)) == [
        Row("XNAS:A", "negative", 0.8, False, 0.05),
        Row("XNAS:B", "positive", 0.1, True, 0.7),
    ]


def test_a_company_that_only_the_feed_names_gets_what_the_text_says():
    assert company_rows(document(FED, ALFA), tag(CALM)) == [
        Row("XNAS:F", "negative", 0.6, False, 0.1),
        Row("XNAS:A", "neutral", 0.1, False, 0.1),
    ]


def test_only_places_in_the_text_are_asked_for_in_the_order_of_the_mentions():
    assert places(document(BETA, FED, ALFA)) == [(14, 18), (0, 4)]


@pytest.mark.parametrize("targets", [(BAD, None), (BAD,)])
def test_a_company_beyond_what_was_read_is_mentioned_and_no_more(targets):
    rows = company_rows(document(ALFA, BETA), tag(*targets))
    assert rows == [Row("XNAS:A", "negative", 0.8, False, 0.05), Row("XNAS:B", "neutral", 0.0, True, 0.0)]


def test_a_company_named_by_the_feed_and_by_the_text_counts_once_and_where_it_stands():
    again = Mention(BETA.subject)
    for mentions in ((again, ALFA, BETA), (ALFA, BETA, again)):
        found = {row.subject: row.label for row in company_rows(document(*mentions), tag(BAD, GOOD))}
        assert found == {"XNAS:A": "negative", "XNAS:B": "positive"}
        assert len(company_rows(document(*mentions), tag(BAD, GOOD))) == 2


def test_a_document_without_companies_has_no_row():
    assert company_rows(document(), tag()) == []


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        ((0.4, 0.4, 0.2), "negative"),
        ((0.4, 0.2, 0.4), "negative"),
        ((0.2, 0.4, 0.4), "neutral"),
        ((0.3, 0.3, 0.4), "positive"),
        ((0.333, 0.333, 0.333), "negative"),
    ],
)
def test_of_two_polarities_as_likely_the_worse_is_meant(shares, expected):
    assert Polarity(*shares, unsure=False).polarity == expected


def test_what_was_not_read_is_neutral_and_unsure():
    assert (UNREAD.polarity, UNREAD.unsure, UNREAD.negative) == ("neutral", True, 0)

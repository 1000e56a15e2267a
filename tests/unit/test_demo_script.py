"""The demo's stream: long enough, in order, about invented companies only, with copies that are recognised as copies."""

import itertools
from collections import Counter

import pytest

from groundswell import times
from groundswell.demo import script
from groundswell.language import language
from groundswell.text import normalise
from stream import stories
from stream.names import entities
from stream.names.subjects import FOLDER

NOON_MS = 1_767_009_600_000
OPENING = script.opening(NOON_MS)
REST = script.rest_of_surge()
REPOSTS = list(itertools.islice(script.reposts(seed=3), 50))


def at_ms(document: script.Document) -> int:
    return times.parse_ms(document["published_at"])


def words(document: script.Document) -> str:
    title = normalise(document.get("title") or "")
    return f"{title}\n{normalise(document['text'])}" if title else normalise(document["text"])


def storm(lang: str) -> list[script.Document]:
    return [one for one in OPENING if one["id"].startswith(f"demo-storm-{lang}-")]


def test_there_are_at_least_600_documents_in_order_of_time_up_to_now() -> None:
    assert len(OPENING) >= 600
    moments = [at_ms(one) for one in OPENING]
    assert moments == sorted(moments)
    assert moments[-1] <= NOON_MS
    assert NOON_MS - moments[0] > 24 * 3_600_000, "longer than the day that a subject is learning"


def test_ids_are_unique_over_all_parts() -> None:
    ids = [one["id"] for one in (*OPENING, *REST, *REPOSTS)]
    assert [identity for identity, count in Counter(ids).items() if count > 1] == []


def test_the_same_end_gives_the_same_documents_and_another_end_the_same_texts() -> None:
    assert script.opening(NOON_MS) == OPENING
    later = script.opening(NOON_MS + 60_000)
    assert [one["text"] for one in later] == [one["text"] for one in OPENING]


def test_no_real_company_is_named_by_any_text() -> None:
    real = entities.load([FOLDER])
    named = {
        mention.subject: one["text"]
        for one in (*OPENING, *REST, *REPOSTS)
        for mention in entities.link(real, words(one))
        if real.subjects[mention.subject].kind == "company"
    }
    assert named == {}


def test_every_text_of_storm_and_surge_names_its_invented_company() -> None:
    catalogue = entities.load([FOLDER, script.catalogue()])
    for part, subject in (("storm", "XDEM:PINE"), ("surge", script.PLANTED)):
        for one in (*OPENING, *REST):
            if one["id"].startswith(f"demo-{part}-") or (part == "surge" and one["id"].startswith("demo-later-")):
                assert subject in {mention.subject for mention in entities.link(catalogue, words(one))}, one["text"]


def test_chinese_and_english_have_equal_parts() -> None:
    found = Counter(language(words(one)) for one in OPENING)
    assert abs(found["zh"] - found["en"]) <= 0.2 * len(OPENING)


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_the_copies_of_the_storm_fold_into_a_few_stories(lang: str) -> None:
    known: list[tuple[str, stories.Signature]] = []
    for one in storm(lang):
        signature = stories.signature(words(one), language(words(one)))
        assert signature is not None
        shared = [(name, other) for name, other in known if set(stories.bands(other)) & set(stories.bands(signature))]
        if stories.nearest(signature, iter(shared)) is None:
            known.append((one["id"], signature))
    assert len(storm(lang)) > 50
    assert len(known) <= 6, "fewer stories than an alert stands on would need, over both languages and half an hour"


def test_the_surge_is_told_by_many_people_in_words_of_their_own() -> None:
    surge = [one for one in OPENING if one["id"].startswith("demo-surge-")]
    assert len({one.get("author") for one in surge}) >= 10
    signatures = [stories.signature(words(one), language(words(one))) for one in surge]
    apart = [one for one in signatures if one is not None]
    near = [(a, b) for a, b in itertools.combinations(apart, 2) if stories.similarity(a, b) >= stories.SAME_STORY]
    assert len(near) <= 2
    assert REST, "some of it is said while people watch"


def test_reposts_go_on_without_end_and_say_only_what_was_said() -> None:
    said = {one["text"] for one in OPENING}
    assert len(REPOSTS) == 50
    assert {one["text"] for one in REPOSTS} <= said

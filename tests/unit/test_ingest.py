"""Bad input is a dead letter with its reason and coordinates; what stands beside it goes through. Nothing makes `take` raise."""

import json
import string
import time

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from groundswell.clock import ManualClock
from groundswell.records import DeadLetter, Document, Mention, Source
from groundswell.settings import Settings
from stream.ingest import Taken, Terms, take
from stream.names import entities

NOW_MS = 1_770_000_000_000  # 2026-02-02T02:40:00Z
GOOD = {"text": "Harbour Tin reports a record quarter."}
BOM = b"\xef\xbb\xbf"
CATALOGUE = entities.load_for(Settings())


def no_links(words: str, symbols: list[str]) -> list[Mention]:
    return [Mention(f"NAMED:{symbol}") for symbol in symbols]


def real_links(words: str, symbols: list[str]) -> list[Mention]:
    return entities.link(CATALOGUE, words, symbols)


def terms(**changes) -> Terms:
    return Terms(**({"link": no_links, "clock": ManualClock(NOW_MS)} | changes))


def taken(value: object, **changes) -> Taken:
    """What `take` makes of bytes, or of anything else written as JSON."""
    raw = value if isinstance(value, bytes) or value is None else json.dumps(value).encode()
    return take(raw, "t.news.v1", "news", 3, 41, terms(**changes))


def only(value: object, **changes) -> Document:
    intake = taken(value, **changes)
    assert not intake.dead, intake.dead
    (document,) = intake.documents
    return document


def refused(value: object, **changes) -> DeadLetter:
    intake = taken(value, **changes)
    assert not intake.documents, intake.documents
    (letter,) = intake.dead
    return letter


def nested(depth: int) -> bytes:
    return b'{"a":' * depth + b"1" + b"}" * depth


# -- one bad message, one reason ---------------------------------------------------------------------------------------

REFUSED = {
    "a tombstone": (None, "not_json"),
    "nothing": (b"", "not_json"),
    "blanks": (b" \n\t ", "not_json"),
    "prose": (b"shares fell", "not_json"),
    "half an object": (b'{"text": "a', "not_json"),
    "half an array": (b'[{"text": "a"}, {"text"', "not_json"),
    "two objects in a row": (b'{"text":"a"}{"text":"b"}', "not_json"),
    "a raw control character": (b'{"text":"a\x01b"}', "not_json"),
    "NaN": (b'{"text":"a","published_at":NaN}', "not_json"),
    "Infinity": (b'{"text":"a","engagement":{"likes":Infinity}}', "not_json"),
    "bad UTF-8": (b'{"text":"caf\xe9"}', "not_utf8"),
    "GBK": (b'{"text":"' + "跌停".encode("gbk") + b'"}', "not_utf8"),
    "a number": (b"17", "wrong_shape"),
    "null": (b"null", "wrong_shape"),
    "a string": (b'"text"', "wrong_shape"),
    "no text": ({"title": "Only a headline"}, "wrong_shape"),
    "text null": ({"text": None}, "wrong_shape"),
    "text a number": ({"text": 7}, "wrong_shape"),
    "text a list": ({"text": ["a"]}, "wrong_shape"),
    "symbols a string": ({"text": "a", "symbols": "HTN"}, "wrong_shape"),
    "engagement of words": ({"text": "a", "engagement": {"likes": "many"}}, "wrong_shape"),
    "an unknown feed": ({"text": "a", "feed": "rumours"}, "wrong_shape"),
    "a time that is a bool": ({"text": "a", "published_at": True}, "wrong_shape"),
    "a time that is an object": ({"text": "a", "published_at": {"ms": 1}}, "wrong_shape"),
    "a number over all bounds": (b'{"text":"a","published_at":1e999}', "wrong_shape"),
    "an integer of 5,000 digits": (b'{"text":"a","published_at":' + b"9" * 5_000 + b"}", "wrong_shape"),
    "an empty text": ({"text": ""}, "no_text"),
    "blank text": ({"text": " \n\u3000 "}, "no_text"),
    "only controls": ({"text": "\x00\x01\x7f"}, "no_text"),
    "only a link": ({"text": "https://example.com/a"}, "no_text"),
    "64 kB + 1": ({"text": "a" * 65_537}, "text_too_long"),
    "64 kB + 1 in Chinese": (json.dumps({"text": "跌" * 21_846}, ensure_ascii=False).encode(), "text_too_long"),
    "words for a time": ({"text": "a", "published_at": "yesterday"}, "bad_time"),
    "a time without a zone": ({"text": "a", "published_at": "2026-02-01T09:30:00"}, "bad_time"),
    "a date alone": ({"text": "a", "published_at": "2026-02-01"}, "bad_time"),
    "an empty time": ({"text": "a", "published_at": ""}, "bad_time"),
    "the 31st of February": ({"text": "a", "published_at": "2026-02-31T00:00:00Z"}, "bad_time"),
    "epoch 0": ({"text": "a", "published_at": 0}, "too_old"),
    "epoch seconds": ({"text": "a", "published_at": NOW_MS // 1000}, "too_old"),
    "before the calendar": ({"text": "a", "published_at": "0001-01-01T00:00:00+14:00"}, "too_old"),
    "far below zero": ({"text": "a", "published_at": -(10**30)}, "too_old"),
    "301 s ahead": ({"text": "a", "published_at": NOW_MS + 301_000}, "from_the_future"),
    "year 9999": ({"text": "a", "published_at": "9999-12-31T23:59:59Z"}, "from_the_future"),
    "the end of the calendar": ({"text": "a", "published_at": "9999-12-31T23:59:59-14:00"}, "from_the_future"),
    "epoch microseconds": ({"text": "a", "published_at": NOW_MS * 1000}, "from_the_future"),
    "a huge float": ({"text": "a", "published_at": 1e308}, "from_the_future"),
    "an integer of 30 digits": (b'{"text":"a","published_at":' + b"9" * 30 + b"}", "from_the_future"),
    "an empty array": (b" [ ] ", "empty_array"),
    "an array of 501": ([GOOD] * 501, "too_many_documents"),
    "an object 100,000 deep": (nested(100_000), "nested_too_deep"),
    "an unknown field 100,000 deep": (b'{"text":"a","more":' + nested(100_000) + b"}", "nested_too_deep"),
    "an unknown field of 100,000 lists": (
        b'{"text":"a","more":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        "nested_too_deep",
    ),
}


@pytest.mark.parametrize(("value", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_bad_input_is_one_dead_letter_with_its_reason_and_coordinates(value, reason):
    letter = refused(value)
    assert letter.reason == reason
    assert (letter.stage, letter.topic, letter.src, letter.at) == ("ingest", "t.news.v1", Source(3, 41, 0), NOW_MS)
    assert letter.remedy
    assert letter.message
    assert "\n" not in letter.message
    assert len(letter.message) <= 300
    assert msgspec.json.decode(msgspec.json.encode(letter), type=DeadLetter) == letter


@pytest.mark.parametrize(
    "value", [v for name, (v, _) in REFUSED.items() if name not in {"a tombstone", "an array of 501"}],
    ids=[name for name in REFUSED if name not in {"a tombstone", "an array of 501"}],
)  # fmt: skip
def test_bad_input_inside_an_array_harms_no_neighbour(value):
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    before, after = b'{"text":"Before it."}', b'{"text":"After it \\"so to say\\" [}."}'
    intake = taken(b"[" + before + b", " + raw + b" , " + after + b"]")
    texts = [document.text for document in intake.documents]
    if raw.count(b"{") == raw.count(b"}") and raw.count(b"[") == raw.count(b"]") and raw.count(b'"') % 2 == 0:
        assert texts == ["Before it.", 'After it "so to say" [}.']
        assert {letter.src for letter in intake.dead} <= {Source(3, 41, 1), Source(3, 41, 2)}
    assert intake.dead


def test_an_element_that_has_no_end_takes_its_message_with_it_but_is_told():
    letter = refused(b'[{"text":"a"}, {"text": "b]')
    assert (letter.reason, letter.src.index) == ("not_json", 0)


def test_each_bad_element_keeps_its_own_index_and_bytes():
    intake = taken([GOOD, {"text": 1}, GOOD | {"id": "b"}, {"text": ""}, 5])
    assert [(letter.reason, letter.src.index, letter.payload) for letter in intake.dead] == [
        ("wrong_shape", 1, b'{"text": 1}'),
        ("no_text", 3, b'{"text": ""}'),
        ("wrong_shape", 4, b"5"),
    ]
    assert (len(intake.documents), intake.read) == (2, 5)


def test_a_trailing_comma_costs_only_itself():
    intake = taken(b'[{"text":"a"},]')
    assert (len(intake.documents), [letter.src.index for letter in intake.dead]) == (1, [1])


def test_500_documents_in_one_message_are_accepted():
    assert len(taken([GOOD | {"id": str(number)} for number in range(500)]).documents) == 500


def test_a_long_payload_is_cut_and_says_so():
    letter = refused({"text": "a" * 200_000})
    assert (len(letter.payload), letter.truncated) == (65_536, True)
    assert refused({"text": 1}).truncated is False


def test_deep_nesting_is_refused_in_a_moment():
    started = time.process_time()
    refused(b"[" * 500_000 + b"]" * 500_000)
    assert time.process_time() - started < 5


# -- odd, but accepted -------------------------------------------------------------------------------------------------


def test_exactly_64_kb_is_accepted():
    assert len(only({"text": "a" * 65_536}).text) == 65_536


def test_unknown_fields_are_ignored():
    assert only(GOOD | {"colour": "red", "more": {"deep": [1, 2, {"x": None}]}}).text == GOOD["text"]


def test_nul_and_control_characters_are_taken_out_of_all_that_is_kept():
    document = only(
        {
            "text": "one\x00 two\x08\u202e",
            "title": "A\x00B",
            "source": "wire\x00\x1b[31m",
            "engagement": {"li\x00kes": 3},
        }
    )
    assert (document.text, document.title, document.engagement) == ("one two", "AB", {"likes": 3.0})
    assert document.source.isprintable()


@pytest.mark.parametrize("escape", ["\\ud83d", "\\ude00", "\\ud83d\\u0041", "\\uD83D\\n", "\\ud83d\\ud83d"])
def test_half_an_emoji_is_replaced_not_refused(escape):
    document = only(b'{"text":"down ' + escape.encode() + b' again","id":"x"}')
    assert "\ufffd" in document.text
    assert document.text.startswith("down")
    msgspec.json.encode(document)


def test_a_whole_escaped_emoji_and_an_escaped_backslash_stay_as_they_are():
    raw = b'{"text":"ok \\ud83d\\ude00 C:\\\\ud83d and \\udc00"}'
    assert only(raw).text == "ok 😀 C:\\ud83d and \ufffd"


def test_half_an_emoji_in_an_array_costs_nobody_anything():
    intake = taken(b'[{"text":"a"},{"text":"b \\ud83d"},{"text":"c"}]')
    assert [document.text for document in intake.documents] == ["a", "b \ufffd", "c"]


def test_a_byte_order_mark_is_no_harm():
    assert only(BOM + b'{"text":"a"}').text == "a"
    assert len(taken(BOM + b'[{"text":"a"},{"text":"b"}]').documents) == 2


# -- time --------------------------------------------------------------------------------------------------------------


def test_a_document_without_a_time_is_said_now():
    assert only(GOOD).published_at == NOW_MS


@pytest.mark.parametrize(
    ("given_time", "published_at"),
    [
        ("2026-02-01T09:30:00+08:00", 1_769_909_400_000),
        ("2026-02-01T01:30:00Z", 1_769_909_400_000),
        ("2026-02-01T01:30:00.123456Z", 1_769_909_400_123),
        (1_769_909_400_000, 1_769_909_400_000),
        (1_769_909_400_000.4, 1_769_909_400_000),
        (NOW_MS + 300_000, NOW_MS + 300_000),
    ],
)
def test_times_with_a_zone_and_epoch_milliseconds_are_read(given_time, published_at):
    assert only(GOOD | {"published_at": given_time}).published_at == published_at


def test_with_the_event_clock_a_document_arrives_when_it_was_said():
    document = only(GOOD | {"published_at": "2015-08-24T13:30:00Z"}, event_time=True)
    assert document.ingested_at == document.published_at == 1_440_423_000_000


def test_with_the_system_clock_it_arrives_now():
    assert only(GOOD | {"published_at": "2015-08-24T13:30:00Z"}).ingested_at == NOW_MS


def test_the_event_clock_does_not_read_beyond_the_calendar():
    assert refused(GOOD | {"published_at": 10**20}, event_time=True).reason == "from_the_future"
    assert refused(GOOD | {"published_at": 1e308}, event_time=True).reason == "from_the_future"


# -- who said it: ids, authors, addresses ------------------------------------------------------------------------------


def test_an_id_is_kept_as_given_even_when_it_is_an_address():
    first, second = (only(GOOD | {"id": f"https://wire.example/{number}"}) for number in (1, 2))
    assert (first.id, second.id) == ("https://wire.example/1", "https://wire.example/2")


def test_without_an_id_the_same_record_gets_the_same_one_whatever_its_time():
    first = only(GOOD | {"source": "Wire", "published_at": NOW_MS - 5})
    assert first.id == only(GOOD | {"source": "Wire"}).id
    assert first.id.startswith("h")


def test_ids_made_from_text_are_a_source_s_own():
    assert only(GOOD | {"source": "Wire"}).id != only(GOOD | {"source": "Gazette"}).id
    assert only(GOOD | {"author": "ann"}).id != only(GOOD | {"author": "bo"}).id


def test_the_link_decides_the_id_before_the_text_does():
    link = {"url": "https://wire.example/a"}
    assert only({"text": "first version"} | link).id == only({"text": "second version"} | link).id


@pytest.mark.parametrize("odd", ["x" * 201, "a\x00b", "a\u202eb", "a\nb"])
def test_an_id_that_cannot_be_shown_becomes_a_stable_hash_and_its_reply_finds_it(odd):
    document = only(GOOD | {"id": odd})
    assert document.id.isascii()
    assert document.id.isprintable()
    assert document.id == only({"text": "Another text."} | {"id": odd}).id == only(GOOD | {"parent_id": odd}).parent_id


def test_a_source_named_by_its_address_keeps_its_name():
    assert only(GOOD | {"source": "www.wire.example"}).source == "www.wire.example"
    assert only(GOOD | {"source": " \x00 "}).source == "unknown"


def test_authors_are_hashed_by_source_and_pepper():
    ann = GOOD | {"author": "Ann Example", "source": "Forum"}
    document = only(ann)
    assert len(document.author) == 16
    assert b"Ann" not in msgspec.json.encode(document)
    assert only(ann).author == document.author
    assert only(ann | {"source": "Elsewhere"}).author != document.author
    assert only(ann, pepper="other").author != document.author
    assert only(GOOD).author == ""


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "data:text/html,hi",
        "ftp://files.example/a",
        "//wire.example/a",
        "/a",
        "wire.example",
        "https://",
        "http://[::1",
        "https://wire.example/a b",
        "https://wire.example/\n<script>",
        "https://wire.example/\u202egpj",
        "https://wire.example/" + "a" * 2_048,
        " https://wire.example/a",
    ],
)
def test_a_hostile_address_is_dropped_and_the_document_stays(url):
    assert only(GOOD | {"url": url}).url == ""


@pytest.mark.parametrize("url", ["https://wire.example/a?b=1#c", "http://例子.example/新闻", "HTTPS://Wire.Example/"])
def test_a_web_address_is_kept_as_given(url):
    assert only(GOOD | {"url": url}).url == url


def test_a_message_without_a_feed_is_its_topic_s_and_a_mixed_history_may_name_its_own():
    assert only(GOOD).feed == "news"
    assert only(GOOD | {"feed": "comments"}).feed == "comments"


def test_symbols_title_and_language_reach_the_document():
    document = only({"text": "锡价大跌，港湾锡业跌停。", "title": "快讯", "symbols": ["HTN"], "retracted": True})
    assert (document.words, document.lang, document.retracted) == ("快讯\n锡价大跌，港湾锡业跌停。", "zh", True)
    assert document.mentions == [Mention("NAMED:HTN")]


def test_what_a_feed_may_fill_without_end_is_cut():
    document = only(
        GOOD
        | {
            "title": "t" * 100_000,
            "source": "s" * 100_000,
            "symbols": ["x" * 1_000] * 1_000,
            "engagement": {f"{number}" + "k" * 50_000: 1.0 for number in range(15)},
            "parent_id": "p" * 100_000,
        }
    )
    assert len(msgspec.json.encode(document)) < 20_000


# -- for any bytes at all ----------------------------------------------------------------------------------------------

leaves = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=()), max_size=40)
)
anything = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
fields = st.sampled_from(
    [
        "text",
        "id",
        "title",
        "url",
        "source",
        "author",
        "published_at",
        "lang",
        "symbols",
        "engagement",
        "parent_id",
        "feed",
    ]
)
pushed = st.dictionaries(fields, anything, max_size=6).map(lambda found: {"text": "Harbour Tin falls"} | found)
world = st.text(st.characters(exclude_categories=()), max_size=60)
likely = st.fixed_dictionaries(
    {"text": world},
    optional={"id": world, "title": world, "url": world, "source": world, "author": world, "parent_id": world,
              "published_at": world | st.integers() | st.floats(), "symbols": st.lists(world, max_size=3),
              "engagement": st.dictionaries(world, st.floats(), max_size=3)},
)  # fmt: skip


def assert_whole(value: bytes, *, event_time: bool = False) -> Taken:
    """What must hold of every message: it is accounted for, and all that comes of it can be written and read again."""
    intake = taken(value, link=real_links, event_time=event_time)
    assert intake.read == len(intake.documents) + len(intake.dead) >= 1
    for document in intake.documents:
        assert msgspec.json.decode(msgspec.json.encode(document), type=Document) == document
        assert document.id
        assert document.text
        assert all(document.words[m.start : m.end] for m in document.mentions if m.start >= 0)
    for letter in intake.dead:
        assert msgspec.json.decode(msgspec.json.encode(letter), type=DeadLetter) == letter
    return intake


@given(st.binary(max_size=300))
@example(b"[[")
@example(b'[{"text":"\\')
@example(b"[,]")
@example(b"[{]}")
@example(BOM)
def test_no_bytes_make_it_raise(value):
    assert_whole(value)


@given(st.text(string.printable + '[]{}",:\\ud8', max_size=80))
def test_no_near_json_makes_it_raise(text):
    assert_whole(b'[{"text":"a"},' + text.encode() + b"]")


@given(st.lists(pushed | likely, min_size=1, max_size=4), st.booleans())
def test_no_json_makes_it_raise_and_every_element_is_accounted_for(elements, event_time):
    raw = json.dumps(elements).encode()
    if not any(word in raw for word in (b"NaN", b"Infinity")):
        assert assert_whole(raw, event_time=event_time).read == len(elements)
    assert_whole(raw, event_time=event_time)


@given(likely)
def test_the_same_bytes_make_the_same_documents(element):
    raw = json.dumps(element).encode()
    assert taken(raw) == taken(raw)


# -- the bytes of a dead letter ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "raw",
    [
        b' {"text": 5 }\n', BOM + b'{"text":5}', b'{"text" :\t"x","published_at":1.70e999}', b'{"text":5,"more":"\\ud83d"}',
        b'{"text":"caf\xe9"}', b'{"text":5,"text":6}', '{"text":5,"title":"跌\\u505c"}'.encode(),
    ],
)  # fmt: skip
def test_a_dead_letter_keeps_the_bytes_as_they_came(raw: bytes) -> None:
    assert refused(raw).payload == raw
    good = json.dumps(GOOD).encode()
    for array in (b"[" + raw + b"]", b"[" + good + b" ,\n" + raw + b"," + good + b' , {"text":"\\ud83d"}]'):
        (letter,) = taken(array).dead
        assert letter.payload == raw.strip()


@given(ahead_ms=st.integers(-30 * 365 * 86_400_000, 400 * 365 * 86_400_000), future_s=st.sampled_from([1, 300, 3_600]))
def test_a_document_is_refused_just_when_it_says_to_be_of_the_future(ahead_ms: int, future_s: int) -> None:
    intake = taken({"text": "a", "published_at": NOW_MS + ahead_ms}, future_s=future_s)
    if ahead_ms > future_s * 1000:
        assert [letter.reason for letter in intake.dead] == ["from_the_future"]
    else:
        assert [document.published_at for document in intake.documents] == [NOW_MS + ahead_ms]

"""What a reader would call linked: the right subjects at the right place, in both languages, and none by accident."""

import json
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.linking import HELD_OUT, SECOND_LOOK, measure, read
from groundswell.errors import BrokenCatalogue, Misconfigured
from groundswell.text import normalise
from stream.names.entities import Catalogue, link, load, unknown_symbols
from stream.names.subjects import FOLDER
from tests.unit.linking_sentences import CHINESE, ENGLISH, Sentence


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return load([FOLDER])


def subjects(catalogue: Catalogue, text: str, symbols: tuple[str, ...] = ()) -> set[str]:
    return {mention.subject for mention in link(catalogue, normalise(text), symbols)}


@pytest.mark.parametrize("sentences", [ENGLISH, CHINESE], ids=["en", "zh"])
def test_linking_is_precise_and_finds_most(catalogue, sentences: list[Sentence]):
    right = wrong = missed = 0
    faults = []
    for text, wanted in sentences:
        got = subjects(catalogue, text)
        right, wrong, missed = right + len(got & wanted), wrong + len(got - wanted), missed + len(wanted - got)
        if got != wanted:
            faults.append((text, got, wanted))
    assert len(sentences) >= 100
    assert right / (right + wrong) >= 0.97, faults
    assert right / (right + missed) >= 0.90, faults


@pytest.mark.parametrize("file", [HELD_OUT, SECOND_LOOK], ids=["held-out", "second-look"])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_linking_keeps_its_figures_on_the_sentences_of_both_looks(catalogue, file: Path, language):
    sentences = read(file)
    figures = measure(catalogue, sentences)[language]
    assert sum(sentence.trap for sentence in sentences) * 2 == len(sentences)
    assert figures["precision"] >= 0.97, figures["faults"]
    assert figures["recall"] >= 0.90, figures["faults"]
    assert figures["places"] >= 0.99, figures["faults"]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("财报前清仓了$AAPL，$TSLA也减了", {"XNAS:AAPL", "XNAS:TSLA"}),
        ("买入NVDA的人又赚了", {"XNAS:NVDA"}),
        ("BRK.B is cheap", {"XNYS:BRK"}),
        ("NIO (HKEX: 9866) delivered more", {"XNYS:NIO"}),
        ("Yields rose 12 BP as stocks sold off", set()),
        ("It lost 3.2 billion yuan against a dollar loan", set()),
        ("The dollar slid against the yuan", {"FX:USDCNY"}),
        ("Citi to cut 20,000 jobs", {"XNYS:C"}),
        ("Citi life is not for me", set()),
        ("山东苹果丰收，股民也来收购", set()),
        ("快递单号（601398）请查收", set()),
        ("证券代码（601398）今日停牌", {"XSHG:601398"}),
    ],
)
def test_a_word_or_number_beside_a_name_decides_what_it_means(catalogue, text, wanted):
    assert subjects(catalogue, text) == wanted


def test_a_span_shows_the_very_words(catalogue):
    text = normalise("昨夜，特斯拉Tesla 与 $AAPL 齐跌；Moutai 也没躲过")
    shown = {mention.subject: text[mention.start : mention.end] for mention in link(catalogue, text)}
    assert shown == {"XNAS:TSLA": "特斯拉", "XNAS:AAPL": "$AAPL", "XSHG:600519": "Moutai"}


def test_traditional_characters_keep_their_places(catalogue):
    text = "傳聞：騰訊控股與貴州茅台下跌"
    assert [text[m.start : m.end] for m in link(catalogue, text)] == ["騰訊控股", "貴州茅台"]


def test_mentions_come_in_the_order_of_the_text(catalogue):
    found = link(catalogue, "Tesla sues Boeing, then Pfizer; Tesla again")
    assert [mention.subject for mention in found] == ["XNAS:TSLA", "XNYS:BA", "XNYS:PFE"]


def test_a_symbol_of_the_feed_links_without_a_place(catalogue):
    assert [(m.subject, m.start, m.end) for m in link(catalogue, "no names here", ["AAPL"])] == [("XNAS:AAPL", -1, -1)]
    (mention,) = link(catalogue, "Tesla slides", ["TSLA"])
    assert (mention.start, mention.end) == (0, 5)


@pytest.mark.parametrize(
    "symbol", ["AAPL", "aapl", "$AAPL", "XNAS:AAPL", " AAPL "], ids=["plain", "lower", "cashtag", "id", "blanks"]
)
def test_a_feed_may_spell_a_symbol_as_it_likes(catalogue, symbol):
    assert catalogue.resolve(symbol) == "XNAS:AAPL"


@pytest.mark.parametrize(
    ("symbol", "subject"),
    [
        ("600519.SH", "XSHG:600519"),
        ("SH600519", "XSHG:600519"),
        ("600519.SS", "XSHG:600519"),
        ("600519", "XSHG:600519"),
        ("0700.HK", "XHKG:00700"),
        ("00700", "XHKG:00700"),
        ("9988.HK", "XNYS:BABA"),
        ("XHKG:09988", "XNYS:BABA"),
        ("XNYS:PTR", "XSHG:601857"),
        ("FB", "XNAS:META"),
        ("RDS-B", "XNYS:SHEL"),
        ("EUR/USD", "FX:EURUSD"),
        ("BTC", "CRYPTO:BTC"),
    ],
)
def test_shares_of_one_company_are_one_subject(catalogue, symbol, subject):
    assert catalogue.resolve(symbol) == subject


def test_unknown_cashtags_and_symbols_are_listed_for_the_books(catalogue):
    assert unknown_symbols(catalogue, "$ZZQQ up, $AAPL down, $ZZQQ", ["NOPE", "TSLA"]) == ["NOPE", "ZZQQ"]
    assert link(catalogue, "$ZZQQ to the moon") == []


def test_a_context_word_or_a_second_subject_settles_an_ambiguous_name(catalogue):
    assert subjects(catalogue, "苹果和香蕉都坏了") == set()
    assert subjects(catalogue, "苹果和英伟达都坏了") == {"XNAS:AAPL", "XNAS:NVDA"}
    assert subjects(catalogue, "苹果手机的电池坏了") == {"XNAS:AAPL"}


def test_a_name_inside_a_longer_word_is_no_name(catalogue):
    assert subjects(catalogue, "Teslameter, Boeings_fan and the Pfizerish") == set()


def test_at_most_twenty_subjects_are_linked(catalogue):
    tags = " ".join(f"${entry.cashtags[0]}" for entry in catalogue.subjects.values() if len(entry.cashtags or "") == 1)
    found = link(catalogue, tags)
    assert len(found) == len({mention.subject for mention in found}) == 20


@pytest.mark.parametrize(
    "part", ["苹果", "Apple ", "apple target gap ", "$AAPL ", "中国平安夜", "(V.N)", "600519 股 ", "$"]
)
def test_64_kb_of_one_name_takes_no_time(catalogue, part):
    text = normalise(part * (64_000 // len(part)))
    began = time.process_time()
    link(catalogue, text)
    assert time.process_time() - began < 1.0


@given(st.text(max_size=200), st.lists(st.text(max_size=12), max_size=4))
@settings(max_examples=150, deadline=None)
def test_any_text_links_to_known_subjects_at_true_places(text, symbols):
    catalogue = _shared()
    text = normalise(text)
    for mention in link(catalogue, text, symbols):
        assert mention.subject in catalogue.subjects
        assert mention.start == mention.end == -1 or 0 <= mention.start < mention.end <= len(text)


@given(
    st.lists(
        st.sampled_from(["平安", "平安夜", "苹果", "Apple", " ", "$", "AAPL", "(", "600519", "İ", "’s", "\n", "TSLA"])
    )
)
@settings(max_examples=150, deadline=None)
def test_linking_twice_gives_the_same(parts):
    text = normalise("".join(parts))
    assert link(_shared(), text) == link(_shared(), text)


_LOADED: list[Catalogue] = []


def _shared() -> Catalogue:
    if not _LOADED:
        _LOADED.append(load([FOLDER]))
    return _LOADED[0]


def test_the_catalogue_covers_what_it_promises(catalogue):
    entries = list(catalogue.subjects.values())
    assert len(catalogue) == len(entries)
    assert 300 <= len(entries) <= 500
    assert all(entry.names["en"].strip() and entry.names["zh"].strip() for entry in entries)
    kinds = [entry.kind for entry in entries]
    assert kinds.count("index") >= 15
    assert kinds.count("currency") >= 15
    assert kinds.count("coin") >= 12
    assert sum(entry.calendar in {"XSHG", "XHKG"} and entry.kind == "company" for entry in entries) >= 80
    stops = json.loads((FOLDER / "stop_phrases.json").read_text())
    assert min(len(stops["phrases"]["zh"]), len(stops["phrases"]["en"])) >= 150


def test_a_family_name_alone_is_nobodys_name(catalogue):
    for entry in catalogue.subjects.values():
        names = {*entry.names.values(), *entry.aliases.get("zh", ()), *entry.needs_context, *entry.weak}
        assert not names & catalogue.families, entry.id


def _write(folder: Path, content: object) -> Path:
    file = folder / "own.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return file


def test_an_own_file_adds_subjects_in_either_shape(tmp_path):
    entry = {"id": "XOWN:HLLO", "kind": "company", "names": {"en": "Hollowell Optics", "zh": "空谷光学"}}
    for content in ([entry], {"entries": [entry]}):
        catalogue = load([FOLDER, _write(tmp_path, content)])
        assert subjects(catalogue, "空谷光学停产") == {"XOWN:HLLO"}
        assert catalogue.subjects["XOWN:HLLO"].calendar == "ALWAYS"
        assert catalogue.subjects["XOWN:HLLO"].zone == "UTC"


def test_a_disabled_entry_is_not_linked(tmp_path):
    entry = {"id": "XOWN:A", "kind": "company", "names": {"en": "Hollowell"}, "enabled": False}
    catalogue = load([_write(tmp_path, [entry])])
    assert len(catalogue) == 0
    assert link(catalogue, "Hollowell falls", ["XOWN:A"]) == []


_GOOD = {"id": "XOWN:A", "kind": "company", "names": {"en": "Hollowell"}}


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ("{", "own.json"),
        ([{"id": "XOWN:A"}], "own.json"),
        ([_GOOD | {"kind": "planet"}], "planet"),
        ([_GOOD, _GOOD], "twice"),
        ([_GOOD | {"id": "no market"}], "MARKET:CODE"),
        ([_GOOD | {"zone": "Mars/Olympus"}], "Mars/Olympus"),
        ([_GOOD | {"names": {}}], "no name"),
        ([_GOOD | {"names": {"en": " "}}], "empty name"),
        ([_GOOD, _GOOD | {"id": "XOWN:B"}], "claimed"),
        ([_GOOD | {"typo": 1}], "typo"),
    ],
)
def test_a_broken_file_is_named_with_what_is_wrong(tmp_path, content, word):
    with pytest.raises(BrokenCatalogue) as caught:
        load([_write(tmp_path, content)])
    assert isinstance(caught.value, Misconfigured)
    assert word in caught.value.line
    assert "\n" not in caught.value.line


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(BrokenCatalogue, match=r"gone\.json"):
        load([tmp_path / "gone.json"])

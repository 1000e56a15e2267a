"""A pack finds its industry's topics and names, leans a verdict that is open, and leaves the rest of the world alone."""

import shutil
import time
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from groundswell.cli import cli
from groundswell.errors import BrokenCatalogue, BrokenPack, Misconfigured, UnknownPack
from groundswell.language import language
from groundswell.settings import Settings
from groundswell.tagging import Tag, Text
from groundswell.text import normalise
from models.scripted import ScriptedModel
from stream.names import pack_check, packs
from stream.names.directory import Directory
from stream.names.entities import link, load_for
from stream.names.pack_answers import Packs, WithPacks, shifted, with_packs
from stream.names.phrases import BadPhrase, Phrases, parsed
from stream.names.subjects import FOLDER, load
from stream.topology import Topology
from tests.unit.linking_sentences import CHINESE, ENGLISH

SHIPPED = ["banking", "nev"]
UNDECIDED = pack_check.UNDECIDED

PACK = """\
name = "ships"
title = { en = "Shipping", zh = "航运" }

[[topics]]
id = "strike"
title = { en = "Port strikes", zh = "港口罢工" }
phrases = { en = ["dockworker* + strike*", "port closed"], zh = ["码头 + 罢工"] }
weak = { en = ["strike*"], zh = ["罢工"] }
required = { en = ["harbour", "vessel*"], zh = ["港口", "货轮"] }
forbidden = { en = ["strike price*"], zh = ["罢工电影"] }

[lexicon]
negative = { en = ["stranded"], zh = ["压港"] }
positive = { en = ["berth free"], zh = ["通航"] }

[[rules]]
id = "over"
polarity = "positive"
phrases = { en = ["strike* + ended"], zh = ["罢工 + 结束"] }
forbidden = { en = ["resume*"] }
"""
SHIPS = [{"id": "XCSE:MAERSKB", "kind": "company", "names": {"en": "Maersk", "zh": "马士基"}}]
EXAMPLES = """\
{"text": "Dockworkers go on strike and Maersk waits", "topics": ["strike"], "subjects": ["XCSE:MAERSKB"]}
{"text": "码头工人罢工，马士基绕道", "topics": ["strike"], "subjects": ["XCSE:MAERSKB"], "polarity": "silent"}
{"text": "The option's strike price moved while the vessel sailed", "trap": "a price"}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "ships"
    made.mkdir()
    (made / "pack.toml").write_text(PACK, encoding="utf-8")
    (made / "entities.json").write_bytes(msgspec.json.encode(SHIPS))
    (made / "examples.jsonl").write_text(EXAMPLES, encoding="utf-8")
    return made


@pytest.fixture
def ships(folder: Path) -> Packs:
    return Packs([packs.read(folder)])


@pytest.fixture(scope="module")
def shipped() -> Packs:
    return Packs(packs.packs_of(Settings(packs=SHIPPED)))


def answered(pack: Packs, text: str, said: Tag = UNDECIDED, spans: list[tuple[int, int]] | None = None) -> Tag:
    spans = spans or []
    asked = Text(text, lang=language(text), spans=spans)
    return pack.answer(asked, msgspec.structs.replace(said, targets=[said] * len(spans)))


def topics(pack: Packs, text: str) -> list[str]:
    return [topic for topic, _ in answered(pack, text).topics]


# -- the shipped packs -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_pack_passes_its_own_check(name):
    report = pack_check.check(packs.locate(name))
    assert [(outcome.line, outcome.wrong) for outcome in report.outcomes if outcome.wrong] == []
    assert [finding for finding in report.findings if finding.serious] == []


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_pack_is_as_large_as_promised_in_both_languages(name):
    report = pack_check.check(packs.locate(name))
    assert len(report.pack.topics) >= 6
    for topic in report.pack.topics:
        assert all(len(topic.phrases[lang]) >= 15 for lang in ("en", "zh")), topic.id
    assert report.subjects >= 25
    assert report.names >= 100
    chinese = [outcome for outcome in report.outcomes if outcome.lang == "zh"]
    traps = [outcome for outcome in report.outcomes if outcome.example.trap]
    assert len(report.outcomes) >= 40
    assert 0.4 <= len(chinese) / len(report.outcomes) <= 0.6
    assert 0.4 <= len(traps) / len(report.outcomes) <= 0.6


def test_the_catalogue_s_own_sentences_link_as_before_with_both_packs_loaded():
    plain, grown = load(), load_for(Settings(packs=SHIPPED))
    for text, _ in (*ENGLISH, *CHINESE):
        before = {mention.subject for mention in link(plain, normalise(text))}
        after = {mention.subject for mention in link(grown, normalise(text))}
        assert before <= after, text
        assert all(subject not in plain.subjects for subject in after - before), text


def test_both_packs_cost_a_comment_less_than_a_quarter_of_a_millisecond(shipped):
    comment = Text("储户在锦州银行网点排队取款，不良率上升，净息差收窄。The rest of the day was calm. " * 3, lang="zh")
    started_s = time.process_time()
    for _ in range(400):
        shipped.answer(comment, UNDECIDED)
    assert (time.process_time() - started_s) / 400 < 0.00025


# -- topics ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("The port closed at noon.", True),
        ("DOCKWORKERS vote to STRIKE on Monday", True),
        ("Dockworkers rest. A strike is far away.", False),  # two sentences
        ("A strike held up the vessel.", True),
        ("A strike. The vessel waits.", True),  # a required word may stand anywhere
        ("A strike in the coal mine", False),
        ("The strike price of a vessel option", False),
        ("The airport closed at noon.", False),  # inside a word
        ("码头全面罢工", True),
        ("碼頭全面罷工", False),  # only the characters of the shipped phrases are folded
        ("货轮停航，船员罢工", True),
        ("老师罢工", False),
        ("货轮上放罢工电影", False),
    ],
)
def test_a_topic_is_found_by_its_words_and_no_others(ships, text, found):
    assert topics(ships, text) == (["ships:strike"] if found else ["other"])


def test_topics_of_a_pack_stand_behind_the_model_s_and_displace_only_other(ships):
    said = msgspec.structs.replace(UNDECIDED, topics=[("labour", 0.9), ("supply", 0.4)])
    assert answered(ships, "The port closed.", said).topics == [("labour", 0.9), ("supply", 0.4), ("ships:strike", 1.0)]
    assert answered(ships, "The port closed.").topics == [("ships:strike", 1.0)]


def test_a_text_in_another_language_is_left_alone(ships):
    asked = Text("Der Hafen: port closed", lang="other")
    assert ships.answer(asked, UNDECIDED) is UNDECIDED


def test_a_topic_of_a_pack_has_a_home_and_its_title(shipped):
    directory = Directory(load(), shipped.topics)
    subject = directory["topic:banking:deposit-run"]
    assert (subject.kind, subject.names["en"], subject.names["zh"]) == ("topic", "Deposit runs", "挤兑与存款外流")
    assert 0 <= Topology().scored_partition(subject.id) < 64
    assert len(directory) == len(Directory(load())) + len(shipped.topics)


# -- polarity ----------------------------------------------------------------------------------------------------------


def test_a_rule_decides_for_a_model_that_cannot(ships):
    said = answered(ships, "The dockworkers' strike ended.")
    assert (said.polarity, said.unsure) == ("positive", False)
    assert said.negative + said.neutral + said.positive == pytest.approx(1, abs=0.002)


def test_a_rule_makes_a_confident_model_doubt_but_not_turn(ships):
    confident = msgspec.structs.replace(UNDECIDED, negative=0.9, neutral=0.05, positive=0.05, unsure=False)
    moved = answered(ships, "The dockworkers' strike ended.", confident)
    assert moved.unsure
    certain = msgspec.structs.replace(UNDECIDED, negative=0.98, neutral=0.01, positive=0.01, unsure=False)
    assert answered(ships, "The dockworkers' strike ended.", certain).polarity == "negative"


@pytest.mark.parametrize(
    "text",
    [
        "The dockworkers' strike has not ended.",
        "Has the dockworkers' strike ended?",
        "The dockworkers' strike ended and will resume on Friday.",
        "码头罢工没有结束",
        "码头罢工是否结束",
        "The teachers' strike ended.",  # no topic of the pack
    ],
)
def test_a_sentence_that_denies_asks_or_is_about_something_else_moves_nothing(ships, text):
    said = answered(ships, text)
    assert (said.negative, said.positive, said.unsure) == (UNDECIDED.negative, UNDECIDED.positive, True)


def test_the_lexicon_speaks_only_where_the_model_is_unsure_and_its_words_agree(ships):
    assert answered(ships, "Port closed, crews stranded.").polarity == "negative"
    sure = msgspec.structs.replace(UNDECIDED, negative=0.2, neutral=0.7, positive=0.1, unsure=False)
    assert answered(ships, "Port closed, crews stranded.", sure).neutral == 0.7
    both = answered(ships, "Port closed, crews stranded, a berth free.")
    assert both.negative == UNDECIDED.negative


def test_a_company_is_moved_only_by_its_own_sentence_and_only_when_alone_in_it(ships):
    text = "Maersk waits. The dockworkers' strike at Hapag ended."
    maersk, hapag = (0, 6), (text.index("Hapag"), text.index("Hapag") + 5)
    said = answered(ships, text, spans=[maersk, hapag])
    assert [target and target.polarity for target in said.targets] == ["neutral", "positive"]
    together = "The dockworkers' strike at Maersk ended, not so at Hapag"
    together = together.replace(", not so at", " before that at")
    spans = [(together.index(name), together.index(name) + len(name)) for name in ("Maersk", "Hapag")]
    assert all(target == UNDECIDED for target in answered(ships, together, spans=spans).targets)


def test_a_place_that_was_not_read_stays_unread(ships):
    asked = Text("Port closed, crews stranded.", lang="en", spans=[(0, 4)])
    said = ships.answer(asked, msgspec.structs.replace(UNDECIDED, targets=[None]))
    assert said.targets == [None]


def test_the_deciding_sentence_is_the_one_whose_rule_counts(ships):
    text = "The dockworkers' strike ended. Freight rates collapsed."
    elsewhere = msgspec.structs.replace(UNDECIDED, deciding=(31, len(text)))
    assert answered(ships, text, elsewhere).positive == UNDECIDED.positive
    there = msgspec.structs.replace(UNDECIDED, deciding=(0, 30))
    assert answered(ships, text, there).polarity == "positive"


def test_odds_move_a_verdict_by_bayes_rule():
    said = msgspec.structs.replace(UNDECIDED, negative=0.2, neutral=0.5, positive=0.3)
    moved = shifted(said, "negative", 4.0)
    assert moved.negative == pytest.approx(0.8 / 1.6, abs=0.001)
    assert moved.positive == pytest.approx(0.3 / 1.6, abs=0.001)


# -- where packs act ---------------------------------------------------------------------------------------------------


async def test_a_model_with_packs_answers_as_one_and_its_version_names_them(folder):
    settings = Settings(packs=[str(folder)])
    model = with_packs(settings, ScriptedModel())
    (tag,) = await model.tag([Text("The port closed.", lang="en")])
    assert tag is not None
    assert ("ships:strike", 1.0) in tag.topics
    assert model.version.startswith("scripted-1+ships.")
    assert not isinstance(with_packs(Settings(), ScriptedModel()), WithPacks)


def test_a_change_of_the_pack_changes_its_version(folder):
    before = packs.read(folder).version
    (folder / "entities.json").write_text("[]", encoding="utf-8")
    assert packs.read(folder).version != before


def test_the_names_of_a_pack_link_and_those_of_known_subjects_are_added():
    grown = load_for(Settings(packs=SHIPPED))
    assert "XHKG:00416" not in load().subjects
    assert {mention.subject for mention in link(grown, "宇宙行和锦州银行都涨了")} == {"XSHG:601398", "XHKG:00416"}


def test_a_name_of_a_pack_is_no_stop_phrase_any_more(tmp_path):
    (tmp_path / "stop_phrases.json").write_text('{"phrases": {"zh": ["小船公司"]}}', encoding="utf-8")
    mine = tmp_path / "mine.json"
    mine.write_text('[{"id": "PRIVATE:BOAT", "kind": "company", "names": {"zh": "小船公司"}}]', encoding="utf-8")
    found = load([FOLDER, tmp_path / "stop_phrases.json"], [mine])
    assert [mention.subject for mention in link(found, "小船公司停航")] == ["PRIVATE:BOAT"]
    with pytest.raises(BrokenCatalogue, match="stop phrase"):
        load([FOLDER, tmp_path / "stop_phrases.json", mine])


def test_an_unknown_pack_is_refused_with_the_names_there_are():
    with pytest.raises(UnknownPack, match="banking, nev"):
        packs.packs_of(Settings(packs=["bnaking"]))


def test_two_packs_of_one_name_are_refused(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "copy")
    with pytest.raises(BrokenPack, match="both called ships"):
        packs.packs_of(Settings(packs=[str(folder), str(tmp_path / "copy")]))


# -- what is refused, and what is told ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "to", "words"),
    [
        ('name = "ships"', 'name = "My ships"', "small letters"),
        ('id = "strike"', 'id = "Strike!"', "topic id 'Strike!'"),
        (
            'title = { en = "Port strikes", zh = "港口罢工" }',
            'title = { en = "Port strikes" }',
            "topic strike has no title.zh",
        ),
        ('"port closed"', '"por* closed"', "topic strike, phrases.en: 'por\\* closed': a star"),
        ('"码头 + 罢工"', '"罢"', "phrases.zh: '罢': one character"),
        ('"port closed"', '"closed. port"', "ends a sentence"),
        ('required = { en = ["harbour", "vessel*"], zh = ["港口", "货轮"] }', "", "weak phrases and no required"),
        ('"strike* + ended"', '"strike* + not over"', "rule over, phrases.en: .* denies"),
        ("[[rules]]", "[[rule]]", "unknown field `rule`"),
        ('polarity = "positive"', 'polarity = "good"', "rules"),
        ("[lexicon]", "[lexicon", "pack.toml"),
    ],
)
def test_a_mistake_in_a_pack_is_told_with_its_file_and_entry(folder, change, to, words):
    file = folder / "pack.toml"
    content = file.read_text(encoding="utf-8")
    assert change in content
    file.write_text(content.replace(change, to, 1), encoding="utf-8")
    with pytest.raises(BrokenPack, match=words) as caught:
        packs.read(folder)
    assert isinstance(caught.value, Misconfigured)
    assert str(file) in caught.value.line
    assert "packs check" in caught.value.line


def test_a_broken_example_is_told_with_its_line(folder):
    (folder / "examples.jsonl").write_text(EXAMPLES + '{"txt": "a"}\n', encoding="utf-8")
    with pytest.raises(BrokenPack, match=r"examples\.jsonl:4"):
        pack_check.check(folder)


def test_the_check_says_which_example_fails_and_how(folder):
    (folder / "examples.jsonl").write_text(
        EXAMPLES + '{"text": "The port closed", "topics": [], "subjects": ["XNAS:AAPL"], "polarity": "negative"}\n',
        encoding="utf-8",
    )
    report = pack_check.check(folder)
    assert report.failed
    assert report.outcomes[-1].wrong == [
        "topics: none wanted, strike found",
        "subjects: XNAS:AAPL wanted, none found",
        "polarity: negative wanted, silent found",
    ]


@pytest.mark.parametrize(
    ("change", "to", "words"),
    [
        ('"port closed"', '"port closed", "port closed"', "more than once"),
        ('"port closed"', '"Tesla"', "name of XNAS:TSLA"),
        ('zh = ["码头 + 罢工"]', 'zh = ["码头 + 罢工", "码头大罢工"]', ""),
    ],
)
def test_the_check_finds_phrases_that_repeat_or_collide(folder, change, to, words):
    file = folder / "pack.toml"
    file.write_text(file.read_text(encoding="utf-8").replace(change, to, 1), encoding="utf-8")
    found = [finding for finding in pack_check.check(folder).findings if words in finding.what]
    assert found
    assert all(finding.remedy for finding in found)
    assert any(finding.serious for finding in found) == bool(words)


def test_the_check_finds_a_name_that_the_catalogue_gives_to_another_subject(folder):
    (folder / "entities.json").write_bytes(msgspec.json.encode([SHIPS[0] | {"names": {"en": "Tesla"}}]))
    report = pack_check.check(folder)
    assert any(finding.serious and "XNAS:TSLA" in finding.what for finding in report.findings)


def test_the_check_wants_an_example_of_each_topic_in_each_language(folder):
    (folder / "examples.jsonl").write_text(EXAMPLES.splitlines()[0] + "\n", encoding="utf-8")
    findings = pack_check.check(folder).findings
    assert any(finding.serious and "strike in zh" in finding.what for finding in findings)


def test_the_command_exits_with_1_on_failure_and_0_otherwise(folder):
    good = CliRunner().invoke(cli, ["packs", "check", str(folder)], standalone_mode=False)
    assert good.return_value == 0, good.output
    assert "3 of 3 examples pass; adds 1 topics, 1 subjects and 2 names" in good.output
    (folder / "examples.jsonl").write_text(EXAMPLES.replace('["strike"]', "[]"), encoding="utf-8")
    bad = CliRunner().invoke(cli, ["packs", "check", str(folder), "--json"], standalone_mode=False)
    assert bad.return_value == 1
    told = msgspec.json.decode(bad.output)
    assert [failure["line"] for failure in told["failures"]] == [1, 2]


def test_list_and_show_name_the_topics():
    listed = CliRunner().invoke(cli, ["packs", "list", "--json"])
    assert [pack["name"] for pack in msgspec.json.decode(listed.output)] == SHIPPED
    shown = CliRunner().invoke(cli, ["packs", "show", "nev"])
    assert "nev:battery-fire" in shown.output
    assert "新能源车" in shown.output


# -- phrases -----------------------------------------------------------------------------------------------------------


def test_hyphens_blanks_and_case_make_no_difference():
    book = Phrases([("a", "Write-Down*")])
    assert all(book.find(text) for text in ("a write-down", "WRITE DOWNS", "write–downs"))
    assert not book.find("rewrite down")


def test_nothing_is_found_by_a_book_without_phrases():
    assert not Phrases([]).find("anything 任何")


@pytest.mark.parametrize("phrase", ["", "a", "*", "贷*", "a + ", "x. y"])
def test_a_phrase_that_finds_nothing_or_everything_is_refused(phrase):
    with pytest.raises(BadPhrase):
        parsed(phrase)

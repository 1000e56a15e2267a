"""What a message says: enough to act on, in the order a reader needs it, in both languages, whatever the texts hold."""

import re
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from alerts.channels.contract import Missed, Telling
from alerts.say import Say
from alerts.wording.message import fitted, message_of
from alerts.wording.notice import BUDGETS, LINE_LIMITS, TEXT_LIMIT, code_of, is_ours, notice_of
from alerts.words import WORDS
from groundswell.records import Acknowledged, AlertSubject, CauseCount, Peak
from stream.detection.surge import SENSITIVITY_BUDGET
from tests.tellings import telling

LANGS = ("en", "zh")


def whole(say=Say.FIRING, lang="en", **changes):
    found = notice_of(telling(say, **changes), lang)
    return " ".join((found.title, *found.sentences))


def test_an_alert_says_who_how_many_against_how_many_since_when_and_why_in_this_order():
    said = whole()
    order = [
        "[Warning]", "Harbour Steel (XSHG:600001)", "6.6× normal", "41 negative originals in 9 min", "17:22–17:31",
        "Beijing time", "1–13 are normal", "Largest story: “海港钢铁被曝财务造假 😱”", "3 echoes",
        "Without the largest story it would fire all the same", "By chance at most once in 10 days over all subjects",
        "64%", "212 texts with echoes", "Fraud and short reports (30)",
        "wire (22)",
    ]  # fmt: skip
    places = [said.find(part) for part in order]
    assert -1 not in places, [part for part, place in zip(order, places, strict=True) if place < 0]
    assert places == sorted(places)


def test_it_says_the_same_in_chinese_as_chinese_desks_write():
    said = whole(lang="zh")
    for part in (
        "【预警】海港钢铁（600001.SH）负面舆情达常态的 6.6 倍", "17:22–17:31（北京时间）", "9 分钟内负面原创 41 条",
        "通常为 1–13 条", "主要线索：“海港钢铁被曝财务造假 😱”", "转载 3 条", "剔除最大的一条线索后仍会触发",
        "若属偶然，全部对象合计至多约 10 天一次。", "造假与做空 30 条", "wire 22 条",
    ):  # fmt: skip
        assert part in said


@pytest.mark.parametrize("lang", LANGS)
@pytest.mark.parametrize("say", list(Say))
def test_every_state_is_short_enough_and_has_its_own_tag(say, lang):
    found = notice_of(telling(say), lang)
    assert len(" ".join((found.title, *found.sentences))) <= TEXT_LIMIT
    assert max(len(found.title), len(found.short)) <= LINE_LIMITS[lang]
    assert "\n" not in found.short
    level = WORDS[lang]["level.warning"]
    assert found.title.startswith(WORDS[lang][f"tag.{say.value}"].format(level=level))


def test_the_limits_of_a_first_line_are_those_that_phones_show():
    assert LINE_LIMITS == {"en": 80, "zh": 40}


@pytest.mark.parametrize(
    ("lang", "names"),
    [
        ("en", "Harbour Steel"), ("en", "Kweichow Moutai Company Limited Holdings"), ("zh", "海港钢铁"),
        ("zh", "中国石油天然气股份有限公司控股集团总公司"), ("zh", "Kweichow Moutai Company Limited Holdings"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("say", [say for say in Say if say is not Say.TEST])
def test_the_first_line_stands_alone_with_what_kind_who_and_what(say, lang, names):
    subject = AlertSubject(id="XSHG:600519", kind="company", names={"en": names, "zh": names})
    for fields in ({}, {"severity": "critical", "effect": 400.0, "window_s": 7_500}, {"kind": "share"}):
        found = notice_of(telling(say, subject=subject, **fields), lang)
        level = WORDS[lang][f"level.{fields.get('severity', 'warning')}"]
        for line in (found.title, found.short):
            assert len(line) <= LINE_LIMITS[lang]
            assert line.startswith(WORDS[lang][f"tag.{say.value}"].format(level=level))
            assert names[:4] in line
    assert not any(mark in notice_of(telling(say), lang).title for mark in "…{}"), "ordinary names are whole"


def test_a_phone_reads_how_many_against_how_many_since_when_where_there_is_room():
    assert notice_of(telling(), "zh").short == "【预警】海港钢铁：9 分钟内负面 41 条，通常 1–13 条，始于 17:22"
    assert (
        notice_of(telling(), "en").short == "[Warning] Harbour Steel (XSHG:600001): 41 negative in 9 min, 1–13 normal"
    )


@pytest.mark.parametrize(
    ("sensitivity", "e_value", "threshold", "en", "zh"),
    [
        ("balanced", 8.4, 8.4, "at most 5 times a day", "每天至多约 5 次"),
        ("fewer", 8.4, 8.4, "at most once a day", "至多约一天一次"),
        ("balanced", 9.4, 8.4, "once in 2 days", "约 2 天一次"),
        ("balanced", 10.7, 8.4, "once in 40 days", "约 40 天一次"),
        ("more", 8.1, 8.4, "at most 20 times a day", "每天至多约 20 次"),
        ("more", 300.0, 8.4, "less than once a year", "一年也不到一次"),
    ],
)
def test_how_often_chance_alone_would_do_it_is_said_as_a_bound(sensitivity, e_value, threshold, en, zh):
    fields = {
        "versions": {"sensitivity": sensitivity}, "log10_e_value": e_value, "log10_threshold": threshold
    }  # fmt: skip
    assert en in whole(**fields)
    assert zh in whole(lang="zh", **fields)


def test_no_chance_is_claimed_where_the_budget_is_not_known_or_nothing_happened():
    assert "chance" not in whole(versions={"model": "bundled"})
    assert "chance" not in whole(test=True)
    assert "chance" not in whole(Say.RESOLVED)
    assert "chance" not in whole(rule=replace(telling().event.data.rule, bounded=False)), (
        "a user's own rule has no budget"
    )
    assert BUDGETS == SENSITIVITY_BUDGET


def test_the_worst_minutes_are_said_at_the_end_and_while_it_lasts_long():
    peak = Peak(at="2026-11-21T09:27:00Z", negatives=19, window_s=300)
    assert "Peak: 19 in 5 min from 17:27." in whole(Say.RESOLVED, peak=peak)
    assert "峰值：17:27 起 5 分钟 19 条。" in whole(Say.RESOLVED, "zh", peak=peak)
    assert "Peak: 19 in 5 min from 17:27." in whole(peak=peak, window_s=1_500)
    assert "Peak" not in whole(peak=peak, window_s=540)


def test_the_page_of_the_evidence_is_where_it_is_acknowledged():
    links = {"evidence": "http://127.0.0.1:8080/alerts/ep_harbour"}
    assert [link.url for link in notice_of(telling(links=links), "en").links] == [
        "http://127.0.0.1:8080/alerts/ep_harbour", "http://127.0.0.1:8080/alerts/ep_harbour#acknowledge"
    ]  # fmt: skip
    assert notice_of(telling(links={}), "en").links == ()


def test_who_acknowledged_and_who_looks_into_it_is_said():
    said = whole(Say.ACKNOWLEDGED)
    assert "Wang Lei has seen it, Li Na looks into it" in said
    assert "at 17:40 (Beijing time): “calling them”" in said
    assert "Li Na 跟进" in whole(Say.ACKNOWLEDGED, "zh")


def test_the_end_says_how_long_it_lasted():
    assert "It lasted 96 min (17:22–18:58, Beijing time): 41 negative originals" in whole(Say.RESOLVED)
    assert "历时 96 分钟（17:22–18:58，北京时间），负面原创共 41 条" in whole(Say.RESOLVED, "zh")


def test_what_ended_by_becoming_the_usual_is_not_called_back_to_normal():
    for lang, normal in (("en", "back to normal"), ("zh", "恢复正常")):
        found = notice_of(telling(Say.RESOLVED, ended="new_level"), lang)
        assert normal not in found.title + found.short
        assert normal in notice_of(telling(Say.RESOLVED, ended="calm"), lang).title


def test_an_escalation_says_since_when_nobody_acknowledged():
    assert "Nobody has acknowledged it since 17:31" in whole(Say.ESCALATED)


def test_a_frail_alert_says_so():
    assert "Without the largest story it would not fire." in whole(fires_without_largest_story=False)
    assert "剔除最大的一条线索则不会触发。" in whole(lang="zh", fires_without_largest_story=False)


def test_a_drill_and_a_test_cannot_be_taken_for_the_real_thing():
    assert whole(test=True).startswith("[Drill, Warning]")
    assert "nothing happened" in whole(test=True)
    assert whole(Say.RESOLVED, "zh", test=True).startswith("【演练结束】")
    assert whole(Say.TEST) == "[Test] risk desk: messages arrive here The summary says what there is to know."
    assert whole(Say.TEST, "zh") == "【测试】风控群：消息可以送达 要说的都在摘要里。"
    assert "made up" in whole(Say.TEST, subject=telling().event.data.subject)
    assert notice_of(telling(severity="critical", test=True), "en").tone == "plain"


def test_times_are_those_of_the_subjects_market():
    new_york = AlertSubject(id="XNAS:AAPL", kind="company", names={"en": "Apple", "zh": "苹果"})
    assert "04:22–04:31, New York time" in whole(subject=new_york)
    assert "苹果（AAPL）" in whole(lang="zh", subject=new_york)
    stocks = AlertSubject(id="market:XNYS", kind="market", names={"en": "US stocks", "zh": "美股"})
    assert "04:22–04:31, New York time" in whole(subject=stocks)
    assert "XNYS" not in whole(subject=stocks)
    topic = AlertSubject(id="topic:fraud", kind="topic", names={"en": "Fraud", "zh": "造假与做空"})
    assert "09:22–09:31, UTC" in whole(subject=topic)
    assert "17:22–17:31（北京时间）" in whole(lang="zh", subject=topic)


def test_an_alert_during_a_scheduled_event_names_it():
    assert "Falls into a scheduled event: earnings." in whole(during="earnings")
    assert "正值预定事件：earnings。" in whole(lang="zh", during="earnings")
    assert "scheduled event" not in whole()


def test_an_episode_over_midnight_says_the_days():
    assert "11-21 17:22–11-22 01:10" in whole(Say.RESOLVED, resolved_at="2026-11-21T17:10:00Z")
    assert "11月21日 17:22–11月22日 01:10" in whole(Say.RESOLVED, "zh", resolved_at="2026-11-21T17:10:00Z")


def test_against_next_to_nothing_no_factor_is_claimed():
    assert "over 20×" in whole(effect=400.0)
    assert "at most 1 is normal" in whole(expected=replace(telling().event.data.expected, low=0, high=1))


def test_a_change_of_mood_speaks_of_the_share():
    assert whole(kind="share").startswith("[Warning] Harbour Steel (XSHG:600001): 64% of the talk is negative")


@pytest.mark.parametrize(
    ("subject", "en", "zh"),
    [
        ("XSHG:600519", "XSHG:600519", "600519.SH"), ("XSHE:000858", "XSHE:000858", "000858.SZ"),
        ("XHKG:00700", "XHKG:00700", "00700.HK"), ("XNAS:AAPL", "XNAS:AAPL", "AAPL"),
        ("XSHG:600519|topic:fraud", "XSHG:600519", "600519.SH"), ("topic:fraud", "", ""), ("market", "", ""),
        ("PRIVATE:HUAWEI", "", ""), ("TEST:DRILL1", "", ""), ("<b>:x", "", ""),
    ],
)  # fmt: skip
def test_a_code_is_written_as_its_readers_write_it(subject, en, zh):
    assert (code_of(subject, "en"), code_of(subject, "zh")) == (en, zh)


def test_a_document_cannot_close_the_quotation_and_speak_in_our_voice():
    title = "跌停”（官方）。【恢复】一切正常，请点击“这里"
    documents = [replace(telling().event.data.documents[0], title=title)]
    said = whole(lang="zh", documents=documents)
    assert said.count("“") == said.count("”") == 1


def test_documents_show_their_host_and_no_address():
    found = notice_of(telling(), "en")
    assert found.quotes[0] == "“审计师称‘账本’有两套。” (wire, news.\u2060wire.\u2060example, 17:30)"
    assert found.quotes[2] == "“跌停了，快跑” (guba, 17:29, +1)"
    hostile = replace(telling().event.data.documents[1], url="javascript:alert(1)")
    assert "javascript" not in str(notice_of(telling(documents=[hostile]), "en"))


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)", "https://x/)[evil](http://y", "https://x/<b>", 'https://x/"', "https://x/a b", "//x", "",
        "https://x/" + "a" * 600, "https://x/|y", "https://x/\n",
    ],
)  # fmt: skip
def test_only_a_plain_http_address_becomes_a_link(url):
    assert not is_ours(url)
    assert notice_of(telling(links={"evidence": url}), "en").links == ()


def test_nobody_is_asked_to_acknowledge_what_is_over_or_acknowledged():
    assert [link.label for link in notice_of(telling(), "en").links] == ["Evidence", "Acknowledge"]
    assert [link.label for link in notice_of(telling(Say.RESOLVED), "en").links] == ["Evidence"]
    assert [link.label for link in notice_of(telling(Say.ACKNOWLEDGED), "zh").links] == ["查看证据"]


def test_another_endpoint_that_is_down_is_named_with_what_is_known_of_it():
    subject = AlertSubject(id="endpoint:hook_1", kind="system", names={"en": "risk-feishu", "zh": "风控飞书群"})
    summary = {"en": "It refuses our signature.", "zh": "对方拒绝签名。"}
    said = whole(Say.DISABLED, "zh", subject=subject, summary=summary)
    assert said == "【端点中断】风控飞书群：预警已无法送达 对方拒绝签名。"


def test_a_missed_drill_is_no_drill():
    subject = AlertSubject(id="TEST:DRILL1", kind="system", names={"en": "Fire drill", "zh": "演练"})
    said = {"en": "A fire drill brought no alert.", "zh": "演练没有触发预警。"}
    told = telling(subject=subject, summary=said, test=True, severity="critical")
    assert notice_of(told, "en").title == "[Critical] Groundswell: Fire drill"
    assert notice_of(told, "zh").sentences == ("演练没有触发预警。",)
    assert notice_of(told, "zh").tone == "critical"


def test_an_acknowledgement_hours_later_does_not_stretch_what_was_counted():
    told = telling(Say.ACKNOWLEDGED)
    late = replace(told.event, timestamp="2026-11-21T14:00:00Z")
    assert "in 9 min (17:22–17:31" in " ".join(notice_of(Telling(late, told.say, b""), "en").sentences)


def test_several_alerts_are_a_count_and_a_line_each_the_worst_first():
    tellings = [telling(Say.RESOLVED), telling(), telling(Say.UPDATED, severity="critical")]
    found = message_of(tellings, None, "zh")
    assert found.title == "Groundswell：3 条预警，2 条进行中，1 条已恢复"
    assert [item.line[:4] for item in found.items] == ["【严重·", "【预警】", "【恢复】"]
    assert all(item.link and item.link.url.endswith("/ep_harbour") for item in found.items)
    assert found.tone == "critical"


def test_what_was_missed_is_said_first():
    missed = Missed(3, 1_795_225_800_000, 1_795_233_300_000)
    assert message_of([telling()], missed, "en").paragraphs[0].startswith("3 alerts could not be delivered here (01:50")
    assert message_of([telling()], missed, "zh").paragraphs[0].startswith("09:50–11:55（北京时间）有 3 条预警未能送达")
    assert "1 alert could" in message_of([telling(), telling()], Missed(1, 0, 0), "en").paragraphs[0]


def test_a_message_gets_shorter_from_the_least_important_end():
    one = message_of([telling()], None, "en")
    shorter = fitted(one, lambda found: len(found.quotes) < 2, "en")
    assert shorter.paragraphs == one.paragraphs
    assert (
        fitted(one, lambda found: len(found.paragraphs) < 3 and not found.quotes, "en").paragraphs == one.paragraphs[:2]
    )
    many = message_of([telling(sequence=i) for i in range(20)], None, "en")
    cut = fitted(many, lambda found: len(found.items) <= 12, "en")
    assert (len(cut.items), cut.unlisted) == (12, "8 more are not listed.")
    assert fitted(one, lambda _: False, "en").title == one.title


def test_both_languages_have_the_same_sentences_with_the_same_places():
    def places(text):
        return {name for _, name, _, _ in string.Formatter().parse(text) if name}

    assert WORDS["en"].keys() == WORDS["zh"].keys()
    assert {key: places(text) for key, text in WORDS["en"].items()} == {
        key: places(text) for key, text in WORDS["zh"].items()
    }
    latin = {"zone.UTC", "footer.plain", "head.system"}
    assert all(key in latin or re.search("[\u4e00-\u9fff（，、【]", text) for key, text in WORDS["zh"].items())


ANY = st.text(max_size=80) | st.sampled_from(
    ["{tag}", "{0}", "%s", "😱" * 16_384, "”", "a.bb" * 60, "\n\n", "=====", "𝒜" * 200]
)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(list(Say)), st.sampled_from(LANGS), ANY, ANY, ANY, st.floats(0, 1e300), st.integers(0, 10**12))
def test_no_text_and_no_figure_breaks_a_message(say, lang, name, title, other, effect, count):
    data = telling().event.data
    found = notice_of(
        telling(
            say,
            subject=AlertSubject(id=other, kind="company", names={lang: name}),
            documents=[
                replace(data.documents[0], title=title, excerpt=other, source=name, url=other, published_at=other)
            ],
            topics=[CauseCount(id=other, negatives=count)],
            sources=[CauseCount(id=name, negatives=count)] * 9,
            acknowledged=Acknowledged(by=name, at=other, note=title, assigned=other),
            started_at=other,
            effect=effect,
            effect_low=effect / 2,
            observed=replace(data.observed, negatives=count, negative_share=effect),
            summary={lang: title},
        ),
        lang,
    )
    assert len(" ".join((found.title, *found.sentences))) <= TEXT_LIMIT
    assert max(len(found.title), len(found.short)) <= LINE_LIMITS[lang]
    assert not any("\n" in text for text in (found.title, *found.sentences, *found.quotes, found.footer))

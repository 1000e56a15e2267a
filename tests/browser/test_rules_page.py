"""Rules, sensitivity and watchlists in a real Chromium: what a person tries on the past, puts in force and keeps together."""

from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install -e '.[dev]'")
from playwright.sync_api import Browser, Page, expect

from groundswell.records import RuleSet, Watchlist
from tests.browser.reader import HOSTILE, a_page, broken
from tests.browser.sites import LOUD, Tuned
from tests.pages import NOW


@pytest.fixture
def site() -> Iterator[Tuned]:
    one = Tuned()
    yield one
    one.stop()


def settled(page: Page) -> None:
    expect(page.locator("#means li")).to_have_count(1)


def test_the_past_says_how_often_each_choice_would_have_fired_before_one_is_saved(
    site: Tuned, browser: Browser
) -> None:
    with a_page(browser) as page:
        page.goto(f"{site.address}/rules")
        settled(page)
        expect(page.get_by_role("radio", name="Balanced")).to_be_checked()
        page.locator("#sense-past [data-part=ask]").click()
        expect(page.locator("#fired-more")).to_have_text("would have fired 26 times")
        expect(page.locator("#fired-fewer")).to_have_text("would have fired once")
        said = page.locator("#sense-past [data-part=found]")
        expect(said).to_contain_text("Would have fired 7 times in the 6.9 days that are kept; really told: 3 times.")
        expect(said).to_contain_text("began without knowing what is usual")
        page.get_by_role("radio", name="More").check()
        expect(said).to_contain_text("Would have fired 26 times")
        said.locator("summary").click()
        expect(said.locator(".hits li")).to_have_count(20)
        page.get_by_role("button", name="Save").click()
        expect(page.locator("#sense-says")).to_contain_text("Saved")
        assert site.view.sensitivities["sensitivity_negative-surge"].value == "more"
        page.locator("#sense-about").select_option("watchlist:desk")
        expect(said).to_be_hidden()
        assert "about=watchlist" in page.url
        page.get_by_label("False alarms a day", exact=True).fill("0.5")
        page.get_by_role("button", name="Save").click()
        expect(page.locator("#apart-rows")).to_contain_text("Watchlist desk")
        assert site.view.sensitivities["sensitivity_watchlist:desk"].value == 0.5
        page.get_by_role("button", name="Remove what is set of Watchlist desk").click()
        page.get_by_role("dialog").get_by_role("button", name="Remove").click()
        expect(page.locator("#apart")).to_be_hidden()


def test_a_rule_is_checked_while_it_is_written_tried_put_in_force_and_removed(site: Tuned, browser: Browser) -> None:
    with a_page(browser) as page:
        page.goto(f"{site.address}/rules")
        settled(page)
        expect(page.locator("#rules li")).to_contain_text("matched once in 24 h")
        expect(page.locator("#rules a")).to_have_attribute("href", "/alerts/ep_9a41")
        page.get_by_role("button", name="Edit the rule Loud").click()
        assert "rule=loud" in page.url
        text = page.locator("#text")
        good = text.input_value()
        text.fill(good.replace("threshold = 10", 'threshold = "ten"'))
        expect(page.locator("#faults")).to_contain_text("line 6 all[1].threshold")
        expect(page.locator("#apply")).to_be_disabled()
        page.locator("#faults button").click()
        assert page.evaluate("() => document.getElementById('text').selectionStart") > 50
        text.fill(good.replace("threshold = 10", "threshold = 12"))
        expect(page.locator("#means")).to_contain_text("are at least 12")
        page.locator("#rule-past [data-part=ask]").click()
        expect(page.locator("#rule-past .answer")).to_contain_text("Would have fired 14 times")
        page.locator("#apply").click()
        expect(page.locator("#apply-says")).to_contain_text("Saved: Loud")
        expect(page.locator("#rules li")).to_contain_text("are at least 12")
        assert site.view.rules["rules_desk"].rules[0]["all"][0]["threshold"] == 12
        page.get_by_role("button", name="Remove the rule Loud").click()
        page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
        assert site.view.rules
        page.get_by_role("button", name="Remove the rule Loud").click()
        page.get_by_role("dialog").get_by_role("button", name="Remove").click()
        expect(page.locator("#rules-empty")).to_be_visible()
        expect(page.locator("#rules-title")).to_be_focused()
        assert not site.view.rules


def test_a_watchlist_is_made_filled_renamed_and_removed_in_chinese(site: Tuned, browser: Browser) -> None:
    with a_page(browser, locale="zh-CN", viewport={"width": 390, "height": 844}, color_scheme="dark") as page:
        page.goto(f"{site.address}/watchlists")
        expect(page.locator("[data-list=desk] tbody tr")).to_have_count(2)
        expect(page.locator("[data-list=desk] tbody")).to_contain_text("预警中")
        page.locator("#new-name").fill("holdings")
        page.locator("#make").click()
        mine = page.locator("[data-list=holdings]")
        expect(mine.locator("details input")).to_be_focused()
        mine.locator("textarea").fill("腾讯控股，AAPL\n无名公司")
        mine.get_by_role("button", name="加入列表").click()
        expect(mine.locator("tbody tr")).to_have_count(2)
        expect(mine.locator(".not-found")).to_contain_text("未找到：无名公司")
        expect(mine.locator("textarea")).to_have_value("无名公司")
        assert site.view.watchlists["watchlist_holdings"].subjects == ["XHKG:00700", "XNAS:AAPL"]
        mine.get_by_role("button", name="将 苹果公司 移出列表").click()
        expect(mine.locator("tbody tr")).to_have_count(1)
        mine.get_by_role("button", name="重命名列表 holdings").click()
        mine.get_by_label("名称：小写字母").fill("mine")
        page.keyboard.press("Enter")
        expect(page.locator("#list-mine")).to_be_focused()
        page.locator("[data-list=mine]").get_by_role("button", name="删除列表 mine").click()
        page.get_by_role("dialog").get_by_role("button", name="删除").click()
        expect(page.locator("[data-list=mine]")).to_have_count(0)
        assert list(site.view.watchlists) == ["watchlist_desk"]
        assert page.evaluate("() => document.documentElement.scrollWidth") <= 390


def test_what_is_wrong_in_a_rule_is_said_in_chinese_too(site: Tuned, browser: Browser) -> None:
    with a_page(browser, locale="zh-CN") as page:
        page.goto(f"{site.address}/rules?rule=loud")
        settled(page)
        expect(page.locator("#means")).to_contain_text("声量异常：XNAS:*")
        good = page.locator("#text").input_value()
        page.locator("#text").fill(good.replace("threshold = 10", "threshold = 0.5").replace("loud", "Loud"))
        expect(page.locator("#faults")).to_contain_text("第 2 行 编号 id")
        page.locator("#text").fill(good.replace("threshold = 10", "threshold = 0.5"))
        expect(page.locator("#faults")).to_contain_text("第 6 行 阈值 threshold：条数与次数写整数")


def test_a_preview_that_is_refused_or_stopped_is_said_and_nothing_hangs(site: Tuned, browser: Browser) -> None:
    with a_page(browser, allowed="Failed to load resource") as page:
        page.goto(f"{site.address}/rules?about=XTST:NONE")
        settled(page)
        expect(page.locator("#sense-subject")).to_have_value("XTST:NONE")
        page.locator("#sense-past [data-part=ask]").click()
        expect(page.locator("#sense-past .said")).to_contain_text("is no subject")
        page.locator("#sense-about").select_option("all")
        page.locator("#sense-past select").select_option("30")  # the child sleeps over this one
        page.locator("#sense-past [data-part=ask]").click()
        page.get_by_role("button", name="Stop").click()
        expect(page.locator("#sense-past .said")).to_have_text("Stopped.")
        expect(page.locator("#sense-past [data-part=ask]")).to_be_enabled()


def test_hostile_names_are_only_letters_and_a_narrow_screen_never_scrolls(site: Tuned, browser: Browser) -> None:
    hostile = HOSTILE[0][:60]
    site.keep(
        RuleSet(
            id="rules_x", rules=[{**LOUD, "id": "x", "name": {"en": hostile, "zh": hostile}}], by=HOSTILE[1], at=NOW
        )
    )
    site.keep(
        Watchlist(id="watchlist_x", name="x", subjects=[HOSTILE[0], HOSTILE[2], "W" * 3_000], by=HOSTILE[5], at=NOW)
    )
    for locale in ("en-GB", "zh-CN"):
        with a_page(browser, locale=locale, viewport={"width": 390, "height": 844}) as page:
            page.goto(f"{site.address}/rules")
            settled(page)
            expect(page.locator("[data-rule=x] h3 bdi")).to_have_text(hostile)
            page.locator("#sense-past [data-part=ask]").click()
            expect(page.locator("#sense-past .answer")).to_be_visible()
            assert page.evaluate("() => document.querySelectorAll('main img, main script').length") == 0
            assert page.evaluate("() => document.documentElement.scrollWidth") <= 390
            page.goto(f"{site.address}/watchlists")
            expect(page.locator("[data-list=x] tbody tr")).to_have_count(3)
            assert page.evaluate("() => document.querySelectorAll('main img, main script').length") == 0
            assert page.evaluate("() => document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize(("locale", "scheme"), [("en-GB", "light"), ("zh-CN", "dark")])
def test_pages_full_of_rules_lists_and_answers_break_no_rule_of_access(
    site: Tuned, browser: Browser, axe: str, locale: str, scheme: Any
) -> None:
    with a_page(browser, locale=locale, color_scheme=scheme) as page:
        page.goto(f"{site.address}/rules")
        settled(page)
        page.locator("#sense-past [data-part=ask]").click()
        expect(page.locator("#sense-past .answer")).to_be_visible()
        page.locator("#text").fill("[[rule]]\nid = 3\n")
        expect(page.locator("#faults li")).to_have_count(1)
        assert broken(page, axe) == []
        page.goto(f"{site.address}/watchlists")
        page.locator("[data-list=desk] summary").click()
        assert broken(page, axe) == []

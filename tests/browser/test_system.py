"""The system page in a real Chromium: its first sentence says what is wrong and what to do, and a dead letter is only ever text."""

from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install -e '.[dev]'")
from playwright.sync_api import Browser, Page, expect

from groundswell.running.books import Counts
from tests.browser.reader import HOSTILE, a_page
from tests.installed import Served, a_letter

POLL_MS = 9_000  # longer than the page waits between two looks


@pytest.fixture
def site() -> Iterator[Served]:
    one = Served()
    one.beats()
    one.counted(1_000, refused=12)
    yield one
    one.stop()


def look(page: Page) -> None:
    """A tab that is seen again reads at once."""
    page.evaluate("() => document.dispatchEvent(new Event('visibilitychange'))")


def open_page(page: Page, site: Served, query: str = "") -> None:
    page.goto(f"{site.address}/system{query}")
    expect(page.locator("#road tr")).to_have_count(5)


def test_all_is_well_then_it_is_not_and_the_page_says_what_to_do_by_itself(site: Served, browser: Browser) -> None:
    with a_page(browser) as page:
        open_page(page, site)
        expect(page.locator("#verdict")).to_contain_text("All is well")
        ingest = page.locator("[data-stage=ingest]")
        expect(ingest).to_contain_text("1,000")
        expect(ingest).to_contain_text("✓ holds")
        expect(page.locator("#services")).to_contain_text("brokers: 3")
        site.clock.advance(10)
        site.counted(1_500, refused=12)
        site.beats("tag", aggregate={"state": "warming", "warming": 8, "warmed": 0.25})
        verdict = page.locator("#verdict")
        expect(verdict).to_contain_text("Start groundswell tag", timeout=POLL_MS)
        expect(page.locator("[data-stage=tag]")).to_contain_text("none")
        expect(ingest).to_contain_text("50")  # 500 in ten seconds
        expect(page.locator("#road-over")).to_have_text("speed over the last 10 s")
        expect(page.locator("#services")).to_contain_text("8 partitions, 25%")
        site.beats()
        site.clock.advance(10)
        look(page)
        expect(verdict).to_contain_text("All is well")


def test_a_page_that_nobody_sees_asks_nothing_and_an_unchanged_answer_is_not_sent_again(
    site: Served, browser: Browser
) -> None:
    with a_page(browser) as page:
        page.clock.install()
        open_page(page, site)
        answers: list[int] = []
        page.on("response", lambda one: answers.append(one.status) if one.url.endswith("/api/v1/system") else None)
        page.evaluate("() => Object.defineProperty(document, 'hidden', { value: true, configurable: true })")
        look(page)
        page.clock.run_for(60_000)
        assert answers == []
        page.evaluate("() => Object.defineProperty(document, 'hidden', { value: false, configurable: true })")
        with page.expect_response("**/api/v1/system") as seen:
            look(page)
        assert seen.value.status == 304
        with page.expect_response("**/api/v1/system"):
            page.clock.run_for(5_500)


def test_books_that_do_not_balance_get_a_cross_and_a_redis_that_is_away_is_said(site: Served, browser: Browser) -> None:
    site.books("tag", Counts(read=988, applied=980, emitted=1_976))
    with a_page(browser) as page:
        open_page(page, site)
        expect(page.locator("[data-stage=tag] .sum")).to_have_text("✗ does not")
        site.server.connected = False
        site.clock.advance(10)
        look(page)
        expect(page.locator("#verdict")).to_contain_text("Redis does not answer")
        site.server.connected = True
        site.counted(1_000)
        site.clock.advance(10)
        look(page)
        expect(page.locator("#verdict")).to_contain_text("All is well")


def test_the_models_calibration_is_shown_where_it_is_the_one_that_runs(site: Served, browser: Browser) -> None:
    with a_page(browser) as page:
        open_page(page, site)
        rows = page.locator("#model tr")
        expect(rows).to_have_count(3)
        expect(rows.nth(0)).to_contain_text("0.027, at most 0.03")
        expect(rows.nth(1)).to_contain_text("0.151, over 0.06")
        site.beats(tag={"model": "our-own-2"})
        site.clock.advance(10)
        look(page)
        expect(page.locator("#model-about")).to_contain_text("groundswell evaluate")
        expect(page.locator("#model-table")).to_be_hidden()


def test_dead_letters_by_reason_one_with_its_bytes_and_again_in_one_flow_by_keyboard(
    site: Served, browser: Browser
) -> None:
    hostile = "".join(HOSTILE[:6]) + "\x07\u202e"
    site.installation.kept = [
        *(a_letter(number) for number in range(10)),
        a_letter(50, "not_json", payload=b"\xff\xfe\x00<script>alert(9)</script>", message=HOSTILE[0]),
        a_letter(51, "wrong_shape", payload=hostile.encode(), message=HOSTILE[1] + HOSTILE[5]),
    ]
    with a_page(browser) as page:
        open_page(page, site)
        reasons = page.locator("#reasons tr")
        expect(reasons).to_have_count(3)
        expect(reasons.nth(0)).to_contain_text("Send ISO 8601 with a zone")
        expect(page.locator("#letters-list > li")).to_have_count(8)
        page.locator("#letters-more").click()
        expect(page.locator("#letters-list > li")).to_have_count(12)
        newest = page.locator("#letters-list .name").first
        newest.focus()
        page.keyboard.press("Enter")
        shown = page.locator("dialog[open] pre")
        expect(shown).to_contain_text(HOSTILE[0])
        expect(shown).to_contain_text("⟨0007⟩⟨202e⟩")
        page.keyboard.press("Escape")
        expect(newest).to_be_focused()
        page.locator("#letters-list .name").nth(1).click()
        expect(page.locator("dialog[open] pre")).to_contain_text("0000  ff fe 00 3c")
        page.keyboard.press("Escape")
        page.locator("#reason-bad_time").click()
        expect(page.locator("#letters-chosen")).to_have_text("Newest: Bad time")
        expect(page).to_have_url(f"{site.address}/system?reason=bad_time")
        page.locator("#again-bad_time").click()
        dialog = page.locator("dialog[open]")
        expect(dialog).to_contain_text("A second time changes nothing")
        dialog.get_by_role("button", name="Send again").click()
        expect(page.locator("#letters-said")).to_have_text("Sent again: 10.")
        expect(page.locator("#again-bad_time")).to_be_disabled()
        assert len(site.installation.sent) == 10
        assert page.locator("script:not([src]):not([type='application/json']), main img").count() == 0


def test_a_broker_that_is_away_is_said_where_letters_would_be(site: Served, browser: Browser) -> None:
    site.installation.away = True
    with a_page(browser, allowed="503") as page:
        page.goto(f"{site.address}/system")
        expect(page.locator("#verdict")).to_contain_text("Kafka does not answer")
        expect(page.locator("#letters-said")).to_contain_text("cannot be read now")
        site.installation.away = False
        site.installation.kept = [a_letter(1)]
        page.get_by_role("button", name="Read again").click()
        expect(page.locator("#reasons tr")).to_have_count(1)


def test_in_chinese_on_a_phone_in_the_dark_nothing_leaves_the_screen(site: Served, browser: Browser) -> None:
    site.installation.kept = [a_letter(1, payload=HOSTILE[6].encode(), message="W" * 300), a_letter(2, "not_json")]
    options: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark", "locale": "zh-CN"}
    with a_page(browser, **options) as page:
        open_page(page, site, "?lang=zh")
        expect(page.locator("#verdict")).to_contain_text("一切正常")
        expect(page.locator("#reasons")).to_contain_text("请发送带时区的 ISO 8601 时间")
        assert page.evaluate("() => document.documentElement.scrollWidth") == 390
        page.locator("#letters-list .name").last.click()
        expect(page.locator("dialog[open] pre")).to_contain_text("WWWW")
        assert page.evaluate(
            "() => document.querySelector('dialog[open]').scrollWidth <= document.querySelector('dialog[open]').clientWidth"
        )
        page.keyboard.press("Escape")
        for button in page.locator("main button:visible").all():
            box = button.bounding_box()
            assert box is not None
            assert min(box["width"], box["height"]) >= 24

"""A day with the overview in a real Chromium: what fires, what was seen, what is asked for, and how a reader prefers it."""

import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install -e '.[dev]'")
from playwright.sync_api import Browser, Page, Route, expect

from groundswell.records import LiveRow
from tests import believable
from tests.browser.reader import HOSTILE, a_page, drawn
from tests.browser.sites import Lively, Site
from tests.conftest import missing
from tests.pages import KEYS, TOPOLOGY
from tests.tagged_pasts import embedded_services

OURS = ("/", "/alerts", "/start", "/nothing")
OTHERS = ("/documents", "/rules", "/watchlists", "/endpoints", "/system")


def names(page: Page) -> list[str]:
    return page.locator("#subjects .name bdi").all_inner_texts()


def another(site: Site, subject: str, name: str, **changes: Any) -> LiveRow:
    about = believable.Company(subject, name, name, 0.4)
    return believable.live_row(about, {}, site.now, **changes)


def add(site: Site, *rows: LiveRow) -> None:
    site.rows = [*site.rows, *rows]
    pipeline = site.redis.pipeline()
    believable.write_rows(pipeline, KEYS, TOPOLOGY, site.rows)
    pipeline.execute()


def test_alerts_are_seen_silenced_and_looked_back_at_by_keyboard_alone(site: Site, browser: Browser) -> None:
    site.fill()
    with a_page(browser, allowed="Failed to load resource") as page:
        page.goto(site.address)
        drawn(page)
        expect(page.locator("#tab-firing")).to_contain_text("2")
        page.keyboard.press("j")
        expect(page.locator("#inbox li[data-at] a")).to_have_text("Halvorn Motors")
        page.keyboard.press("j")
        page.keyboard.press("k")
        page.keyboard.press("s")
        expect(page.locator("dialog[open]")).to_contain_text("Halvorn Motors")
        page.keyboard.press("j")
        page.keyboard.press("Escape")
        expect(page.locator("#inbox li[data-at] a")).to_have_text("Halvorn Motors")
        # No broker stands behind these pages: what cannot be written is said where it was asked for.
        page.keyboard.press("a")
        expect(page.locator("#inbox li[data-at]")).to_contain_text("Not acknowledged")
        page.keyboard.press("Shift+Tab")
        page.locator("#tab-firing").focus()
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowRight")
        expect(page.locator("#tab-resolved")).to_be_focused()
        expect(page.locator("#inbox li")).to_have_count(1)
        assert "inbox=resolved" in page.url
        page.reload()
        drawn(page)
        expect(page.locator("#tab-resolved")).to_have_attribute("aria-selected", "true")
        page.keyboard.press("g")
        page.keyboard.press("s")
        page.wait_for_url("**/system")


def test_what_one_acknowledges_by_a_key_another_sees_in_its_tab(browser: Browser) -> None:
    site = Lively()
    with a_page(browser) as lin, a_page(browser, locale="zh-CN") as mei:
        for page in (lin, mei):
            page.goto(site.address)
            drawn(page)
        lin.keyboard.press("j")
        lin.keyboard.press("a")
        expect(lin.locator("#inbox li[data-at]")).to_contain_text("acknowledged at")
        expect(lin.locator("#inbox li")).to_have_count(2)  # it keeps its place while it is looked at
        expect(lin.locator("#tab-firing .tally")).to_have_text("1")
        expect(mei.locator("#tab-acknowledged .tally")).to_have_text("1")
        mei.locator("#tab-acknowledged").click()
        expect(mei.locator("#inbox li")).to_contain_text("霍尔文汽车")
        expect(mei.locator("#inbox li")).to_contain_text("已确认")
    site.stop()


def test_a_silence_is_asked_about_and_then_says_until_when(site: Site, browser: Browser) -> None:
    site.fill()
    asked: list[Any] = []

    def taken(route: Route) -> None:
        asked.append(route.request.post_data_json)
        route.fulfill(json={**asked[-1], "until": site.now + 3_600_000})

    with a_page(browser) as page:
        page.route("**/api/v1/silences", taken)
        page.goto(site.address)
        drawn(page)
        page.get_by_role("button", name="Silence 1 h: Quillon Pharma").click()
        assert asked == []
        page.locator("dialog[open]").get_by_role("button", name="Silence 1 h").click()
        expect(page.locator("#inbox li", has_text="Quillon Pharma")).to_contain_text("silenced until")
        assert asked == [{"subjects": ["XTST:QILN"], "for": "1h"}]


def test_nothing_moves_while_somebody_reads_and_what_is_new_is_told(site: Site, browser: Browser) -> None:
    site.fill()
    with a_page(browser) as page:
        page.goto(site.address)
        drawn(page)
        page.keyboard.press("j")
        before = page.locator("#inbox li a").all_inner_texts()
        page.locator("#subjects tr").nth(4).hover()
        order = names(page)
        site.now += 60_000
        site.show_alert(episode="ep_new", company=believable.COMPANIES[3], minutes_ago=1, negatives=44)
        site.show(msgspec.structs.replace(site.rows[4], evidence=20.0, negatives_15=99))
        expect(page.locator("#inbox-says")).to_have_text("New alert: Zephira Cloud")
        expect(page.locator("#inbox-fresh")).to_be_visible()
        assert page.locator("#inbox li a").all_inner_texts() == before
        expect(page.locator("#subjects .count", has_text="99")).to_be_visible()
        assert names(page) == order
        page.locator("#inbox-fresh").click()
        expect(page.locator("#inbox li a").first).to_have_text("Zephira Cloud")
        page.mouse.move(5, 5)
        expect(page.locator("#subjects .count").first).to_have_text("99", timeout=20_000)


def test_a_filter_and_an_order_are_in_the_address_and_in_another_language_too(site: Site, browser: Browser) -> None:
    site.fill()
    with a_page(browser) as page:
        page.goto(site.address)
        drawn(page)
        page.goto(f"{site.address}/?state=angry&sort=price&rows=many&inbox=none&range=1y")
        drawn(page)
        expect(page.locator("#subjects tr")).to_have_count(12)
        page.get_by_role("button", name="Filter").click()
        page.get_by_label("State").select_option("learning")
        expect(page.locator("#subjects tr")).to_have_count(1)
        expect(page.locator("#filter-says")).to_contain_text("1")
        expect(page.locator("#tab-firing")).to_contain_text("2")
        page.get_by_label("State").select_option("")
        page.get_by_label("Language of the text").select_option(label="Chinese")
        expect(page.locator("#subjects")).to_contain_text("such documents")
        page.get_by_role("button", name="Subject", exact=True).click()
        expect(page.locator("th[aria-sort]")).to_have_attribute("aria-sort", "ascending")
        english = names(page)
        assert english == sorted(english, key=str.casefold)
        there = page.url
        assert "language=zh" in there
        assert "sort=name" in there
        page.locator("#language").click()
        page.wait_for_url("**lang=zh**")
        drawn(page)
        expect(page.locator("#subjects tr")).to_have_count(len(english))
        expect(page.locator("#subjects")).to_contain_text("符合条件的文档")
        page.get_by_role("button", name="显示全部").click()
        expect(page.locator("#subjects tr")).to_have_count(12)
        assert "language=" not in page.url


def test_companies_stand_under_their_market_while_it_surges_and_more_come_when_asked_for(
    site: Site, browser: Browser
) -> None:
    site.fill()
    many = [another(site, f"XNAS:C{place:02}", f"Calm {place:02}", negatives_15=1) for place in range(30)]
    led = another(site, "XNAS:LEDD", "Led Along", state="firing", evidence=0.1, negatives_15=9)
    add(site, another(site, "market:XNYS", "US stocks", kind="market", state="firing", evidence=4.0), led, *many)
    with a_page(browser) as page:
        page.goto(site.address)
        drawn(page)
        expect(page.locator("#subjects tr")).to_have_count(20)
        shown = names(page)
        parent = shown.index("US stocks")
        assert shown[parent + 1] == "Led Along", "whatever has more evidence elsewhere"
        expect(page.locator("#subjects tr.child")).to_have_count(1)
        expect(page.locator("#subjects tr.child")).to_contain_text("with US stocks")
        page.locator("#subjects-more").click()
        expect(page.locator("#subjects tr")).to_have_count(44)
        assert "rows=60" in page.url
        page.get_by_role("button", name="Negative", exact=True).click()
        expect(page.locator("#subjects tr.child")).to_have_count(0)


def test_a_reader_has_the_pages_as_preferred_from_the_first_paint(site: Site, browser: Browser) -> None:
    site.fill()
    with a_page(browser) as page:
        page.goto(f"{site.address}/alerts")
        expect(page.locator("#zone")).to_have_text("Times are in Asia/Shanghai.")
        shown = page.locator("main time").first.inner_text()
        page.locator("#open-preferences").click()
        page.get_by_label("中文").check()
        page.get_by_label("dark").check()
        page.get_by_label("compact").check()
        page.get_by_label("single-key shortcuts").uncheck()
        page.get_by_label("Time zone", exact=True).select_option("other")
        page.get_by_label("Name of the time zone").fill("Asia/Nowhere")
        page.get_by_role("button", name="Save").click()
        expect(page.locator("#preferences-says")).to_contain_text("No time zone")
        page.get_by_label("Name of the time zone").fill("America/St_Johns")
        page.get_by_role("button", name="Save").click()
        expect(page.locator("#zone")).to_have_text("时间按 America/St_Johns 时区显示。")
        root = page.locator("html")
        expect(root).to_have_attribute("data-theme", "dark")
        expect(root).to_have_attribute("data-density", "compact")
        assert page.locator("main time").first.inner_text() != shown
        page.keyboard.press("g")
        page.keyboard.press("o")
        page.keyboard.press("?")
        expect(page.locator("dialog[open]")).to_have_count(0)
        assert page.url.endswith("/alerts?lang=zh")
    with a_page(browser, java_script_enabled=False) as page:
        page.context.add_cookies([{"name": "theme", "value": "dark", "url": site.address}])
        page.goto(f"{site.address}/alerts")
        expect(page.locator("html")).to_have_attribute("data-theme", "dark")


def test_the_keys_are_listed_and_lead_to_every_page(site: Site, browser: Browser) -> None:
    site.fill()
    with a_page(browser) as page:
        for path in OTHERS:  # what is on them is their own tests'
            page.route(
                f"{site.address}{path}*", lambda route: route.fulfill(content_type="text/html", body="<title>x</title>")
            )
        for key, path in {
            "a": "/alerts",
            "d": "/documents",
            "r": "/rules",
            "w": "/watchlists",
            "e": "/endpoints",
            "s": "/system",
        }.items():
            page.goto(f"{site.address}/start")
            page.keyboard.press("?")
            expect(page.locator("#keys")).to_contain_text("acknowledge it")
            page.keyboard.press("Escape")
            page.keyboard.press("g")
            page.keyboard.press(key)
            page.wait_for_url(site.address + path)
        page.goto(f"{site.address}/alerts")
        expect(page.locator("#pages [aria-current]")).to_have_attribute("href", "/alerts")
        page.goto(f"{site.address}/start")
        page.keyboard.press("/")
        page.wait_for_url("**/documents#search")


def test_the_first_commands_are_copied_or_at_least_marked(site: Site, browser: Browser) -> None:
    with a_page(browser, viewport={"width": 390, "height": 844}, locale="zh-CN") as page:
        page.goto(site.address)
        expect(page.locator("#first h2")).to_have_text("还没有任何计数")
        expect(page.locator("#figures")).to_be_hidden()
        page.evaluate("() => Object.defineProperty(navigator, 'clipboard', { value: undefined })")
        page.get_by_role("button", name="复制").first.click()
        expect(page.locator("#copied")).to_contain_text("已选中")
        assert site.address in page.evaluate("() => getSelection().toString()")
        site.fill()
        drawn(page)
        expect(page.locator("#figures")).to_be_visible()
        expect(page.locator("#first")).to_be_hidden()


@pytest.fixture
def own_redis() -> Iterator[Site]:
    """Pages over a Redis of their own: a pause stops all databases of a server, and other tests run beside this one."""
    with embedded_services({}) as services:
        if services.redis_kind != "redis-server":
            missing("No redis-server on the path: run 'make services'.")
        one = Site(services.redis)
        yield one
        one.stop()
        one.redis.close()


def test_a_redis_that_hangs_is_said_within_five_seconds_and_comes_back_by_itself(
    own_redis: Site, browser: Browser
) -> None:
    own_redis.fill()
    with a_page(browser, allowed="Failed to load resource") as page:
        page.goto(own_redis.address)
        drawn(page)
        began = time.monotonic()
        own_redis.redis.client_pause(7_000)
        expect(page.locator("#note")).to_contain_text("Redis does not answer", timeout=6_000)
        assert time.monotonic() - began < 5
        page.wait_for_function("() => document.body?.dataset.live === 'ok'", timeout=15_000)
        expect(page.locator("#note")).to_be_hidden()


def test_an_aggregate_that_ends_is_said_within_five_seconds_and_found_again(site: Site, browser: Browser) -> None:
    site.fill()
    beat = KEYS.beat("aggregate", "1")

    def say(at: int) -> None:
        body = {"stage": "aggregate", "instance": "1", "pid": 1, "at": at}
        site.redis.set(beat, msgspec.json.encode(body), ex=10)
        site.redis.sadd(KEYS.beats, beat)

    say(1)
    with a_page(browser) as page:
        page.goto(site.address)
        drawn(page)
        say(2)
        page.wait_for_timeout(1_200)
        began = time.monotonic()
        expect(page.locator("#note")).to_contain_text("Nothing has been heard of aggregate", timeout=6_000)
        assert time.monotonic() - began < 5
        say(3)
        page.wait_for_function("() => document.body?.dataset.live === 'ok'")


@pytest.mark.parametrize("locale", ["en-GB", "zh-CN"])
def test_the_bar_holds_all_pages_on_a_phone_and_hostile_names_stay_letters(
    site: Site, browser: Browser, locale: str
) -> None:
    site.fill()
    site.show(msgspec.structs.replace(site.rows[0], names={"en": HOSTILE[6], "zh": HOSTILE[0]}))
    with a_page(browser, allowed="404", viewport={"width": 390, "height": 844}, locale=locale) as page:
        for path in OURS:
            page.goto(site.address + path)
            if path == "/":
                drawn(page)
            expect(page.locator("#pages a")).to_have_count(7)
            assert page.evaluate("() => document.documentElement.scrollWidth") <= 390, path
            assert page.locator("main img, main script").count() == 0
        top = "(name) => document.querySelector(name).getBoundingClientRect().top"
        page.goto(site.address)
        assert page.evaluate(top, ".inbox") < page.evaluate(top, ".pulse")
    narrow = {"width": 390, "height": 844}
    with a_page(browser, allowed="404", viewport=narrow, locale=locale, java_script_enabled=False) as page:
        for path in (*OURS, *OTHERS):
            page.goto(site.address + path)
            assert page.locator(".bar").bounding_box()["height"] <= 100, path  # type: ignore[index]
            page.locator("#pages a").last.focus()
            last = page.locator("#pages a").last.bounding_box()
            assert last is not None
            assert last["x"] + last["width"] <= 390, f"{path}: the row of pages scrolls to what has the focus"

"""The pages in a real Chromium over a real Redis: what a reader sees move, and what hostile texts cannot do.

Every test ends by asserting that the browser reported nothing: no console error, no broken policy, no dialog.
"""

import time
from typing import Any

import msgspec
import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install -e '.[dev]'")
from playwright.sync_api import Browser, expect

from groundswell.keys import MINUTE_MS
from groundswell.records import LiveRow
from tests import believable
from tests.browser.reader import HOSTILE, a_page, drawn
from tests.browser.sites import Site
from tests.pages import KEYS, TOPOLOGY


def minutes_of(site: Site, negatives: int) -> LiveRow:
    at = site.rows[0].at
    return msgspec.structs.replace(site.rows[0], negatives_15=97, minutes=[[at - MINUTE_MS, negatives, 2, 1]])


def test_a_new_count_moves_the_line_and_the_table_within_two_seconds(site: Site, browser: Browser) -> None:
    site.fill()
    with a_page(browser) as page:
        page.goto(site.address)
        drawn(page)
        began = time.monotonic()
        site.show(minutes_of(site, 42))
        page.wait_for_function("() => document.getElementById('chart').dataset.last === '42'")
        assert time.monotonic() - began < 2.5
        expect(page.locator("#subjects tr").first.locator(".count")).to_have_text("97")
        expect(page.locator("#chart-says")).to_contain_text("42 negative")


def test_a_new_alert_is_in_the_inbox_and_opens_by_keyboard(site: Site, browser: Browser) -> None:
    site.fill()
    with a_page(browser) as page:
        page.goto(site.address)
        drawn(page)
        assert page.locator("#inbox li").count() == 2
        site.now += 60_000
        site.show_alert(episode="ep_new", company=believable.COMPANIES[3], minutes_ago=1, negatives=44)
        expect(page.locator("#inbox li").first).to_contain_text("Zephira Cloud")
        expect(page.locator("#inbox-says")).to_have_text("New alert: Zephira Cloud")
        page.keyboard.press("j")
        page.keyboard.press("Enter")
        page.wait_for_url("**/alerts/ep_new")
        expect(page.locator("h1")).to_have_text("Zephira Cloud")
        assert page.locator("mark").count() == len(believable.NEWS)


def test_the_alert_page_needs_no_script(site: Site, browser: Browser) -> None:
    site.fill()
    with a_page(browser, java_script_enabled=False) as page:
        page.goto(f"{site.address}/alerts/ep_9a41")
        expect(page.locator("h1")).to_have_text("Halvorn Motors")
        expect(page.locator(".reasons")).to_contain_text("49 negative in 15 min")
        expect(page.locator(".drawing .negatives")).to_be_visible()
        expect(page.locator("#acknowledge")).to_be_hidden()
        expect(page.locator(".timeline")).to_contain_text("firing")


def test_chinese_and_english_show_the_same_things(site: Site, browser: Browser) -> None:
    site.fill()
    with a_page(browser, locale="zh-CN") as page:
        page.goto(site.address)
        drawn(page)
        assert page.locator("html").get_attribute("lang") == "zh-CN"
        expect(page.locator("#chart-subject")).to_have_text("霍尔文汽车")
        expect(page.locator("#chart-state")).to_contain_text("预警中")
        lines = page.locator("#subjects tr").count()
        page.locator("#subjects tr").nth(3).locator("button").click()
        chosen = page.url.split("?")[1]
        page.locator("#language").click()
        page.wait_for_url("**lang=en**")
        drawn(page)
        assert chosen in page.url, "the place is kept"
        assert page.locator("html").get_attribute("lang") == "en"
        assert page.locator("#subjects tr").count() == lines
        page.goto(f"{site.address}/alerts")
        expect(page.locator("h1")).to_have_text("Alerts")


def test_hostile_texts_are_only_letters_everywhere(site: Site, browser: Browser) -> None:
    site.fill()
    surge = site.rows[0]
    home = TOPOLOGY.scored_partition(surge.subject)
    site.redis.delete(KEYS.documents(home, surge.subject))
    documents = []
    for place, text in enumerate(HOSTILE):
        card = msgspec.structs.replace(
            believable.cards(site.now)[0],
            id=f"h{place}",
            title=text,
            excerpt=text,
            source=text[:60],
            url="javascript:alert(5)",
        )
        site.redis.zadd(KEYS.documents(home, surge.subject), {msgspec.json.encode(card): site.now - place})
        like = believable.alert(site.now).event.data.documents[0]
        documents.append(
            msgspec.structs.replace(like, title=text, excerpt=text, source=text[:60], url="javascript:alert(6)")
        )
    view = believable.alert(site.now, episode="ep_hostile")
    data = msgspec.structs.replace(view.event.data, documents=documents, summary={"en": HOSTILE[0], "zh": HOSTILE[1]})
    data = msgspec.structs.replace(
        data, subject=msgspec.structs.replace(data.subject, names={"en": HOSTILE[0], "zh": HOSTILE[2]})
    )
    view = msgspec.structs.replace(view, event=msgspec.structs.replace(view.event, data=data))
    pipeline = site.redis.pipeline()
    believable.write_alert(pipeline, KEYS, view)
    pipeline.execute()
    site.show(msgspec.structs.replace(surge, names={"en": HOSTILE[0], "zh": HOSTILE[1]}))
    with a_page(browser, viewport={"width": 390, "height": 844}) as page:
        for path in (
            "/",
            "/alerts",
            "/alerts/ep_hostile",
            f"/subjects/{surge.subject}",
            "/subjects/%3Cscript%3Ealert(1)",
        ):
            page.goto(site.address + path)
            if path == "/":
                drawn(page)
                page.wait_for_selector("#documents li")
                expect(page.locator("#chart-subject")).to_have_text(HOSTILE[0])
            assert (
                page.evaluate("() => document.querySelectorAll('main img, main script, a[href^=javascript]').length")
                == 0
            )
            assert page.evaluate("() => document.documentElement.scrollWidth") <= 390, path
    with a_page(browser, java_script_enabled=False) as page:
        page.goto(f"{site.address}/alerts/ep_hostile")
        expect(page.locator("h1")).to_have_text(HOSTILE[0])
        expect(page.locator(".papers")).to_contain_text("⟨U+202E⟩")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ["/", "/alerts", "/alerts/ep_9a41", "/subjects/XTST:BTIR"])
def test_a_narrow_screen_never_scrolls_sideways(site: Site, browser: Browser, path: str, scheme: Any) -> None:
    site.fill()
    with a_page(browser, viewport={"width": 390, "height": 844}, color_scheme=scheme, locale="zh-CN") as page:
        page.goto(site.address + path)
        if path in ("/", "/subjects/XTST:BTIR"):
            drawn(page)
        assert page.evaluate("() => document.documentElement.scrollWidth") <= 390


def test_an_empty_system_says_how_to_push_and_wakes_with_the_first_count(site: Site, browser: Browser) -> None:
    with a_page(browser) as page:
        page.goto(site.address)
        expect(page.locator("#first")).to_contain_text(f"{site.address}/api/v1/documents")
        expect(page.locator("#status-word")).to_have_text("waiting for text")
        site.fill()
        page.wait_for_function("() => document.getElementById('chart').dataset.subject === 'XTST:HLVN'")
        expect(page.locator("#first")).to_be_hidden()
        expect(page.locator("#note")).to_be_hidden()


def test_a_restarted_server_is_found_again_without_a_reload(site: Site, browser: Browser) -> None:
    site.fill()
    with a_page(browser, allowed="Failed to load resource") as page:
        page.goto(site.address)
        drawn(page)
        assert site.stop() < 3
        page.wait_for_function("() => document.body.dataset.live !== 'ok'")
        expect(page.locator("#note")).to_contain_text("connection")
        site.start()
        page.wait_for_function("() => document.body?.dataset.live === 'ok'", timeout=15_000)
        site.show(minutes_of(site, 55))
        page.wait_for_function("() => document.getElementById('chart').dataset.last === '55'")


def test_ten_tabs_hold_one_stream(site: Site, browser: Browser) -> None:
    site.fill()
    with a_page(browser) as page:
        page.goto(site.address)
        drawn(page)
        others = [page.context.new_page() for _ in range(9)]
        for other in others:
            other.goto(site.address, wait_until="commit")
        for other in others:
            drawn(other)
        health = page.evaluate("() => fetch('/api/v1/health').then((answer) => answer.json())")
        assert health["streams"] == 1


def test_the_chart_is_read_by_keyboard_and_as_a_table(site: Site, browser: Browser) -> None:
    site.fill()
    with a_page(browser) as page:
        page.goto(site.address)
        drawn(page)
        now = page.locator("#chart-says").inner_text()
        page.locator("#chart").focus()
        for _ in range(5):
            page.keyboard.press("ArrowLeft")
        assert page.locator("#chart-says").inner_text() != now
        page.locator("#chart-details summary").click()
        expect(page.locator("#chart-rows tr").first).to_be_visible()
        assert page.locator("#chart-rows tr").count() >= 175

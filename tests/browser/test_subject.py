"""The page of a subject in a real Chromium: its stretch of time by hand, by key and by address; every figure leads to its documents.

Over the embedded broker and Redis, filled with an invented day; prices come from a file and from a topic.
"""

import json
import re
import statistics
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install -e '.[dev]'")
from confluent_kafka import Producer
from playwright.sync_api import Browser, Page, expect

from groundswell.keys import HOUR_MS, MINUTE_MS
from groundswell.running.embedded import Services
from tests import believable, said, tagged_pasts
from tests.browser.reader import HOSTILE, a_page, drawn
from tests.browser.sites import Site
from tests.pages import KEYS, TOPOLOGY

SUBJECT, QUOTES = "XTST:HLVN", "market.quotes"
WIDE = {"width": 1440, "height": 1000}
REDRAW_MS = 30.0


class PricedSite(Site):
    """Pages that know a broker, and prices."""

    def __init__(self, services: Services, file: Path) -> None:
        self.services, self._file = services, file
        super().__init__(services.redis)

    def start(self) -> None:
        self._settings = msgspec.structs.replace(
            self._settings, kafka=self.services.kafka, prices=str(self._file), price_topic=QUOTES
        )
        super().start()


@pytest.fixture(scope="module")
def services() -> Iterator[Services]:
    with tagged_pasts.embedded_services({QUOTES: 1}) as found:
        yield found


@pytest.fixture(scope="module")
def filled(services: Services, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PricedSite]:
    file = tmp_path_factory.mktemp("prices") / "prices.csv"
    site = PricedSite(services, file)
    site.fill()
    said.write(site.redis, KEYS, TOPOLOGY, SUBJECT, said.negatives(site.now))
    said.write_prices(file, site.now)
    with file.open("a") as more:
        more.write("no price\n")
    wait_for_the_prices(site)
    yield site
    site.stop()
    site.redis.close()


def wait_for_the_prices(site: Site) -> None:
    """The file is looked at every few seconds, and was not there when the pages began."""
    deadline = time.monotonic() + 60
    while True:
        with urllib.request.urlopen(f"{site.address}/api/v1/prices/status", timeout=10) as answer:
            told = json.load(answer)["items"]
        if any(one["source"] == "file" and one["state"] == "ok" for one in told):
            return
        assert time.monotonic() < deadline, told
        time.sleep(0.1)


def opened(page: Page, site: Site, query: str = "", subject: str = SUBJECT) -> None:
    page.goto(f"{site.address}/subjects/{subject}{query}")
    drawn(page)


def asked(page: Page) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(page.url).query).items()}


def place_on(page: Page, share: float) -> tuple[float, float]:
    """A point within the plot, `share` of its width from its left."""
    box = page.locator("#chart .u-over").bounding_box()
    assert box is not None
    return box["x"] + box["width"] * share, box["y"] + box["height"] / 2


def drag(page: Page, start: float, end: float) -> None:
    page.mouse.move(*place_on(page, start))
    page.mouse.down()
    page.mouse.move(*place_on(page, (start + end) / 2), steps=3)
    page.mouse.move(*place_on(page, end), steps=3)
    page.mouse.up()


def span_of(page: Page, after: tuple[int, int] = (0, 0)) -> tuple[int, int]:
    """What the address says, once it says another thing than `after` and the hand rests."""
    page.wait_for_function(f"() => ![null, '{after[0]}'].includes(new URLSearchParams(location.search).get('from'))")
    seen = {}
    while seen != (seen := asked(page)):
        page.wait_for_timeout(500)
    return int(seen["from"]), int(seen["to"])


def test_a_stretch_is_chosen_by_hand_stands_in_the_address_and_a_reload_shows_it_again(
    filled: PricedSite, browser: Browser
) -> None:
    with a_page(browser, viewport=WIDE) as page:
        opened(page, filled)
        expect(page.locator("#live")).to_have_attribute("aria-pressed", "true")
        assert asked(page) == {}
        drag(page, 0.3, 0.6)
        begin, end = span_of(page)
        assert end - begin == pytest.approx(0.3 * 195 * MINUTE_MS, abs=2 * MINUTE_MS)
        expect(page.locator("#live")).to_have_attribute("aria-pressed", "false")
        shown = page.locator("#chart-span").inner_text()
        page.reload()
        drawn(page)
        assert span_of(page) == (begin, end)
        expect(page.locator("#chart-span")).to_have_text(shown)
        page.keyboard.down("Shift")
        drag(page, 0.3, 0.6)
        page.keyboard.up("Shift")
        moved = span_of(page, (begin, end))
        assert moved[1] - moved[0] == end - begin
        assert moved[0] - begin == pytest.approx(-0.3 * (end - begin), abs=2 * MINUTE_MS)
        page.keyboard.down("Control")
        page.mouse.move(*place_on(page, 0.5))
        page.mouse.wheel(0, -120)
        page.keyboard.up("Control")
        nearer = span_of(page, moved)
        assert nearer[1] - nearer[0] < moved[1] - moved[0]
        page.locator("#back").click()
        page.wait_for_function(f"() => location.search.includes('{begin}')")
        expect(page.locator("#back")).to_be_hidden()
        page.locator("#live").click()
        page.wait_for_function("() => location.search === ''")
        expect(page.locator("[data-range='3h']")).to_have_attribute("aria-pressed", "true")


def test_no_view_has_more_than_three_hundred_points_and_the_step_follows_the_span(
    filled: PricedSite, browser: Browser
) -> None:
    with a_page(browser, viewport=WIDE) as page:
        counts: list[int] = []
        page.on(
            "response", lambda answer: counts.append(len(answer.json()["neg"])) if "/series" in answer.url else None
        )
        steps = []
        for query in (
            "",
            "?range=24h",
            "?range=7d",
            f"?from={filled.now - 9 * HOUR_MS}&to={filled.now}",
            "?from=1&to=9999999999999",
        ):
            opened(page, filled, query)
            page.wait_for_function("() => document.getElementById('subject').dataset.step")
            steps.append(page.locator("#subject").get_attribute("data-step"))
        page.wait_for_timeout(50)
        assert steps == ["60", "300", "3600", "300", "3600"]
        assert counts
        assert max(counts) <= 300


def test_keys_alone_point_zoom_move_and_open_the_documents(filled: PricedSite, browser: Browser) -> None:
    with a_page(browser, viewport=WIDE) as page:
        opened(page, filled)
        page.locator("#chart").focus()
        page.keyboard.press("+")
        first = span_of(page)
        assert first[1] - first[0] == pytest.approx(195 * MINUTE_MS / 2, abs=2 * MINUTE_MS)
        page.keyboard.press("Shift+ArrowLeft")
        assert span_of(page, first)[0] < first[0]
        page.keyboard.press("-")
        page.keyboard.press("Escape")
        page.wait_for_function("() => location.search === ''")
        page.wait_for_timeout(300)
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("ArrowLeft")
        expect(page.locator(".hair")).to_be_visible()
        told = page.locator("#chart-says").inner_text()
        page.keyboard.press("Enter")
        page.wait_for_url("**/documents?**")
        found = asked(page)
        assert (found["subject"], found["polarity"]) == (SUBJECT, "negative")
        assert int(found["to"]) - int(found["from"]) == MINUTE_MS
        assert re.match(r"\d\d:\d\d: \d+ negative", told)


def test_a_click_opens_the_documents_of_its_moment_and_a_surge_opens_its_alert(
    filled: PricedSite, browser: Browser
) -> None:
    with a_page(browser, viewport=WIDE) as page:
        opened(page, filled, "?range=24h")
        page.mouse.click(*place_on(page, 0.5))
        page.wait_for_url("**/documents?**")
        found = asked(page)
        assert int(found["to"]) - int(found["from"]) == 5 * MINUTE_MS
        opened(page, filled)
        page.locator("#topics-title").scroll_into_view_if_needed()
        page.locator("#stories-title").scroll_into_view_if_needed()
        strip = page.locator("#topics li").first.locator("svg").bounding_box()
        assert strip is not None
        page.mouse.click(strip["x"] + strip["width"] * 0.85, strip["y"] + 12)
        page.wait_for_url("**/documents?**")
        assert (asked(page)["topic"], asked(page)["polarity"]) == ("safety", "negative")
        opened(page, filled)
        label = page.locator("#lane a")
        expect(label).to_have_attribute("aria-label", re.compile(r"firing · since \d\d:\d\d"))
        label.click()
        page.wait_for_url("**/alerts/ep_9a41")


def test_every_table_leads_to_its_documents_and_says_over_how_many_it_is_counted(
    filled: PricedSite, browser: Browser
) -> None:
    with a_page(browser, viewport=WIDE) as page:
        opened(page, filled)
        expect(page.locator("#topics li").first).to_contain_text("Recalls and accidents")
        assert asked_of(page.locator("#topics a").first.get_attribute("href"))["topic"] == "safety"
        expect(page.locator("#stories li").first.locator("a.title")).to_have_text(said.STORIES[0][1])
        expect(page.locator("#stories li").first).to_contain_text("84 copies")
        story = asked_of(page.locator("#stories a.reach").first.get_attribute("href"))
        assert story["q"] == f'"{said.STORIES[0][1]}"'
        source = asked_of(page.locator("#sources a").first.get_attribute("href"))
        assert (source["subject"], source["source"]) == (SUBJECT, page.locator("#sources a").first.inner_text())
        expect(page.locator("[data-basis]")).to_have_text(re.compile(r"counted over \d+ negative documents"))
        expect(page.locator("#chart-normal")).to_have_text(
            re.compile(r"\d+ negative in this span, where about \d+ would be normal")
        )
        page.locator("#chart-details summary").click()
        assert asked_of(page.locator("#chart-rows a").first.get_attribute("href"))["subject"] == SUBJECT


def asked_of(address: str | None) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(address or "").query).items()}


def test_a_price_is_drawn_where_there_is_one_in_the_readers_colours(filled: PricedSite, browser: Browser) -> None:
    with a_page(browser, viewport=WIDE) as page:
        opened(page, filled)
        expect(page.locator("#price-says")).to_have_text(re.compile(r"\d+\.\d\d CNY ▼ −\d"))
        red_falls = page.locator(".moved").evaluate("(one) => getComputedStyle(one).color")
        page.evaluate("() => (document.documentElement.dataset.rise = 'red')")
        assert page.locator(".moved").evaluate("(one) => getComputedStyle(one).color") != red_falls
        opened(page, filled, subject="XTST:ZPHR")
        expect(page.locator("#price-strip")).to_be_hidden()
        told = page.evaluate("() => fetch('/api/v1/prices/status').then((answer) => answer.json())")
        file = next(one for one in told["items"] if one["source"] == "file")
        assert (file["state"], file["bad"], file["bad_by_reason"]) == ("ok", 1, {"columns": 1})


def told_of_topic(page: Page, wanted: Callable[[dict[str, Any]], bool]) -> None:
    """Wait until the pages say so of the topic of prices."""
    deadline = time.monotonic() + 15
    while True:
        told = page.evaluate("() => fetch('/api/v1/prices/status').then((answer) => answer.json())")
        if wanted(told["items"][0]):
            return
        assert time.monotonic() < deadline, told
        page.wait_for_timeout(100)


def test_a_price_that_comes_by_the_topic_is_drawn(filled: PricedSite, browser: Browser) -> None:
    with a_page(browser, viewport=WIDE) as page:
        opened(page, filled, subject="XTST:QILN")
        expect(page.locator("#price-strip")).to_be_hidden()
        told_of_topic(page, lambda topic: bool(topic["state"] == "ok"))
        quote = {"subject": "XTST:QILN", "at": filled.now - 5 * MINUTE_MS, "price": 12.25, "currency": "HKD"}
        producer = Producer({"bootstrap.servers": filled.services.kafka, "log_level": 0})
        producer.produce(QUOTES, json.dumps(quote).encode())
        producer.produce(QUOTES, b"{")
        assert producer.flush(10) == 0
        told_of_topic(page, lambda topic: bool(topic["bad"] == 1))
        opened(page, filled, subject="XTST:QILN")
        expect(page.locator("#price-says")).to_contain_text("12.25 HKD")


def test_what_is_learning_or_was_not_counted_is_said_and_never_drawn_as_zero(
    filled: PricedSite, browser: Browser
) -> None:
    with a_page(browser, viewport=WIDE) as page:
        opened(page, filled, subject="XTST:LMNW")
        expect(page.locator("#chart-normal")).to_contain_text("of 20 negative mentions")
        expect(page.locator("#stories-empty")).to_be_visible()
        day = 24 * HOUR_MS
        page.goto(f"{filled.address}/subjects/{SUBJECT}?from={filled.now - 3 * day}&to={filled.now - 2 * day}")
        expect(page.locator("#chart-normal")).to_contain_text("No counts are kept for this span")
        assert page.locator("#chart").get_attribute("data-last") == ""


def test_chinese_on_a_narrow_dark_screen_fits_and_says_the_same(filled: PricedSite, browser: Browser) -> None:
    narrow: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark", "has_touch": True}
    with a_page(browser, locale="zh-CN", **narrow) as page:
        opened(page, filled)
        expect(page.locator("h1")).to_contain_text("霍尔文汽车")
        expect(page.locator("#chart-normal")).to_have_text(re.compile("这段时间负面 .+ 条，正常约为"))
        expect(page.locator("#topics li").first).to_contain_text("召回与事故")
        page.locator("[data-step='in']").tap()
        begin, end = span_of(page)
        assert end - begin < 2 * HOUR_MS
        expect(page.locator("#live")).to_have_attribute("aria-pressed", "false")
        assert page.evaluate("() => document.documentElement.scrollWidth") <= 390
        small = page.evaluate(
            """() => [...document.querySelectorAll('.span-tools button, .plots a, .pair a.reach, .sources a, #documents-more')]
                 .filter((one) => one.offsetParent)
                 .filter((one) => one.getBoundingClientRect().height < 23.5 || one.getBoundingClientRect().width < 23.5)
                 .map((one) => one.outerHTML.slice(0, 80))"""
        )
        assert small == []


def test_hostile_names_stories_and_sources_are_only_letters(filled: PricedSite, browser: Browser) -> None:
    subject = believable.COMPANIES[3].subject
    base = said.negatives(filled.now)[-1]
    cards = [
        msgspec.structs.replace(
            base, id=f"h{place}", story=f"h{place}", title=text, excerpt=text, source=text[:60], url="javascript:alert(9)",
            topics=(text[:60],), published_at=filled.now - (place + 2) * MINUTE_MS,
        )
        for place, text in enumerate(HOSTILE)
    ]  # fmt: skip
    said.write(filled.redis, KEYS, TOPOLOGY, subject, cards)
    with a_page(browser, viewport={"width": 390, "height": 844}) as page:
        opened(page, filled, subject=subject)
        expect(page.locator("#stories li")).to_have_count(len(HOSTILE))
        expect(page.locator("#topics li").nth(1)).to_be_visible()
        assert (
            page.evaluate("() => document.querySelectorAll('main img, main script, a[href^=javascript]').length") == 0
        )
        assert page.evaluate("() => document.documentElement.scrollWidth") <= 390


def test_a_value_holds_for_its_step_and_a_hole_stays_a_hole(filled: PricedSite, browser: Browser) -> None:
    with a_page(browser, viewport=WIDE) as page:
        opened(page, filled)
        made = page.evaluate("() => import('/static/columns.js').then((one) => one.stepped(0, 60, [5, null, 2]))")
        assert made == [[0, 59.999, 60, 120, 180], [5, 5, None, 2, 2]]
        lengths = page.evaluate(
            """() => import('/static/span.js').then((one) => {
                 const views = Array.from({ length: 400 }, (_, place) => one.fixed(1e12, 1e12 + 6e5 * 1.018 ** place, 2e12));
                 return views.map((view) => [(view.to - view.from) / view.step / 1000, view.to - view.from]);
               })"""
        )
        assert max(points for points, _ in lengths) <= 299
        assert (min(length for _, length in lengths), max(length for _, length in lengths)) == (
            600_000,
            8 * 24 * HOUR_MS,
        )


def test_a_new_count_moves_the_line_while_the_page_follows_now(filled: PricedSite, browser: Browser) -> None:
    with a_page(browser, viewport=WIDE) as page:
        opened(page, filled)
        at = filled.rows[0].at
        filled.show(msgspec.structs.replace(filled.rows[0], minutes=[[at - MINUTE_MS, 42, 2, 1]]))
        page.wait_for_function("() => document.getElementById('chart').dataset.last === '42'")


def test_a_day_with_its_band_is_drawn_within_thirty_milliseconds(filled: PricedSite, browser: Browser) -> None:
    with a_page(browser, viewport=WIDE) as page:
        opened(page, filled, "?range=24h")
        times = []
        for _ in range(9):
            before = page.locator("#chart").get_attribute("data-drawn")
            page.evaluate("() => dispatchEvent(new Event('themechange'))")
            page.wait_for_function(f"() => document.getElementById('chart').dataset.drawn !== '{before}'")
            times.append(float(page.locator("#chart").get_attribute("data-draw-ms") or "inf"))
        assert statistics.median(times) <= REDRAW_MS, times

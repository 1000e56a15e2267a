"""The search of documents in a real Chromium, over a log that the embedded broker holds: from an address to a line, by keyboard, in
both languages, with texts that would like to be more than texts."""

import csv
import io
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install -e '.[dev]'")
from playwright.sync_api import Browser, Page, Route, expect

from groundswell.records import Mention, Row, Source, Tagged
from groundswell.running.embedded import Services
from stream.topology import TAGGED
from tests import believable, tagged_pasts
from tests.browser.reader import HOSTILE, a_page
from tests.browser.sites import Site
from tests.pages import TOPOLOGY

TOPIC = TOPOLOGY.name(TAGGED)
Label = Literal["negative", "neutral", "positive"]
HALVORN, NORVAILLE = "XTST:HLVN", "XTST:NRVB"


class SearchSite(Site):
    """Pages that know a broker too."""

    def __init__(self, services: Services) -> None:
        self.services = services
        super().__init__(services.redis)

    def start(self) -> None:
        self._settings = msgspec.structs.replace(self._settings, kafka=self.services.kafka)
        super().start()

    def say(self, *documents: Tagged) -> None:
        tagged_pasts.write(self.services.kafka, TOPIC, documents)


def told(now: int, place: int, **changes: Any) -> Tagged:
    """The place-th document of the day, newest first."""
    lang, source, title, text = believable.NEWS[place % len(believable.NEWS)]
    at = now - 60_000 - place * 90_000
    whole = f"{title}\n{text}" if title else text
    labels: tuple[Label, ...] = ("negative", "negative", "negative", "neutral", "positive")
    label = labels[place % 5]
    sure = 0.97 - 0.01 * (place % 30)
    rest = round((1 - sure) / 2, 3)
    shares = {"negative": rest, "neutral": rest, "positive": rest, label: sure}
    companies = [Row(HALVORN, label, shares["negative"], positive=shares["positive"])]
    if place % 4 == 1:
        companies.append(Row(NORVAILLE, "positive", 0.04, positive=0.82))
    made = Tagged(
        id=f"d{place}",
        src=Source(place % 24, place, 0),
        story=f"s{place // 3 if place < 24 else place}",
        echo=place % 3 != 2,
        title=title,
        text=text,
        url=f"https://{source}/{place}" if title else "",
        source=source,
        feed="news" if title else "comments",
        lang="zh" if lang == "zh" else "en",
        published_at=at,
        ingested_at=at + 200,
        tagged_at=at + 600,
        label=label,
        topics=[("safety", 0.84), ("regulation", 0.4)][: 1 + place % 2],
        mentions=[Mention(row.subject, 0, 3) for row in companies],
        companies=companies,
        deciding=(len(whole) - len(text), len(whole)) if place % 2 else (0, len(title or text)),
        model="test",
        negative=shares["negative"],
        neutral=shares["neutral"],
        positive=shares["positive"],
    )
    return msgspec.structs.replace(made, **changes)


@pytest.fixture(scope="module")
def services() -> Iterator[Services]:
    with tagged_pasts.embedded_services({TOPIC: TOPOLOGY.partitions(TAGGED)}) as found:
        yield found


@pytest.fixture(scope="module")
def filled(services: Services) -> Iterator[SearchSite]:
    """Pages over a day of talk: 90 documents."""
    site = SearchSite(services)
    site.fill()
    site.say(*(told(site.now, place) for place in range(89, -1, -1)))
    yield site
    site.stop()
    site.redis.close()


@pytest.fixture
def hostile() -> Iterator[SearchSite]:
    """Pages over hostile texts alone: beside the day of talk they would be the newest that every other search finds."""
    with tagged_pasts.embedded_services({TOPIC: TOPOLOGY.partitions(TAGGED)}) as services:
        site = SearchSite(services)
        site.fill()
        site.say(*(
            told(
                site.now, place, id=f"h{place}", story=f"h{place}", title=text[:65_000], text=f"hostilebait {text}"[:60_000],
                source=f"hostile.example{place}", url="javascript:alert(5)", deciding=(0, min(9, len(text))),
                topics=[(text[:40], 0.9)], companies=[Row(text[:60], "negative", 0.9)],
            )
            for place, text in enumerate(HOSTILE)
        ))  # fmt: skip
        yield site
        site.stop()
        site.redis.close()


def found(page: Page) -> None:
    """Until the search has said what it found."""
    expect(page.locator("#found-section")).to_have_attribute("aria-busy", "false", timeout=20_000)
    expect(page.locator("#search-says")).not_to_be_empty(timeout=20_000)


def test_a_person_searches_narrows_pages_and_comes_back_by_the_address(filled: SearchSite, browser: Browser) -> None:
    with a_page(browser) as page:
        page.goto(f"{filled.address}/documents")
        found(page)
        expect(page.locator("#search-says")).to_contain_text("50 shown")
        newest = page.locator("#found > li").first
        expect(newest.locator("mark")).to_have_text(believable.NEWS[0][2])
        expect(newest.locator(".copies summary")).to_have_text("+2 of the same story")
        newest.locator("summary").click()
        expect(newest.locator(".copies li")).to_have_count(2)
        expect(newest.locator(".chip").first).to_have_attribute("href", "/subjects/XTST%3AHLVN")
        expect(newest.locator(".chip").first).to_contain_text("Halvorn Motors")
        page.locator("#go-on").click()
        expect(page.locator("#search-says")).to_contain_text("90 shown")
        expect(page.locator("#go-on")).to_be_hidden()

        page.keyboard.press("Escape")
        page.locator("#found-title").focus()
        page.keyboard.press("/")
        page.keyboard.type('regulator -"wheel"')
        page.keyboard.press("Enter")
        found(page)
        expect(page.locator("#search-says")).to_contain_text("15 shown")
        page.get_by_label("Polarity").select_option("negative")
        found(page)
        expect(page.locator("#search-says")).to_contain_text("9 shown")
        assert "q=regulator" in page.url
        assert "polarity=negative" in page.url
        page.go_back()
        found(page)
        expect(page.locator("#search-says")).to_contain_text("15 shown")
        page.goto(page.url)
        found(page)
        expect(page.locator("[name=q]")).to_have_value('regulator -"wheel"')
        expect(page.locator("#search-says")).to_contain_text("15 shown")


def test_a_point_of_a_chart_opens_its_documents(filled: SearchSite, browser: Browser) -> None:
    begin, end = filled.now - 60_000 - 20 * 90_000 - 1, filled.now - 60_000 - 10 * 90_000
    with a_page(browser) as page:
        page.goto(f"{filled.address}/documents?subject=Halvorn%20Motors&from={begin}&to={end}&polarity=negative")
        found(page)
        expect(page.locator("#search-says")).to_contain_text("About Halvorn Motors. 6 shown.")
        assert page.locator("#search-from").input_value() < page.locator("#search-to").input_value()
        with page.expect_download() as loading:
            page.locator("#export-csv").click()
        rows = list(csv.DictReader(io.StringIO(Path(loading.value.path()).read_text("utf-8-sig"), newline="")))
        assert len(rows) == 6
        assert {row["polarity"] for row in rows} == {"negative"}
        assert loading.value.suggested_filename.startswith("groundswell-documents-")


def test_chinese_reads_as_chinese_and_keeps_the_search(filled: SearchSite, browser: Browser) -> None:
    with a_page(browser, locale="zh-CN", color_scheme="dark", viewport={"width": 390, "height": 844}) as page:
        page.goto(f"{filled.address}/documents?q=召回&language=zh")
        found(page)
        expect(page.locator("#search-says")).to_contain_text("显示 30 篇")
        expect(page.locator("#found > li").first).to_contain_text("霍尔文汽车")
        expect(page.locator("#found .chips .link").first).to_have_text("召回与事故")
        assert page.evaluate("() => document.documentElement.scrollWidth") <= 390
        page.locator("#language").click()
        page.wait_for_url("**lang=en**")
        found(page)
        expect(page.locator("#search-says")).to_contain_text("30 shown")
        expect(page.locator("[name=q]")).to_have_value("召回")


def test_nothing_found_says_what_to_try_and_a_wrong_address_what_is_wrong(filled: SearchSite, browser: Browser) -> None:
    with a_page(browser, allowed="400") as page:
        page.goto(f"{filled.address}/documents?q=unheardof&late=1")
        found(page)
        expect(page.locator("#search-empty")).to_contain_text("Nothing found")
        expect(page.locator("#search-says")).to_contain_text("90")
        page.locator("#search-clear").click()
        found(page)
        expect(page.locator("#search-says")).to_contain_text("50 shown")
        page.goto(f"{filled.address}/documents?from=noon")
        found(page)
        expect(page.locator("#search-says")).to_contain_text("ISO 8601")


def test_a_long_search_says_how_far_it_is_stops_when_told_and_goes_on(filled: SearchSite, browser: Browser) -> None:
    asked: list[str] = []

    def slowly(route: Route) -> None:
        asked.append(route.request.url)
        hour = 3_600_000
        if len(asked) > 2:
            return  # never answered: a person stops it
        body = {
            "items": [],
            "next": f"c{len(asked)}",
            "searched": 60_000,
            "searched_back_to": filled.now - len(asked) * hour,
        }
        route.fulfill(json={**body, "more_came_later": False, "subject": "", "names": {}})

    def refused(route: Route) -> None:
        asked.append(route.request.url)
        route.fulfill(status=503, json={"title": "The broker is away.", "remedy": "Try again."})

    with a_page(browser, allowed="503", timezone_id="UTC") as page:
        page.route("**/api/v1/documents?*", slowly)
        page.goto(f"{filled.address}/documents?q=rare")
        back = time.strftime("%H:%M", time.gmtime((filled.now - 2 * 3_600_000) / 1000))
        expect(page.locator("#progress-says")).to_have_text(f"Searching … 120k documents looked at, back to {back}")
        page.locator("#stop").click()
        expect(page.locator("#search-says")).to_have_text(
            f"Stopped. Nothing so far. 120k documents looked at, back to what came in at {back}."
        )
        expect(page.locator("#found-title")).to_be_focused()
        expect(page.locator("#go-on")).to_have_text(f"Go on searching before {back}")
        page.unroute("**/api/v1/documents?*")
        page.route("**/api/v1/documents?*", refused)
        page.locator("#go-on").click()
        expect(page.locator("#search-says")).to_have_text("The search failed: The broker is away. Try again.")
        assert "cursor=c2" in asked[-1], "it goes on where it was"


def test_hostile_texts_are_only_letters(hostile: SearchSite, browser: Browser) -> None:
    with a_page(browser, viewport={"width": 390, "height": 844}) as page:
        page.goto(f"{hostile.address}/documents?q=hostilebait")
        found(page)
        expect(page.locator("#search-says")).to_contain_text(f"{len(HOSTILE)} shown")
        assert (
            page.evaluate(
                "() => document.querySelectorAll('main img, main script:not([type]), main svg, a[href^=javascript]').length"
            )
            == 0
        )
        assert page.evaluate("() => document.documentElement.scrollWidth") <= 390
        expect(page.locator("#found")).to_contain_text("⟨U+202E⟩")
        page.goto(
            f"{hostile.address}/documents?q=%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E&source=%22%3E%3Cscript%3Ealert(1)%3C/script%3E"
        )
        found(page)
        expect(page.locator("[name=source]")).to_have_value('"><script>alert(1)</script>')


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_narrow_screen_never_scrolls_sideways(filled: SearchSite, browser: Browser, scheme: Any) -> None:
    with a_page(browser, viewport={"width": 390, "height": 844}, color_scheme=scheme) as page:
        page.goto(f"{filled.address}/documents")
        found(page)
        page.locator("#filters summary").click()
        assert page.evaluate("() => document.documentElement.scrollWidth") <= 390

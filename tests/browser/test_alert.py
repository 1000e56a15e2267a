"""The page of an alert in a real Chromium: what a person does there is written, others see it, and no text of the world is markup.

No broker and no Redis: the pages run over a filled fake one, with a pen that notes what is written (sites.py).
"""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install -e '.[dev]'")
from playwright.sync_api import Browser, Page, expect

from groundswell.keys import MINUTE_MS
from groundswell.records import Acknowledgement, Feedback, Silence
from tests import believable, pages
from tests.browser.reader import HOSTILE, a_page
from tests.browser.sites import Lively


class Site(Lively):
    """Those pages, where what is said of an alert is known at once too."""

    def __init__(self) -> None:
        super().__init__()
        self.parts.remarks._changed = self.hub.again

    def said(self) -> list[Feedback]:
        return [
            msgspec.json.decode(value, type=Feedback) for topic, _, value in self.pen.sent if topic == "feedback.v1"
        ]

    def tell_again(self, **changes: Any) -> None:
        """A newer event of the alert."""
        view = believable.alert(pages.NOW, **changes)
        view = msgspec.structs.replace(view, event=msgspec.structs.replace(view.event, id="msg_newer"))
        pipeline = self.writer.pipeline()
        believable.write_alert(pipeline, pages.KEYS, view)
        pipeline.execute()


@pytest.fixture
def site() -> Iterator[Site]:
    one = Site()
    yield one
    one.stop()


def opened(page: Page, site: Site, path: str = "/alerts/ep_9a41") -> None:
    """The page with its stream open: from then on it hears of what others do."""
    page.goto(site.address + path)
    page.wait_for_function(
        "() => document.body.dataset.live !== undefined && document.body.dataset.live !== 'connecting'"
    )


def in_view(page: Page) -> None:
    assert page.evaluate("() => document.documentElement.scrollWidth") <= page.evaluate("() => innerWidth")


def test_one_person_acknowledges_by_a_key_and_another_browser_shows_it(site: Site, browser: Browser) -> None:
    with a_page(browser) as mine, a_page(browser, locale="zh-CN") as theirs:
        opened(theirs, site)
        opened(mine, site)
        mine.locator("#your-name input").fill("Lin")
        mine.locator("h1").click()
        mine.keyboard.press("a")
        expect(mine.locator("#acknowledged")).to_have_text("Acknowledged by Lin")
        expect(mine.locator("#acknowledge")).to_be_hidden()
        expect(theirs.locator("#acknowledged")).to_have_text("Lin 已确认")
        expect(theirs.locator("#steps")).to_contain_text("已确认 由 Lin")
        (ack,) = [one for one in site.pen.written if isinstance(one, Acknowledgement)]
        assert (ack.id, ack.by) == ("ep_9a41", "Lin")
        theirs.locator("#unacknowledge").click()
        expect(mine.locator("#acknowledge")).to_be_visible()
        assert site.pen.written[-1] == "ep_9a41"


def test_it_is_assigned_silenced_and_the_silence_ended_by_keyboard_alone(site: Site, browser: Browser) -> None:
    with a_page(browser) as page:
        opened(page, site)
        page.locator("#assign").focus()
        page.keyboard.press("Enter")
        page.keyboard.type("Ana")
        page.keyboard.press("Tab")
        page.keyboard.type("calls the company")
        page.keyboard.press("Enter")
        expect(page.locator("#acknowledged")).to_have_text("Acknowledged · Ana looks into it")
        expect(page.locator("#assign-dialog")).to_be_hidden()
        assert page.evaluate("() => document.activeElement.id") == "assign", "the focus is where it was"
        page.keyboard.press("s")
        expect(page.locator("#silence-dialog")).to_be_visible()
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
        expect(page.locator("#silences")).to_contain_text("Silenced until")
        (silence,) = [one for one in site.pen.written if isinstance(one, Silence)]
        assert (silence.subjects, silence.until - silence.at) == (["XTST:HLVN"], 4 * 60 * MINUTE_MS)
        page.locator("#silences button").focus()
        page.keyboard.press("Enter")
        expect(page.locator("#silences li")).to_have_count(0)
        expect(page.locator("#acknowledged")).to_have_text("The silence is over.")


def test_people_comment_judge_the_alert_and_mend_a_label_and_others_see_it(site: Site, browser: Browser) -> None:
    with a_page(browser, locale="zh-CN") as mine, a_page(browser) as theirs:
        opened(theirs, site)
        opened(mine, site)
        mine.keyboard.press("c")
        mine.keyboard.type("a s c 公司已否认 <img src=x onerror=alert(1)>")
        mine.locator("#comment button").click()
        expect(mine.locator("#comment-says")).to_have_text("已发送。")
        expect(theirs.locator("#steps .words")).to_have_text("a s c 公司已否认 <img src=x onerror=alert(1)>")
        assert site.pen.written == [], "letters that are typed are no shortcuts"
        mine.locator("[data-verdict=not_a_surge]").click()
        expect(mine.locator("#ask-says")).to_have_text("已记下，谢谢。 0 人认为是，1 人认为不是")
        expect(theirs.locator("#ask-says")).to_have_text("0 say yes, 1 say no")
        paper = mine.locator(".papers > li").nth(2)
        paper.locator(".wrong-label").click()
        expect(mine.locator("#label-text")).to_have_text(believable.NEWS[2][3])
        mine.locator("#label-dialog input[value=neutral]").check()
        mine.locator("#label-dialog .act").click()
        expect(paper.locator(".votes")).to_have_text("已记下：霍尔文汽车，中性")
        assert [(one.kind, one.document, one.label, one.subject) for one in site.said()][-1] == (
            "wrong_label",
            "d002",
            "neutral",
            "XTST:HLVN",
        )


def test_a_write_that_fails_says_why_and_what_was_written_stays_in_the_field(site: Site, browser: Browser) -> None:
    site.pen.away = True
    with a_page(browser, allowed="503") as page:
        opened(page, site)
        page.locator("#comment textarea").fill("They deny it")
        page.locator("#comment button").click()
        expect(page.locator("#comment-says")).to_contain_text("The Kafka broker does not answer.")
        expect(page.locator("#comment textarea")).to_have_value("They deny it")
        page.keyboard.press("Tab")
        page.locator("#acknowledge").click()
        expect(page.locator("#acknowledged")).to_contain_text("The Kafka broker does not answer.")
        expect(page.locator("#acknowledge")).to_be_enabled()


def test_a_change_of_state_shows_by_itself_and_the_figures_wait_until_they_are_asked_for(
    site: Site, browser: Browser
) -> None:
    with a_page(browser) as page:
        opened(page, site)
        expect(page.locator("#news")).to_be_hidden()
        site.tell_again(state="resolved", minutes_ago=90, negatives=80)
        expect(page.locator("#state")).to_have_text("over")
        expect(page.locator("#steps")).to_contain_text("over")
        expect(page.locator(".reasons")).to_contain_text("49 negative")
        page.locator("#news a").click()
        expect(page.locator(".reasons")).to_contain_text("80 negative")


def test_the_list_stays_as_it_is_and_says_when_an_alert_has_changed(site: Site, browser: Browser) -> None:
    with a_page(browser) as page:
        opened(page, site, "/alerts?state=firing")
        expect(page.locator("#news")).to_be_hidden()
        site.tell_again(state="resolved", minutes_ago=90)
        expect(page.locator("#news")).to_be_visible()
        expect(page.locator(".alerts tbody tr")).to_have_count(2)
        page.locator("#news a").click()
        expect(page.locator(".alerts tbody tr")).to_have_count(1)
        assert page.url.endswith("/alerts?state=firing")


def test_without_a_script_all_is_there_but_the_buttons(site: Site, browser: Browser) -> None:
    with a_page(browser, java_script_enabled=False) as page:
        page.goto(f"{site.address}/alerts/ep_9a41")
        expect(page.locator(".timeline")).to_contain_text("firing")
        assert page.locator("mark").count() == len(believable.NEWS)
        assert page.locator("#alert button:visible").count() == 0
        page.goto(f"{site.address}/alerts")
        page.get_by_role("link", name="Over", exact=True).click()
        assert page.locator(".alerts tbody tr").count() == 1
        page.locator("input[type=search]").fill("nobody")
        page.get_by_role("button", name="Show").click()
        expect(page.locator(".blank")).to_have_text("None among the alerts that are kept.")


@pytest.mark.parametrize(("scheme", "locale"), [("light", "en-GB"), ("dark", "zh-CN")])
def test_hostile_texts_are_only_letters_and_a_phone_never_scrolls_sideways(
    site: Site, browser: Browser, scheme: Any, locale: str
) -> None:
    like = believable.alert(pages.NOW).event.data
    documents = [
        msgspec.structs.replace(
            like.documents[0], id=f"h{place}", title=text, excerpt=text, source=text[:60], url="javascript:alert(6)"
        )
        for place, text in enumerate(HOSTILE)
    ]
    view = believable.alert(pages.NOW, episode="ep_hostile", negatives=50)
    data = msgspec.structs.replace(
        view.event.data, documents=documents, summary={"en": HOSTILE[0], "zh": HOSTILE[1]}, during=HOSTILE[4]
    )
    data = msgspec.structs.replace(
        data, subject=msgspec.structs.replace(data.subject, id="XTST:NONE", names={"en": HOSTILE[0], "zh": HOSTILE[6]})
    )
    frozen = believable.EVIDENCE | {
        "excess_by": {"story": [[text[:60], 3.0] for text in HOSTILE]},
        "decision": HOSTILE[1],
    }
    view = msgspec.structs.replace(
        view,
        subject="XTST:NONE",
        event=msgspec.structs.replace(view.event, data=data),
        evidence={view.event.id: frozen},
    )
    pipeline = site.writer.pipeline()
    believable.write_alert(pipeline, pages.KEYS, view)
    pipeline.execute()
    for place, text in enumerate(HOSTILE):
        site.parts.remarks.take(
            Feedback(
                id=f"f{place}", at=pages.NOW, by=text[:80], kind="comment", episode="ep_hostile", text=text[:2_000]
            )
        )
    ack = Acknowledgement(id="ep_hostile", by=HOSTILE[0], at=pages.NOW, note=HOSTILE[2], assigned=HOSTILE[6][:80])
    site.view.apply(ack.id, msgspec.json.encode(ack))
    with a_page(browser, viewport={"width": 390, "height": 844}, color_scheme=scheme, locale=locale) as page:
        for path in ("/alerts/ep_hostile", "/alerts", "/alerts?subject=%3Cimg%20src%3Dx%20onerror%3Dalert(9)%3E"):
            if path == "/alerts/ep_hostile":
                opened(page, site, path)
                expect(page.locator("#steps .words").first).to_be_visible()
                page.locator(".wrong-label").first.click()
                page.keyboard.press("Escape")
            else:
                page.goto(site.address + path)
            assert (
                page.evaluate("() => document.querySelectorAll('main img, main script, a[href^=javascript]').length")
                == 0
            )
            in_view(page)

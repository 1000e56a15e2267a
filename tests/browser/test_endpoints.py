"""The endpoints page in a real Chromium: a person adds a place, is told what the guard says, sees its secret once, tests it, silences."""

from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install -e '.[dev]'")
from playwright.sync_api import Browser, expect

from alerts.health import Health, State
from alerts.pipeline import derived
from groundswell.records import ControlObject, DeliveryOutcome, Endpoint, Errand, Silence
from tests.browser.reader import HOSTILE, a_page
from tests.installed import Served
from tests.pages import KEYS, NOW

HOOK = "https://hooks.bank.com/t0ken"
LOG = f"{KEYS.delivery}:log:"


class Answering(Served):
    """Deliver is played: each test that is asked for is tried at once, and the receiver says `answer`."""

    answer, status = "thanks", 200

    def __init__(self) -> None:
        super().__init__()
        write = self.pen.write

        async def tried(thing: ControlObject) -> None:
            await write(thing)
            if isinstance(thing, Errand) and thing.task == "test":
                self.log(thing.endpoint, event=derived("endpoint.test", thing.id), type="endpoint.test", test=True, at=thing.at,
                         status=self.status, answer=self.answer)  # fmt: skip

        self.pen.write = tried  # type: ignore[method-assign]

    def log(self, endpoint: str, **fields: Any) -> None:
        row = {
            "event": "e",
            "episode": "ep_1",
            "attempt": 1,
            "outcome": "sent",
            "latency_ms": 37,
            "type": "alert.firing",
            "at": NOW,
        }
        self.writer.lpush(LOG + endpoint, msgspec.json.encode(DeliveryOutcome(endpoint=endpoint, **(row | fields))))

    def added(self, **more: Any) -> str:
        made = httpx.post(f"{self.address}/api/v1/endpoints", json={"url": HOOK, "name": "Risk desk"} | more)
        self.writer.hset(f"{KEYS.delivery}:waiting", made.json()["id"], 0)
        return str(made.json()["id"])


@pytest.fixture
def site() -> Iterator[Answering]:
    one = Answering()
    yield one
    one.stop()


def test_a_place_is_added_with_the_guards_word_and_its_secret_is_shown_this_once(
    site: Answering, browser: Browser
) -> None:
    with a_page(browser, permissions=["clipboard-read", "clipboard-write"]) as page:
        page.goto(f"{site.address}/endpoints")
        expect(page.locator("#endpoints-empty")).to_be_visible()
        page.locator("#endpoint-add").focus()
        page.keyboard.press("Enter")
        page.get_by_label("Address", exact=True).fill("https://10.0.0.1/hook")
        verdict = page.locator("#field-url-hint")
        expect(verdict).to_contain_text("an address inside a network")
        expect(page.get_by_label("Address", exact=True)).to_have_attribute("aria-invalid", "true")
        page.get_by_label("Address", exact=True).fill("https://open.feishu.cn/open-apis/bot/v2/hook/0f1e2d3c")
        expect(verdict).to_contain_text("Allowed. Feishu / Lark")
        expect(page.locator("#field-secret-hint")).to_contain_text("signature verification")
        page.get_by_label("Address", exact=True).fill(HOOK)
        expect(verdict).to_contain_text("Allowed. Webhook")
        page.get_by_label("Name", exact=True).fill("Risk desk")
        page.get_by_label("Subjects", exact=True).fill("XNAS:AAPL, XSHG:600519")
        page.get_by_label("From severity", exact=True).select_option("critical")
        page.get_by_text("When, and how often").click()
        page.get_by_label("Quiet from", exact=True).fill("22:00")
        page.get_by_label("until", exact=True).fill("07:00")
        page.locator("dialog[open]").get_by_label("Time zone", exact=True).fill("Asia/Shanghai")
        page.get_by_role("button", name="Add", exact=True).click()
        secret = page.locator(".secret")
        expect(secret).to_contain_text("whsec_")
        told = secret.inner_text()
        page.get_by_role("button", name="Copy").click()
        expect(page.get_by_text("Copied.")).to_be_visible()
        assert page.evaluate("() => navigator.clipboard.readText()") == told
        page.get_by_role("button", name="I have it").click()
        expect(page.locator("#endpoint-add")).to_be_focused()
        expect(page.locator("#endpoints")).to_contain_text("XNAS:AAPL, XSHG:600519")
        expect(page.locator("#endpoints")).to_contain_text("22:00 to 07:00 (Asia/Shanghai)")
        assert told not in page.content()
        page.reload()
        expect(page.locator("#endpoints")).to_contain_text("from critical on")
        assert told not in page.content()
    (made,) = [one for one in site.pen.written if isinstance(one, Endpoint)]
    assert (made.name, made.severity, made.subjects) == ("Risk desk", "critical", ["XNAS:AAPL", "XSHG:600519"])


def test_a_test_shows_the_request_the_status_and_a_hostile_answer_that_stays_text(
    site: Answering, browser: Browser
) -> None:
    site.answer, site.status = f"{HOSTILE[0]}{HOSTILE[1]}{HOSTILE[4]}", 200
    name = site.added(name=HOSTILE[5])
    site.log(name, outcome="retry", status=502, answer=HOSTILE[1] + HOSTILE[2], at=NOW - 60_000)
    with a_page(browser) as page:
        page.goto(f"{site.address}/endpoints?endpoint={name}")
        page.get_by_role("button", name="Send a test").click()
        brought = page.locator(".brought")
        expect(brought).to_contain_text("200 in 37 ms: delivered.")
        expect(brought).to_contain_text(HOSTILE[0])
        expect(page.get_by_role("button", name="Send a test")).to_be_focused()
        brought.get_by_text("The request").click()
        expect(brought.locator("pre").first).to_contain_text('"type": "endpoint.test"')
        page.get_by_role("button", name="Its log").click()
        rows = page.locator("#log tr")
        expect(rows).to_have_count(2)
        page.get_by_label("Outcome", exact=True).select_option("retry")
        expect(rows).to_have_count(1)
        expect(page).to_have_url(f"{site.address}/endpoints?endpoint={name}&log={name}&outcome=retry")
        rows.get_by_text("502 in 37 ms").click()
        expect(rows.locator("pre")).to_contain_text(HOSTILE[2])
        page.reload()
        expect(rows).to_have_count(1)
        assert page.locator("script:not([src]):not([type='application/json']), main img").count() == 0


def test_health_is_said_in_words_and_an_endpoint_is_rotated_switched_off_and_removed(
    site: Answering, browser: Browser
) -> None:
    name = site.added()
    sick = Health(state=State.DEGRADED, since_ms=NOW - 3_600_000, reason="http_401", failures=6)
    site.writer.hset(f"{KEYS.delivery}:health", name, msgspec.json.encode(sick))
    site.writer.hset(f"{KEYS.delivery}:waiting", name, 3)
    with a_page(browser) as page:
        page.goto(f"{site.address}/endpoints?endpoint={name}")
        fares = page.locator(".fares")
        expect(fares).to_contain_text("HTTP 401, 6 in a row")
        expect(fares).to_contain_text("verifies with another secret. Waiting: 3.")
        page.get_by_role("button", name="Rotate the secret").click()
        page.get_by_label("The old one signs too").fill("48")
        page.locator("dialog[open]").get_by_role("button", name="Rotate the secret").click()
        expect(page.locator(".secret")).to_contain_text("whsec_")
        page.get_by_role("button", name="I have it").click()
        expect(page.locator(".facts")).to_contain_text("signs too until")
        page.get_by_role("button", name="Switch off").click()
        expect(fares).to_contain_text("Switched off by hand")
        page.get_by_role("button", name="Remove").click()
        page.get_by_role("button", name="Cancel").click()
        expect(page.get_by_role("button", name="Remove")).to_be_focused()
        page.get_by_role("button", name="Remove").click()
        page.locator("dialog[open]").get_by_role("button", name="Remove").click()
        expect(page.locator("#endpoints-empty")).to_be_visible()
        expect(page.locator("#endpoints-said")).to_have_text("Risk desk is removed.")
    assert site.pen.written[-1] == name


def test_a_silence_is_made_of_conditions_listed_in_its_words_and_ended(site: Answering, browser: Browser) -> None:
    over = Silence(id="sil_old", subjects=["XNAS:TSLA"], until=NOW - 4 * 86_400_000, by="Ana", at=NOW - 5 * 86_400_000)
    site.view.apply(over.id, msgspec.json.encode(over))
    with a_page(browser) as page:
        page.clock.set_fixed_time(NOW / 1000)
        page.goto(f"{site.address}/endpoints")
        expect(page.locator("#silences-empty")).to_be_visible()
        page.get_by_role("button", name="New silence").click()
        page.get_by_label("Field", exact=True).select_option("topic")
        page.get_by_label("Value, several").fill("fraud, default")
        page.get_by_role("button", name="One more condition").click()
        page.get_by_label("Field", exact=True).nth(1).select_option("severity")
        page.get_by_label("Is", exact=True).nth(1).select_option("no")
        page.get_by_label("Value, several").nth(1).fill("critical")
        page.get_by_label("For", exact=True).select_option("8h")
        page.get_by_label("Reason", exact=True).fill("known since this morning")
        page.get_by_role("button", name="Silence", exact=True).click()
        listed = page.locator("#silences > li")
        expect(listed).to_contain_text("topic in fraud,default and severity!=critical")
        expect(page.get_by_role("button", name="New silence")).to_be_focused()
        (made,) = [one for one in site.pen.written if isinstance(one, Silence)]
        assert (made.matchers, made.until - made.at) == (
            ["topic in fraud,default", "severity!=critical"],
            8 * 3_600_000,
        )
        page.get_by_label("Those that are over, too").check()
        expect(listed).to_have_count(2)
        expect(page.get_by_role("button", name="End now")).to_have_count(1)
        page.get_by_role("button", name="End now").click()
        expect(listed).to_have_count(1)
        expect(page.locator("#silences-said")).to_contain_text("It is over.")
    assert site.pen.written[-1] == made.id


def test_in_chinese_on_a_phone_in_the_dark_nothing_leaves_the_screen(site: Answering, browser: Browser) -> None:
    name = site.added(name=HOSTILE[6][:80], lang="zh")
    site.log(name, outcome="retry", status=0, reason="timed_out", answer="W" * 1_000)
    options: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark", "locale": "zh-CN"}
    with a_page(browser, **options) as page:
        page.goto(f"{site.address}/endpoints?endpoint={name}")
        expect(page.locator("h1")).to_have_text("端点")
        expect(page.locator(".fares")).to_contain_text("投递正常")
        expect(page.locator("#log")).to_contain_text("毫秒内无应答：会自动重试")
        assert page.evaluate("() => document.documentElement.scrollWidth") == 390
        page.get_by_role("button", name="添加端点").click()
        page.get_by_label("地址", exact=True).fill("http://hooks.bank.com/x y")
        expect(page.locator("#field-url-hint")).to_contain_text("不可用")
        assert page.evaluate(
            "() => document.querySelector('dialog').scrollWidth <= document.querySelector('dialog').clientWidth"
        )
        page.keyboard.press("Escape")
        expect(page.get_by_role("button", name="添加端点")).to_be_focused()
        for button in page.locator("main button:visible").all():
            box = button.bounding_box()
            assert box is not None
            assert min(box["width"], box["height"]) >= 24

"""The login as a person sees it: led there, told what is wrong, in by a token, out by a button; in both languages, without a script too."""

import asyncio
import socket
import threading
from collections.abc import Iterator

import msgspec
import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install -e '.[dev]'")
from playwright.sync_api import Browser, Page, expect

from dashboard.app import Server, _config
from groundswell import tokens
from groundswell.records import Role
from tests import believable
from tests.browser.reader import a_page
from tests.pages import KEYS, NOW, TOPOLOGY, Site

HOSTILE = "<img src=x onerror=alert(1)>\u202e"
UNKNOWN = "Failed to load resource: the server responded with a status of 401"


class Served:
    """The pages behind a login, in a thread of their own."""

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._thread.start()
        assert self._ready.wait(20), "the pages did not open"

    async def _serve(self) -> None:
        self.site = Site(access="token", port=self.port)
        believable.fill(self.site.writer, KEYS, TOPOLOGY, NOW, hours=1)
        await self.site.hub.tick()
        config = _config(self.site.app)
        config.host, config.port = "127.0.0.1", self.port
        self._server = Server(self.site.hub, config)
        serving = asyncio.create_task(self._server.serve())
        while not self._server.started:
            await asyncio.sleep(0.02)
        self._ready.set()
        await serving
        await self.site.redis.aclose()

    def token(self, name: str, role: Role = "analyst") -> str:
        made, text = tokens.made(self.site.view.tokens, name, role, 0, "test", NOW)
        made = msgspec.structs.replace(made, name=name)  # as a foreign program might write it
        self.site.view.apply(made.id, msgspec.json.encode(made))
        return text

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(10)


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    one = Served()
    yield one
    one.stop()


def log_in(page: Page, token: str) -> None:
    page.locator("#token").fill(token)
    page.keyboard.press("Enter")


def test_a_person_is_led_to_the_login_and_back_to_what_was_asked_for(served: Served, browser: Browser) -> None:
    with a_page(browser, allowed=UNKNOWN) as page:
        page.goto(f"{served.address}/alerts?state=firing")
        assert "/login?" in page.url
        expect(page.locator("#token")).to_be_focused()
        log_in(page, "gsw_wrong")
        expect(page.get_by_role("alert")).to_contain_text("no such token")
        expect(page.locator("#token")).to_have_value("")
        log_in(page, f"  {served.token('Lin')}  ")
        page.wait_for_url(f"{served.address}/alerts?state=firing")
        expect(page.locator(".session")).to_contain_text("Lin, analyst")
        assert page.evaluate("() => document.cookie").find("session") < 0, "no script can read it"
        page.locator(".session button").click()
        expect(page.locator("h1")).to_have_text("Log in")
        page.goto(f"{served.address}/alerts")
        assert "/login" in page.url


def test_a_link_from_another_site_finds_the_session(served: Served, browser: Browser) -> None:
    with a_page(browser) as page:
        page.goto(f"{served.address}/login?here=1")
        log_in(page, served.token("Ana"))
        page.wait_for_url(f"{served.address}/")
        page.goto(f"http://localhost:{served.port}/login?here=1")
        page.evaluate(f"() => {{ location.href = '{served.address}/alerts/ep_9a41' }}")
        page.wait_for_url(f"{served.address}/alerts/ep_9a41")
        expect(page.locator("h1")).to_have_text("Halvorn Motors")


def test_without_a_script_and_in_chinese_it_is_the_same(served: Served, browser: Browser) -> None:
    with a_page(browser, locale="zh-CN", java_script_enabled=False, viewport={"width": 390, "height": 844}) as page:
        page.goto(f"{served.address}/alerts")
        expect(page.locator("h1")).to_have_text("登录")
        expect(page.locator("#show")).to_be_hidden()
        log_in(page, served.token("王芳", "viewer"))
        page.wait_for_url(f"{served.address}/alerts")
        expect(page.locator(".session")).to_contain_text("王芳（查看者）")
        page.locator(".session button").click()
        expect(page.locator("h1")).to_have_text("登录")
        page.get_by_text("English").click()
        expect(page.locator("h1")).to_have_text("Log in")


def test_a_token_can_be_looked_at_and_a_hostile_name_is_only_letters(served: Served, browser: Browser) -> None:
    with a_page(browser, color_scheme="dark", viewport={"width": 390, "height": 844}) as page:
        page.goto(f"{served.address}/login?here=1&next=/alerts")
        page.locator("#token").fill(served.token(HOSTILE))
        page.locator("#show").click()
        expect(page.locator("#token")).to_have_attribute("type", "text")
        expect(page.locator("#token")).to_be_focused()
        assert page.evaluate("() => document.documentElement.scrollWidth") <= 390
        page.keyboard.press("Enter")
        page.wait_for_url(f"{served.address}/alerts")
        expect(page.locator(".session")).to_contain_text("<img src=x")
        assert page.locator("footer img").count() == 0
        assert page.evaluate("() => document.documentElement.scrollWidth") <= 390


def test_a_session_that_ended_leads_to_the_login_and_writes_nothing(served: Served, browser: Browser) -> None:
    with a_page(browser, allowed="401") as page:  # the page itself reads on, and is led to the login
        page.goto(f"{served.address}/login?here=1&next=/alerts/ep_9a41")
        log_in(page, served.token("Bo"))
        page.wait_for_url(f"{served.address}/alerts/ep_9a41")
        served.site.view.apply(tokens.named(served.site.view.tokens, "Bo").id, None)
        own = {"Origin": served.address, "Content-Type": "application/json"}
        status = page.context.request.post(f"{served.address}/api/v1/alerts/ep_9a41/ack", data="{}", headers=own).status
        assert status == 401
        assert served.site.view.acks == {}
        page.goto(f"{served.address}/alerts")
        expect(page.locator("h1")).to_have_text("Log in")


def test_an_open_page_whose_session_ended_leads_to_the_login_when_it_is_looked_at_again(
    served: Served,
    browser: Browser,
) -> None:
    with a_page(browser, allowed="401") as page:
        page.goto(f"{served.address}/login?here=1&next=/subjects/XTST:HLVN")
        log_in(page, served.token("Mo"))
        page.wait_for_url(f"{served.address}/subjects/XTST:HLVN")
        page.wait_for_function("() => document.body.dataset.live && document.body.dataset.live !== 'connecting'")
        served.site.view.apply(tokens.named(served.site.view.tokens, "Mo").id, None)
        page.evaluate("() => document.dispatchEvent(new Event('visibilitychange'))")
        page.wait_for_url("**/login?**")
        log_in(page, served.token("Mo"))
        page.wait_for_url(f"{served.address}/subjects/XTST:HLVN")

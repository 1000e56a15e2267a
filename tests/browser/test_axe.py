"""Every page, in both languages and both themes, held against axe-core's rules for WCAG 2.2 A and AA: nothing may break one.

axe-core is fetched by `make services` and used by tests only.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install -e '.[dev]'")
from playwright.sync_api import Browser, Page

from groundswell.records import RuleSet, Silence, Watchlist
from tests import believable
from tests.browser.test_page import Site, a_page, browser, drawn, site
from tests.conftest import missing
from tests.installed import Served, a_letter
from tests.pages import KEYS, NOW, TOPOLOGY

__all__ = ["browser", "site"]
AXE = Path(__file__).resolve().parents[2] / "var/services/javascript/node_modules/axe-core/axe.min.js"
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22a", "wcag22aa"]
PAGES = (
    "/",
    "/alerts",
    "/alerts/ep_9a41",
    "/documents",
    "/documents?q=brakes",
    "/rules",
    "/watchlists",
    "/endpoints",
    "/system",
    "/subjects/XTST:HLVN",
    "/start",
    "/login",
    "/nothing",
)
OPERATED = ("/", "/alerts?state=resolved", "/documents", "/rules", "/watchlists", "/endpoints", "/system")
RULE: dict[str, Any] = {
    "id": "loud", "name": {"en": "Loud", "zh": "声量异常"}, "subjects": ["XNAS:*"],
    "all": [{"metric": "count", "window": "15m", "threshold": 10}],
}  # fmt: skip
SETTLED_MS = 1_200  # what a page's script reads has come, or has failed in words


@pytest.fixture(scope="module")
def axe() -> str:
    """The checker as a script."""
    if not AXE.is_file():
        missing("No axe-core: run 'make services'.")
    return AXE.read_text("utf-8")


def broken(page: Page, axe: str) -> list[str]:
    """Which rules the page breaks now, and where."""
    # As the browser's own debugger would, not as a script of the page: its policy allows none from elsewhere.
    page.evaluate(axe)
    run = "(tags) => axe.run(document, { runOnly: { type: 'tag', values: tags }, resultTypes: ['violations'] })"
    found: dict[str, Any] = page.evaluate(run, TAGS)
    return [
        f"{one['id']}: {node['target']} {node['failureSummary'].splitlines()[-1].strip()}"
        for one in found["violations"]
        for node in one["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("locale", ["en-GB", "zh-CN"])
def test_no_page_breaks_a_rule_of_access(site: Site, browser: Browser, axe: str, locale: str, scheme: Any) -> None:
    site.fill()
    found = {}
    # Some pages say that a part cannot be read, since no broker stands behind these: words of theirs, and a line in the console.
    with a_page(browser, allowed="Failed to load resource", locale=locale, color_scheme=scheme) as page:
        for path in PAGES:
            page.goto(site.address + path)
            page.wait_for_timeout(SETTLED_MS)
            found[path] = broken(page, axe)
    assert {path: rules for path, rules in found.items() if rules} == {}


class Worked(Served):
    """An installation that people have worked with: a rule, a list, a silence, an endpoint, letters that were refused."""

    def __init__(self) -> None:
        super().__init__()
        self.beats("deliver")
        self.counted(1_000, refused=12)
        self.installation.kept = [a_letter(one) for one in range(3)]
        self.keep(RuleSet(id="rules_desk", rules=[RULE], by="Lin", at=NOW))
        self.keep(Watchlist(id="watchlist_desk", name="desk", subjects=["XTST:HLVN", "topic:*"], by="Lin", at=NOW))
        self.keep(
            Silence(id="silence_1", subjects=["XTST:QILN"], until=NOW + 3_600_000, by="Lin", at=NOW, reason="known")
        )
        endpoint = {"url": "https://example.com/hook", "name": "Risk desk"}
        assert httpx.post(f"{self.address}/api/v1/endpoints", json=endpoint).status_code == 201
        for thing in self.intake.written:
            self.keep(thing)

    async def _serve(self) -> None:
        believable.fill(self.writer, KEYS, TOPOLOGY, NOW, hours=1)
        await self.hub.tick()
        await super()._serve()

    def keep(self, thing: Any) -> None:
        self.view.apply(thing.id, msgspec.json.encode(thing))


@pytest.fixture
def worked() -> Iterator[Worked]:
    one = Worked()
    yield one
    one.stop()


@pytest.mark.parametrize(("locale", "scheme"), [("en-GB", "dark"), ("zh-CN", "light")])
def test_no_page_that_is_full_breaks_one(worked: Worked, browser: Browser, axe: str, locale: str, scheme: Any) -> None:
    found = {}
    with a_page(browser, allowed="Failed to load resource", locale=locale, color_scheme=scheme) as page:
        for path in OPERATED:
            page.goto(worked.address + path)
            page.wait_for_timeout(SETTLED_MS)
            found[path] = broken(page, axe)
    assert {path: rules for path, rules in found.items() if rules} == {}


@pytest.mark.parametrize("width", [390, 1440])
def test_what_opens_on_the_overview_breaks_none_either(site: Site, browser: Browser, axe: str, width: int) -> None:
    with a_page(browser, color_scheme="dark", viewport={"width": width, "height": 900}) as page:
        page.goto(site.address)
        page.wait_for_selector("#first")
        assert broken(page, axe) == []
        site.fill()
        drawn(page)
        page.locator("#narrow").click()
        page.wait_for_function("() => document.querySelector('#filters [name=language]').options.length > 1")
        page.locator("#tab-resolved").click()
        assert broken(page, axe) == []
        page.locator("#open-preferences").click()
        assert broken(page, axe) == []
        page.locator("#open-keys").click()
        assert broken(page, axe) == []

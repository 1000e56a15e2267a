"""Every page, in both languages and both themes, held against axe-core's rules for WCAG 2.2 A and AA: nothing may break one.

axe-core is fetched by `make services` and used by tests only.
"""

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install -e '.[dev]'")
from playwright.sync_api import Browser, Page

from tests.browser.test_page import Site, a_page, browser, drawn, site
from tests.conftest import missing

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

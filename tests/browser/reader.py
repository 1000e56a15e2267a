"""A reader of the pages: a browser that must have nothing to report, and what is waited for before it is looked at.

conftest.py starts the browser, sites.py the pages. axe-core is fetched by `make services` and used by tests only.
"""

import contextlib
import time
from collections.abc import Iterator, Sequence
from typing import Any

from playwright.sync_api import Browser, ConsoleMessage, Dialog, Page, Request

LOOK_MS, QUIET_LOOKS = 60, 2  # nothing is under way at two looks after each other: what came has been drawn
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22a", "wcag22aa"]
HOSTILE = (
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(2)</script>",
    "<svg onload=alert(3)>",
    "{{7*7}} ${7*7} {% raw %}",
    "start \u202e txet desrever \u202c end",
    '"><a href="javascript:alert(4)">x</a>',
    "W" * 60_000,
)


@contextlib.contextmanager
def a_page(browser: Browser, allowed: str = "", **options: Any) -> Iterator[Page]:
    """A page of its own context; at its end no page of that context may have had anything to report, `allowed` words apart."""
    context = browser.new_context(**{"locale": "en-GB", "timezone_id": "Asia/Shanghai", **options})
    context.set_default_timeout(8_000)
    reports: list[str] = []

    def heard(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            reports.append(message.text)

    def asked(dialog: Dialog) -> None:
        reports.append(f"dialog {dialog.message}")
        dialog.dismiss()

    context.on("console", heard)
    context.on("weberror", lambda error: reports.append(str(error.error)))
    context.on("dialog", asked)
    yield context.new_page()
    context.close()
    assert [report for report in reports if not allowed or allowed not in report] == []


def drawn(page: Page) -> None:
    page.wait_for_function("() => Number(document.getElementById('chart')?.dataset.drawn) > 0")
    page.wait_for_function("() => document.body?.dataset.live === 'ok'")


def in_tabs(page: Page, addresses: Sequence[str]) -> Iterator[tuple[str, Page]]:
    """Each address in a tab beside the page, all opened at once, each given when what its script reads has come or has failed in words."""
    tabs = [(address, page.context.new_page()) for address in addresses]
    asked = [_under_way(tab) for _, tab in tabs]
    for address, tab in tabs:
        tab.goto(address, wait_until="commit")
    for (address, tab), under_way in zip(tabs, asked, strict=True):
        tab.wait_for_load_state("load")  # the modules have run, and have asked for what they show
        deadline, quiet = time.monotonic() + 8, 0
        while quiet < QUIET_LOOKS:
            assert time.monotonic() < deadline, f"{address} still waits for {[one.url for one in under_way]}"
            tab.wait_for_timeout(LOOK_MS)
            quiet = 0 if under_way else quiet + 1
        yield address, tab
        tab.close()


def _under_way(tab: Page) -> set[Request]:
    """What the tab's script has asked for and has not got, kept true from now on. The stream is the shared worker's: it never ends."""
    asked: set[Request] = set()

    def ended(one: Request) -> None:
        asked.discard(one)

    tab.on("request", lambda one: asked.add(one) if one.resource_type == "fetch" else None)
    tab.on("requestfinished", ended)
    tab.on("requestfailed", ended)
    return asked


def broken(page: Page, axe: str) -> list[str]:
    """Which of axe-core's rules for WCAG 2.2 A and AA the page breaks now, and where."""
    # As the browser's own debugger would, not as a script of the page: its policy allows none from elsewhere.
    page.evaluate(axe)
    run = "(tags) => axe.run(document, { runOnly: { type: 'tag', values: tags }, resultTypes: ['violations'] })"
    found: dict[str, Any] = page.evaluate(run, TAGS)
    return [
        f"{one['id']}: {node['target']} {node['failureSummary'].splitlines()[-1].strip()}"
        for one in found["violations"]
        for node in one["nodes"]
    ]

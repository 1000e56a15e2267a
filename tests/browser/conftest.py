"""The browser that reads the pages, the pages over a real Redis, and the checker of access. Read reader.py and sites.py next."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser.sites import Site
from tests.conftest import missing

if TYPE_CHECKING:
    from playwright.sync_api import Browser

AXE = Path(__file__).resolve().parents[2] / "var/services/javascript/node_modules/axe-core/axe.min.js"
ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-default-apps",
    "--metrics-recording-only",
    "--mute-audio",
]


# Of a module, not of the session: while it is open its thread has a running event loop, and other modules' tests call asyncio.run.
@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator["Browser"]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        one = playwright.chromium.launch(executable_path=chromium, args=ARGS)
        yield one
        one.close()


@pytest.fixture
def site(redis_url: str) -> Iterator[Site]:
    one = Site(redis_url)
    yield one
    one.stop()
    one.redis.close()


@pytest.fixture(scope="session")
def axe() -> str:
    """The checker as a script."""
    if not AXE.is_file():
        missing("No axe-core: run 'make services'.")
    return AXE.read_text("utf-8")

"""Takes the pictures of docs/pictures from a running demo: `make pictures`. Needs a Chromium and fonts for Chinese (`make services`).

A demo of its own in a temporary state folder: pictures show what the program does today, and only invented companies.
"""
# ruff: noqa: INP001 - a script that is run, not a package

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from PIL import Image
from playwright.sync_api import Browser, Playwright, sync_playwright

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "pictures"
CHROMIUM = Path("/usr/bin/chromium")
SIZE = {"width": 1280, "height": 800}
MOST_BYTES = 300_000
ZONES = {"en-GB": "UTC", "zh-CN": "Asia/Shanghai"}
ALERT_S, SWELL_S, DRAWN_MS = 180.0, 60.0, 15_000


@contextmanager
def demo(port: int) -> Iterator[str]:
    """The address of a demo's page, once its alert is there and the surge has gone on for a while."""
    with tempfile.TemporaryDirectory(prefix="groundswell-pictures-") as state:
        process = subprocess.Popen(
            [sys.executable, "-m", "groundswell", "demo", "--port", str(port)],
            cwd=state,
            env={**os.environ, "GROUNDSWELL_STATE_DIR": state},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            page = f"http://127.0.0.1:{port}"
            end_s = time.monotonic() + ALERT_S
            while not alerts(page):
                if process.poll() is not None or time.monotonic() > end_s:
                    sys.exit("pictures: the demo gave no alert; run `groundswell demo` to see why")
                time.sleep(1)
            time.sleep(SWELL_S)
            yield page
        finally:
            process.terminate()
            process.wait(timeout=30)


def chromium(playwright: Playwright) -> Browser:
    """The system's browser, else playwright's own."""
    executable = str(CHROMIUM) if CHROMIUM.exists() else None
    return playwright.chromium.launch(executable_path=executable, args=["--no-sandbox", "--disable-gpu"])


def alerts(page: str) -> list[Any]:
    """What the page lists; nothing while it does not answer."""
    try:
        with urllib.request.urlopen(f"{page}/api/v1/alerts", timeout=5) as answer:  # noqa: S310 - our own address
            items: list[Any] = json.load(answer)["items"]
            return items
    except (urllib.error.URLError, OSError):
        return []


def shoot(
    browser: Browser, address: str, name: str, *, language: str, scheme: Any, ready: str, zone: str = "", size: Any = SIZE,
    most_bytes: int = MOST_BYTES,
) -> None:  # fmt: skip
    """One picture of one page, at most so many bytes. `zone`: whose time it shows; empty: the language's."""
    context = browser.new_context(
        viewport=size, locale=language, color_scheme=scheme, timezone_id=zone or ZONES[language]
    )
    page = context.new_page()
    page.goto(address)
    page.wait_for_selector(ready, timeout=DRAWN_MS)
    page.wait_for_timeout(2_000)  # two ticks of the live stream: lines and figures are there
    file = FOLDER / f"{name}.png"
    page.screenshot(path=file)
    context.close()
    with Image.open(file) as image:
        smaller = image.convert("RGB").quantize(256, dither=Image.Dither.NONE)
    smaller.save(file, optimize=True)
    if file.stat().st_size > most_bytes:
        sys.exit(f"pictures: {file} has {file.stat().st_size} bytes, {most_bytes} are allowed")
    print(f"{file.name}: {file.stat().st_size:,} bytes")  # noqa: T201 - a script


def main() -> None:
    """All pictures."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with demo(port) as page, sync_playwright() as playwright:
        browser = chromium(playwright)
        shoot(browser, page, "overview-en", language="en-GB", scheme="light", ready="canvas")
        shoot(browser, page, "overview-zh", language="zh-CN", scheme="dark", ready="canvas")
        newest = alerts(page)[0]
        evidence = f"{page}/alerts/{newest['episode']}"
        subject = f"{page}/subjects/{quote(newest['subject'], safe='')}"
        shoot(browser, subject, "subject-en", language="en-GB", scheme="light", ready="canvas")
        shoot(browser, subject, "subject-zh", language="zh-CN", scheme="dark", ready="canvas")
        shoot(browser, evidence, "alert-en", language="en-GB", scheme="light", ready="main h1")
        shoot(browser, evidence, "alert-zh", language="zh-CN", scheme="dark", ready="main h1")
        browser.close()


if __name__ == "__main__":
    main()

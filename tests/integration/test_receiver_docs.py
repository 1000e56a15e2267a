"""The whole receivers in docs/webhooks.md and docs/webhooks.zh.md run as they stand: a good request is taken, others are not."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from alerts.channels.webhook import headers
from groundswell.secrets import new_signing_secret

DOCS = Path(__file__).parents[2] / "docs"
VERIFY, RECEIVER = 0, 2  # which block of its language on the page
LANGUAGES = {
    "python": ("verify.py", "receiver.py", [sys.executable, "receiver.py"]),
    "js": ("verify.mjs", "receiver.mjs", [shutil.which("node") or "", "receiver.mjs"]),
}
SECRET = new_signing_secret()
BODY = json.dumps({"data": {"summary": {"en": "41 negatives 😱", "zh": "41 条负面 😱"}}}, ensure_ascii=False).encode()


@contextmanager
def running(page: str, language: str, folder: Path) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    blocks = re.findall(rf"```{language}\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL)
    verify, receiver, command = LANGUAGES[language]
    (folder / verify).write_text(blocks[VERIFY], encoding="utf-8")
    (folder / receiver).write_text(blocks[RECEIVER], encoding="utf-8")
    assert len([line for line in blocks[RECEIVER].splitlines() if line.strip()]) <= 15
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {"SECRET": SECRET, "PORT": str(port), "PYTHONIOENCODING": "utf-8"}
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
    )
    try:
        end_s = time.monotonic() + 20
        while time.monotonic() < end_s:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
                break
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}/", process
    finally:
        process.kill()
        process.communicate()


def status(url: str, sent: dict[str, str], body: bytes) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, sent), timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


@pytest.mark.parametrize("page", ["webhooks.md", "webhooks.zh.md"])
@pytest.mark.parametrize("language", LANGUAGES)
def test_the_receiver_takes_what_we_signed_and_nothing_else(page, language, tmp_path):
    if not LANGUAGES[language][2][0]:
        pytest.skip("No node here.")
    now_ms = int(time.time() * 1000)
    good = headers("gw_1", BODY, [SECRET], now_ms)
    with running(page, language, tmp_path) as (url, process):
        assert status(url, good, BODY + b" ") == 401
        assert status(url, headers("gw_1", BODY, [new_signing_secret()], now_ms), BODY) == 401
        assert status(url, headers("gw_1", BODY, [SECRET], now_ms - 400_000), BODY) == 401
        assert status(url, good, BODY) == 204
        assert process.stdout is not None
        assert "41" in process.stdout.readline()

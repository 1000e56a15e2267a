"""The lines that docs/webhooks.md and docs/webhooks.zh.md give to receivers do verify, and refuse what they must."""

import json
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from alerts.channels.webhook import headers
from groundswell.secrets import new_signing_secret

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ["webhooks.md", "webhooks.zh.md"]
BODY = '{"title":"海港钢铁 😱"}'.encode()
OLD, NEW = new_signing_secret(), new_signing_secret()


def example(page: str, language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    return found[1]


def requests() -> list[tuple[bool, str, dict[str, str], bytes]]:
    """(is good, secret of the receiver, headers, body)."""
    now_ms = int(time.time() * 1000)
    good = headers("gw_1", BODY, [NEW, OLD], now_ms)
    return [
        (True, OLD, good, BODY),
        (True, NEW, good, BODY),
        (False, new_signing_secret(), good, BODY),
        (False, OLD, good, BODY + b" "),
        (False, OLD, good | {"webhook-id": "gw_2"}, BODY),
        (False, OLD, headers("gw_1", BODY, [OLD], now_ms - 310_000), BODY),
    ]


@pytest.mark.parametrize("page", PAGES)
def test_the_python_lines_verify(page):
    scope: dict = {}
    exec(compile(example(page, "python"), page, "exec"), scope)
    for good, secret, sent, body in requests():
        try:
            scope["verify"](secret, sent, body)
        except ValueError:
            assert not good
        else:
            assert good


@pytest.mark.parametrize("page", PAGES)
def test_the_javascript_lines_verify(page, tmp_path):
    node = shutil.which("node")
    if node is None:
        pytest.skip("No node here.")
    (tmp_path / "verify.mjs").write_text(example(page, "js"), encoding="utf-8")
    cases = [[secret, sent, body.decode()] for _, secret, sent, body in requests()]
    script = (
        f'import {{ verify }} from "./verify.mjs"; const cases = {json.dumps(cases)};'
        "console.log(JSON.stringify(cases.map(([s, h, b]) => {"
        " try { verify(s, h, Buffer.from(b)); return true } catch { return false } })))"
    )
    (tmp_path / "run.mjs").write_text(script, encoding="utf-8")
    done = subprocess.run([node, "run.mjs"], cwd=tmp_path, capture_output=True, timeout=30, check=True)
    assert json.loads(done.stdout) == [good for good, *_ in requests()]


def test_both_pages_have_the_same_sections_and_code():
    english, chinese = ((DOCS / page).read_text(encoding="utf-8") for page in PAGES)
    assert english.count("\n## ") == chinese.count("\n## ")
    assert english.count("```") == chinese.count("```")
    assert english.count("\n| ") == chinese.count("\n| ")

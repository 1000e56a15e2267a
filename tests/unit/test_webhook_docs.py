"""The lines that docs/webhooks.md and docs/webhooks.zh.md give to receivers do verify, and refuse what they must."""

import json
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from alerts.channels.webhook import headers
from alerts.signing import new_ed25519_pair
from groundswell.secrets import new_signing_secret

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ["webhooks.md", "webhooks.zh.md"]
BODY = '{"title":"海港钢铁 😱"}'.encode()
VERSIONS = ["v1", "v1a"]
OLD, NEW = new_signing_secret(), new_signing_secret()
PAIR, OTHER_PAIR = new_ed25519_pair(), new_ed25519_pair()


def example(page: str, language: str, version: str) -> str:
    """The lines for v1 come first on a page, those for v1a second."""
    found = re.findall(rf"```{language}\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL)
    return found[VERSIONS.index(version)]


def requests(version: str) -> list[tuple[bool, str, dict[str, str], bytes]]:
    """(is good, what the receiver holds, headers, body)."""
    now_ms = int(time.time() * 1000)
    signs = {"v1": [NEW, OLD], "v1a": [PAIR[0], OLD, OTHER_PAIR[0]]}[version]
    one, two, stranger = {
        "v1": (OLD, NEW, new_signing_secret()), "v1a": (PAIR[1], OTHER_PAIR[1], new_ed25519_pair()[1])
    }[version]  # fmt: skip
    good = headers("gw_1", BODY, signs, now_ms)
    return [
        (True, one, good, BODY),
        (True, two, good, BODY),
        (False, stranger, good, BODY),
        (False, one, good, BODY + b" "),
        (False, one, good | {"webhook-id": "gw_2"}, BODY),
        (False, one, good | {"webhook-signature": "v1a,bm8= v1,bm8="}, BODY),
        (False, one, headers("gw_1", BODY, signs, now_ms - 310_000), BODY),
    ]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("page", PAGES)
def test_the_python_lines_verify(page, version):
    scope: dict = {}
    exec(compile(example(page, "python", version), page, "exec"), scope)
    for good, secret, sent, body in requests(version):
        try:
            scope["verify"](secret, sent, body)
        except ValueError:
            assert not good
        else:
            assert good


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("page", PAGES)
def test_the_javascript_lines_verify(page, version, tmp_path):
    node = shutil.which("node")
    if node is None:
        pytest.skip("No node here.")
    (tmp_path / "verify.mjs").write_text(example(page, "js", version), encoding="utf-8")
    cases = [[secret, sent, body.decode()] for _, secret, sent, body in requests(version)]
    script = (
        f'import {{ verify }} from "./verify.mjs"; const cases = {json.dumps(cases)};'
        "console.log(JSON.stringify(cases.map(([s, h, b]) => {"
        " try { verify(s, h, Buffer.from(b)); return true } catch { return false } })))"
    )
    (tmp_path / "run.mjs").write_text(script, encoding="utf-8")
    done = subprocess.run([node, "run.mjs"], cwd=tmp_path, capture_output=True, timeout=30, check=True)
    assert json.loads(done.stdout) == [good for good, *_ in requests(version)]


def test_both_pages_have_the_same_sections_and_code():
    english, chinese = ((DOCS / page).read_text(encoding="utf-8") for page in PAGES)
    assert english.count("\n## ") == chinese.count("\n## ")
    assert english.count("```") == chinese.count("```")
    assert english.count("\n| ") == chinese.count("\n| ")

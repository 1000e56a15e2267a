"""Exported evidence: anybody verifies it with the lines of docs/evidence.md, and what was touched is refused with what is wrong."""

import base64
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from groundswell.errors import BrokenEvidence, NoSecretKey
from groundswell.evidence_export import Exported, Told, canonical, sealed, shown, signing_keys, verified
from groundswell.secrets import new_key

SECRET, OTHER = new_key(), new_key()
[KEY] = signing_keys(SECRET)
RECORD = Exported(
    installation="groundswell", exported_at="2026-11-22T09:00:00Z", episode="ep_1", subject="XSHG:600519",
    transitions=[
        Told(event="gw_1", type="alert.firing", at="2026-11-22T08:00:00Z", evidence={"v": 1, "名": "茅台", "a": 1e-05, "b": 1e16})
    ],
)  # fmt: skip
FILE = sealed(RECORD, KEY)
DOCS = Path(__file__).resolve().parents[2] / "docs"


def touched(change: Callable[[bytes], bytes]) -> bytes:
    record, seal = FILE.splitlines()
    return change(record) + b"\n" + seal + b"\n"


def resealed(**changes: str) -> bytes:
    record, seal = FILE.splitlines()
    return record + b"\n" + json.dumps(json.loads(seal) | changes).encode()


@pytest.mark.parametrize("page", ["evidence.md", "evidence.zh.md"])
def test_the_lines_of_the_documentation_verify_a_file_and_refuse_a_touched_one(page: str, tmp_path: Path) -> None:
    [code] = re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL)
    assert sum(bool(line.strip()) for line in code.splitlines()) <= 10
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_bytes(FILE)
    bad.write_bytes(touched(lambda record: record.replace(b"ep_1", b"ep_2")))

    def run(file: Path, key: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-I", "-c", code, str(file), key], capture_output=True, text=True, check=False
        )

    assert run(good, shown(KEY)).stdout.strip() == "ep_1"
    assert "InvalidSignature" in run(bad, shown(KEY)).stderr
    assert run(good, shown(signing_keys(OTHER)[0])).returncode == 1


def test_what_was_exported_is_what_is_verified() -> None:
    assert verified(FILE) == (RECORD, shown(KEY))
    assert verified(FILE, shown(KEY)) == (RECORD, shown(KEY))
    assert sealed(RECORD, KEY) == FILE, "the same record, the same bytes"


def test_canonical_json_is_sorted_tight_and_utf8() -> None:
    assert canonical({"b": [1.0, 0.1], "名": "茅台", "a": {"z": None, "y": True}}) == (
        '{"a":{"y":true,"z":null},"b":[1.0,0.1],"名":"茅台"}'.encode()
    )
    assert json.loads(FILE.splitlines()[0]) == json.loads(canonical(RECORD))


@pytest.mark.parametrize(
    ("file", "wrong"),
    [
        (touched(lambda record: record.replace(b"alert.firing", b"alert.updated")), "something in it was changed"),
        (touched(lambda record: json.dumps(json.loads(record)).encode()), "written anew by some other program"),
        (touched(lambda record: record[:-1]), "it is no JSON any more"),
        (FILE.splitlines()[0], "1 line"),
        (FILE + FILE, "4 lines"),
        (b"", "1 line"),
        (FILE.splitlines()[0] + b"\n[]", "no seal"),
        (resealed(algorithm="none"), "the algorithm 'none'"),
        (resealed(key="gwpk_!"), "key is not base64"),
        (resealed(key="gwpk_" + base64.b64encode(b"short").decode()), "key has 5 bytes, not 32"),
        (resealed(signature=base64.b64encode(bytes(64)).decode()), "is not what was signed"),
        (resealed(key=shown(signing_keys(OTHER)[0])), "is not what was signed"),
    ],
)
def test_what_was_touched_is_refused_with_what_is_wrong(file: bytes, wrong: str) -> None:
    with pytest.raises(BrokenEvidence, match=re.escape(wrong)):
        verified(file)


def test_a_file_that_somebody_else_signed_names_the_key() -> None:
    [other] = signing_keys(OTHER)
    forged = sealed(RECORD, other)
    assert verified(forged)[1] == shown(other)
    with pytest.raises(BrokenEvidence, match=re.escape(f"another key: {shown(other)}")):
        verified(forged, shown(KEY))


def test_evidence_of_a_later_format_is_named() -> None:
    later = Exported(
        format="groundswell-evidence/2", installation="", exported_at="", episode="", subject="", transitions=[]
    )
    with pytest.raises(BrokenEvidence, match="groundswell-evidence/2"):
        verified(sealed(later, KEY))


def test_the_keys_follow_from_the_ring_and_tell_nothing_of_it() -> None:
    first, second = signing_keys(f"{OTHER},{SECRET}")
    assert (shown(second), shown(first)) == (shown(KEY), shown(signing_keys(OTHER)[0]))
    assert SECRET not in {shown(KEY).removeprefix("gwpk_"), base64.b64encode(KEY.private_bytes_raw()).decode()}
    with pytest.raises(NoSecretKey, match="sign evidence"):
        signing_keys("")

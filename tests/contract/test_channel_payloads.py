"""What each channel sends for each state, in both languages, as its golden copy says: a change of a payload is seen by a person.

GROUNDSWELL_TEST_WRITE_GOLDEN=1 writes them anew; read the difference before it is kept.
"""

import json
import os
from email import message_from_bytes
from email.policy import default
from pathlib import Path

import pytest

from alerts.channels import channel_of
from alerts.channels.contract import Missed, Request
from alerts.say import Say
from tests.tellings import NOW_MS, URLS, address, telling

GOLDEN = Path(__file__).parent / "golden" / "channels"
STATES = {
    "firing": [telling()],
    "updated": [telling(Say.UPDATED, severity="critical", sequence=2, effect=12.3)],
    "acknowledged": [telling(Say.ACKNOWLEDGED, sequence=3)],
    "resolved": [telling(Say.RESOLVED, sequence=4)],
    "test": [telling(Say.TEST, sequence=0)],
    "plain": [telling()],
    "digest": [telling(Say.RESOLVED, sequence=4), telling(), telling(Say.UPDATED, severity="critical", sequence=2)],
}
MISSED = Missed(3, NOW_MS - 7_500_000, NOW_MS - 600_000)
PLAINLY = ("feishu", "dingtalk", "wecom", "slack", "telegram", "discord", "teams")  # once more, when refused as written
CASES = [
    (channel, state)
    for channel in URLS
    for state in STATES
    if (state != "digest" or channel_of(channel).limits.many) and (state != "plain" or channel in PLAINLY)
]


def shown(request: Request) -> dict:
    """As a person reads it: JSON as JSON, a mail as its headers and both texts."""
    headers = {name: value for name, value in request.headers.items() if name != "user-agent"}
    if request.mail is None:
        return {"url": request.url, "headers": headers, "body": json.loads(request.body)}
    mail = message_from_bytes(request.body, policy=default)
    plain, page = mail.get_body(("plain",)), mail.get_body(("html",))
    lines = {part.get_content_type(): part.get_content().splitlines() for part in (plain, page) if part is not None}
    names = ("Subject", "To", "Date", "Message-ID", "References", "Auto-Submitted", "Content-Language")
    return {"url": request.url, "headers": {name: mail[name] for name in names if mail[name]}, "body": lines}


def sent(channel: str, state: str) -> dict:
    missed = MISSED if state == "digest" else None
    found = {
        lang: channel_of(channel).request(address(channel, lang), "gw_1", STATES[state], missed, NOW_MS)
        for lang in ("en", "zh")
    }
    return {lang: shown(one if state != "plain" else one.plainly) for lang, one in found.items()}


@pytest.mark.parametrize(("channel", "state"), CASES)
def test_a_channel_sends_what_its_golden_copy_says(channel, state):
    path = GOLDEN / f"{channel}-{state}.json"
    found = sent(channel, state)
    if os.environ.get("GROUNDSWELL_TEST_WRITE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(found, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    assert found == json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("channel", URLS)
def test_chats_alone_have_a_plain_text_to_fall_back_on(channel):
    request = channel_of(channel).request(address(channel), "gw_1", STATES["firing"], None, NOW_MS)
    assert (request.plainly is not None) == (channel in PLAINLY)


def test_every_golden_copy_is_checked():
    assert {path.stem for path in GOLDEN.glob("*.json")} == {f"{channel}-{state}" for channel, state in CASES}

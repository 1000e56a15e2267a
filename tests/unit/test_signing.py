"""Receivers verify with the reference library of Standard Webhooks: so do these tests."""

import time

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from alerts.channels.webhook import headers
from alerts.signing import key_bytes, sign
from groundswell.secrets import new_signing_secret

SECRET = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
BODY = '{"type":"alert.firing","data":{"subject":"贵州茅台"}}'.encode()


def now_ms(shift_s: int = 0) -> int:
    return int(time.time() + shift_s) * 1000


def test_the_published_vector_is_met():
    assert sign([SECRET], "gw_test", 1_700_000_000, BODY) == "v1,YLlq6i45lUF21B3zyYONAt4m5aILI/xRnu4jezC+jeU="


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=200))
def test_any_unicode_body_verifies(text):
    body = msgspec.json.encode({"title": text})
    assert Webhook(SECRET).verify(body, headers("gw_1", body, [SECRET], now_ms())) == {"title": text}


def test_chinese_and_emoji_verify_as_they_are():
    body = '{"title":"海港钢铁被曝造假 😱\\u2028“账本”"}'.encode()
    assert Webhook(SECRET).verify(body, headers("gw_1", body, [SECRET], now_ms()))["title"].startswith("海港钢铁")


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_while_a_secret_is_changed_both_verify(order):
    secrets = [SECRET, new_signing_secret()]
    signed = headers("gw_1", BODY, [secrets[i] for i in order], now_ms())
    assert all(Webhook(secret).verify(BODY, signed) for secret in secrets)


@pytest.mark.parametrize(("shift_s", "holds"), [(-298, True), (298, True), (-302, False), (302, False)])
def test_a_receiver_takes_five_minutes_of_difference_between_clocks(shift_s, holds):
    signed = headers("gw_1", BODY, [SECRET], now_ms(shift_s))
    if holds:
        assert Webhook(SECRET).verify(BODY, signed)
    else:
        with pytest.raises(WebhookVerificationError):
            Webhook(SECRET).verify(BODY, signed)


def test_a_changed_body_or_id_does_not_verify():
    signed = headers("gw_1", BODY, [SECRET], now_ms())
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(BODY + b" ", signed)
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(BODY, signed | {"webhook-id": "gw_2"})


def test_a_secret_that_is_not_base64_is_named():
    with pytest.raises(ValueError, match="whsec_"):
        key_bytes("whsec_not base64!")

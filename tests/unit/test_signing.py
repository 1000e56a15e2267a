"""Receivers verify with the reference libraries of Standard Webhooks: so do these tests."""

import base64
import json
import os
import subprocess
import time
from pathlib import Path

import msgspec
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from alerts.channels.webhook import headers
from alerts.signing import check_secret, key_bytes, new_ed25519_pair, public_key_of, sign
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


# -- v1a: Ed25519 ------------------------------------------------------------------------------------------------------

SEED = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")  # RFC 8032, 7.1, test 1
PUBLIC = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
PRIVATE_KEY = "whsk_" + base64.b64encode(SEED).decode()


def signature_of(header: str, version: str) -> bytes:
    (found,) = [one.partition(",")[2] for one in header.split(" ") if one.startswith(f"{version},")]
    return base64.b64decode(found, validate=True)


def test_the_public_key_is_that_of_the_rfcs_vector():
    assert public_key_of(PRIVATE_KEY) == "whpk_" + base64.b64encode(PUBLIC).decode()
    assert sign([PRIVATE_KEY], "gw_1", 1, b"x") == sign(
        ["whsk_" + base64.b64encode(SEED + PUBLIC).decode()], "gw_1", 1, b"x"
    )


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=200))
def test_any_unicode_body_verifies_with_the_public_key_alone(text):
    body, (private, public) = msgspec.json.encode({"title": text}), new_ed25519_pair()
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public.removeprefix("whpk_")))
    given_ = signature_of(sign([private], "gw_1", 1_700_000_000, body), "v1a")
    key.verify(given_, b"gw_1.1700000000." + body)
    with pytest.raises(InvalidSignature):
        key.verify(given_, b"gw_2.1700000000." + body)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_while_v1_changes_to_v1a_both_kinds_of_receiver_verify(order):
    secrets = [SECRET, PRIVATE_KEY]
    signed = headers("gw_1", BODY, [secrets[i] for i in order], now_ms())
    assert Webhook(SECRET).verify(BODY, signed)
    said = f"gw_1.{signed['webhook-timestamp']}.".encode() + BODY
    Ed25519PublicKey.from_public_bytes(PUBLIC).verify(signature_of(signed["webhook-signature"], "v1a"), said)


@pytest.mark.parametrize(
    "secret",
    [
        "", "whsec_", "whsec_not base64!", "whsec_" + base64.b64encode(bytes(23)).decode(), "whsk_", "whsk_AAAA",
        "whsec_" + base64.b64encode(bytes(65)).decode(), "whsk_" + base64.b64encode(SEED + bytes(32)).decode(),
        "whpk_" + base64.b64encode(PUBLIC).decode(), "SECx",
    ],
)  # fmt: skip
def test_what_cannot_sign_is_named_before_it_is_used(secret):
    with pytest.raises(ValueError, match="signing"):
        check_secret(secret)


def test_the_javascript_reference_library_verifies(javascript_verifier: Path):
    """It knows v1; the v1a beside it must not disturb it."""
    other = new_signing_secret()
    signed = headers("gw_1", BODY, [other, SECRET, PRIVATE_KEY], now_ms())
    cases = [
        (SECRET, signed, True), (other, signed, True), (new_signing_secret(), signed, False),
        (SECRET, signed | {"webhook-id": "gw_2"}, False), (SECRET, headers("gw_1", BODY, [SECRET], now_ms(-310)), False),
    ]  # fmt: skip
    script = (
        'const { Webhook } = require("standardwebhooks");'
        f"const body = {json.dumps(BODY.decode())};"
        f"console.log(JSON.stringify({json.dumps([[secret, sent] for secret, sent, _ in cases])}.map(([s, h]) => {{"
        " try { new Webhook(s).verify(body, h); return true } catch { return false } })))"
    )
    known = os.environ | {"NODE_PATH": str(javascript_verifier)}
    done = subprocess.run(["node", "-e", script], env=known, capture_output=True, timeout=30, check=True)
    assert json.loads(done.stdout) == [good for *_, good in cases]

"""What Kafka holds of an endpoint opens with the right key, in its own place, and nowhere else."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from groundswell.errors import NoSecretKey
from groundswell.secrets import SecretBox, new_key, new_signing_secret

KEY = new_key()


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_what_is_sealed_opens_again(text):
    box = SecretBox(KEY)
    assert box.open(box.seal(text, "hook_1", "url"), "hook_1", "url") == text


def test_the_sealed_text_shows_nothing_and_differs_each_time():
    box = SecretBox(KEY)
    one, two = box.seal("https://a.com/x", "hook_1", "url"), box.seal("https://a.com/x", "hook_1", "url")
    assert one.ct != two.ct
    assert b"a.com" not in base64.b64decode(one.ct)


@pytest.mark.parametrize(("endpoint", "field"), [("hook_2", "url"), ("hook_1", "secret")])
def test_moved_to_another_place_it_does_not_open(endpoint, field):
    box = SecretBox(KEY)
    with pytest.raises(NoSecretKey, match="changed or moved"):
        box.open(box.seal("x", "hook_1", "url"), endpoint, field)


def test_another_key_does_not_open_it_and_the_error_says_so():
    sealed = SecretBox(new_key()).seal("x", "hook_1", "url")
    with pytest.raises(NoSecretKey, match="another key"):
        SecretBox(KEY).open(sealed, "hook_1", "url")


def test_a_broken_record_does_not_open():
    sealed = SecretBox(KEY).seal("x", "hook_1", "url")
    for broken in (replace(sealed, nonce="!"), replace(sealed, nonce=""), replace(sealed, ct="AAAA")):
        with pytest.raises(NoSecretKey):
            SecretBox(KEY).open(broken, "hook_1", "url")


@pytest.mark.parametrize("key", ["", "not base64!", base64.b64encode(b"short").decode()])
def test_a_missing_or_wrong_key_says_what_to_set(key):
    with pytest.raises(NoSecretKey) as caught:
        SecretBox(key)
    assert "GROUNDSWELL_SECRET_KEY" in caught.value.line


def test_a_signing_secret_has_the_form_receivers_expect():
    secret = new_signing_secret()
    assert len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) == 32


def test_a_ring_seals_with_its_first_key_and_opens_with_any():
    old, new = new_key(), new_key()
    sealed = SecretBox(old).seal("x", "hook_1", "url")
    ring = SecretBox(f"{new}, {old}")
    assert ring.open(sealed, "hook_1", "url") == "x"
    assert not ring.is_current(sealed)
    again = ring.seal("x", "hook_1", "url")
    assert ring.is_current(again)
    assert SecretBox(new).open(again, "hook_1", "url") == "x"
    with pytest.raises(NoSecretKey, match="another key"):
        SecretBox(new).open(sealed, "hook_1", "url")


@pytest.mark.parametrize("keys", [",", "GOOD,short", " , "])
def test_a_ring_with_something_that_is_no_key_is_refused(keys):
    with pytest.raises(NoSecretKey):
        SecretBox(keys.replace("GOOD", KEY))

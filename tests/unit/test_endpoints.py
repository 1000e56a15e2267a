"""An endpoint is made of what people ask for: judged by the guard, its secrets sealed, its wishes checked."""

import socket

import pytest

from alerts.channels import email
from alerts.channels.posting import NotThisChannel
from alerts.guard import Allowed, LookUps
from alerts.people import endpoints
from alerts.signing import public_key_of
from groundswell.asked import AskedEndpoint, AskedRotation, EndpointChange
from groundswell.errors import AddressRefused, NoSecretKey, Refused, WrongShape
from groundswell.records import QuietHours
from groundswell.secrets import SecretBox, new_key, new_signing_secret

NOW = 1_795_300_020_000
OLD_KEY, NEW_KEY = new_key(), new_key()
BOX = SecretBox(OLD_KEY)
URL = "https://hooks.bank.com/in"


def look_ups(*answers: str) -> LookUps:
    return LookUps(lambda _, port: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in answers])


async def made(box: SecretBox = BOX, answers: tuple[str, ...] = ("93.184.216.34",), **asked):
    wanted = AskedEndpoint(**{"url": URL, "name": "risk"} | asked)
    return await endpoints.made(wanted, box, Allowed(), NOW, look_ups(*answers))


async def test_a_webhook_gets_a_secret_and_holds_its_address_sealed():
    endpoint, secret = await made(topics=["topic:fraud"], quiet=QuietHours(zone="UTC", start="22:00", end="07:00"))
    assert (endpoint.channel, endpoint.topics, endpoint.created_at) == ("webhook", ["fraud"], NOW)
    assert BOX.open(endpoint.secret, endpoint.id, "secret") == secret
    assert secret.startswith("whsec_")
    assert BOX.open(endpoint.url, endpoint.id, "url") == URL
    assert "/in" not in endpoint.shown.removesuffix(URL[-4:])


@pytest.mark.parametrize("answers", [("127.0.0.1",), ("93.184.216.34", "10.0.0.1"), ("169.254.169.254",)])
async def test_a_name_that_points_inside_is_refused_at_once(answers):
    with pytest.raises(AddressRefused, match="not public"):
        await made(answers=answers)


async def test_a_name_that_is_not_known_here_may_be_known_where_deliver_runs():
    endpoint, _ = await made(answers=())
    assert endpoint.channel == "webhook"


@pytest.mark.parametrize(
    ("url", "channel"),
    [
        ("https://open.feishu.cn/open-apis/bot/v2/hook/00000000-0000-0000-0000-000000000000", "feishu"),
        ("https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=693a91f6-7xxx-4bc4-97a0-0ec2sifa5aaa", "wecom"),
        ("https://hooks.slack.com/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX", "slack"),
        ("mailto:desk@bank.com", "email"),
        (URL, "webhook"),
    ],
)
async def test_the_address_says_which_channel_is_meant(url, channel):
    endpoint, _ = await made(url=url)
    assert endpoint.channel == channel


@pytest.mark.parametrize("url", ["desk@bank.com", "mailto:desk@bank.com"])
async def test_a_mail_address_is_held_as_one_and_shown_in_part(url):
    endpoint, _ = await made(url=url, channel="email")
    assert BOX.open(endpoint.url, endpoint.id, "url") == "mailto:desk@bank.com"
    assert endpoint.shown == "mailto:d…@bank.com"


@pytest.mark.parametrize(
    "url",
    [
        "mailto:a b@c.com", "mailto:a@b", "mailto:@b.com", "mailto:a@b.com\r\nBcc:x@y.com", "mailto:", "mailto:a@b.com,",
        "mailto:a@b.com;c@d.com", "mailto:a@b.com,nobody", "mailto:Ana <a@b.com>", "mailto:a@b.com?bcc=x@y.com", "mailto:a%40b@c.com",
        "mailto:a@-b.com", "mailto:a..b@c.com", "mailto:李@b.com", "mailto:" + ",".join(f"a{i}@b.com" for i in range(21)),
    ],
)  # fmt: skip
async def test_what_is_no_list_of_plain_mail_addresses_is_refused(url):
    with pytest.raises(NotThisChannel) as refused:
        await made(url=url)
    assert "20 by comma" in refused.value.remedy


async def test_an_endpoint_may_be_up_to_twenty_mail_addresses_each_once_and_shown_in_part():
    endpoint, _ = await made(url="mailto:desk@bank.com, night@bank.com,desk@bank.com")
    assert BOX.open(endpoint.url, endpoint.id, "url") == "mailto:desk@bank.com,night@bank.com"
    assert endpoint.shown == "mailto:d…@bank.com,n…@bank.com"
    twenty, _ = await made(url=",".join(f"a{i}@bank.com" for i in range(20)), channel="email")
    assert len(email.addresses(BOX.open(twenty.url, twenty.id, "url"))) == 20
    assert twenty.shown == "mailto:a…@bank.com,a…@bank.com,a…@bank.com,+17"
    moved = await endpoints.changed(twenty, EndpointChange(url="mailto:chief@bank.com"), BOX, Allowed(), look_ups())
    assert moved.shown == "mailto:c…@bank.com"


@pytest.mark.parametrize("secret", ["hunter2", "whsec_", "whsec_c2hvcnQ="])
async def test_a_weak_secret_is_refused_with_the_remedy(secret):
    with pytest.raises(Refused) as refused:
        await made(secret=secret)
    assert "--secret" in refused.value.remedy


async def test_with_v1a_the_receiver_holds_a_public_key_only():
    endpoint, _ = await made(v1a=True)
    assert endpoint.public_key == public_key_of(BOX.open(endpoint.secret, endpoint.id, "secret"))
    with pytest.raises(WrongShape):
        await made(v1a=True, url="mailto:desk@bank.com")


async def test_a_change_leaves_what_was_not_asked_for_and_judges_a_new_address():
    endpoint, _ = await made(subjects=["XNAS:AAPL"], repeat_s=600)
    changed = await endpoints.changed(
        endpoint, EndpointChange(severity="critical", subjects=[]), BOX, Allowed(), look_ups()
    )
    assert (changed.severity, changed.subjects, changed.repeat_s, changed.url) == ("critical", [], 600, endpoint.url)
    moved = await endpoints.changed(endpoint, EndpointChange(url="https://new.bank.com/in"), BOX, Allowed(), look_ups())
    assert BOX.open(moved.url, moved.id, "url") == "https://new.bank.com/in"
    with pytest.raises(AddressRefused):
        await endpoints.changed(endpoint, EndpointChange(url="https://127.0.0.1/"), BOX, Allowed(), look_ups())


async def test_after_a_rotation_both_secrets_open_until_the_old_ones_hours_are_over():
    endpoint, old = await made()
    rotated, new = endpoints.rotated(endpoint, AskedRotation(hours=24), BOX, NOW)
    assert rotated.old_secret is not None
    assert BOX.open(rotated.secret, rotated.id, "secret") == new != old
    assert BOX.open(rotated.old_secret, rotated.id, "secret") == old
    assert rotated.old_until == NOW + 24 * 3_600_000
    at_once, _ = endpoints.rotated(endpoint, AskedRotation(hours=0), BOX, NOW)
    assert (at_once.old_secret, at_once.old_until) == (None, 0)


async def test_a_v1a_endpoint_gets_a_new_pair_and_a_chat_needs_the_secret_of_its_service():
    plain, old = await made()
    signed, _ = endpoints.rotated(plain, AskedRotation(v1a=True), BOX, NOW)
    assert signed.old_secret is not None
    assert BOX.open(signed.old_secret, signed.id, "secret") == old
    rotated, _ = endpoints.rotated(signed, AskedRotation(), BOX, NOW)
    assert rotated.public_key.startswith("whpk_")
    assert rotated.public_key != signed.public_key
    mail, _ = await made(url="mailto:desk@bank.com")
    with pytest.raises(WrongShape, match="made by that service"):
        endpoints.rotated(mail, AskedRotation(), BOX, NOW)


@pytest.mark.parametrize("hours", [-1, 10_000, float("nan")])
def test_hours_that_cannot_be_are_refused(hours):
    with pytest.raises(WrongShape):
        endpoints.rotated(None, AskedRotation(hours=hours), BOX, NOW)  # type: ignore[arg-type]


async def test_sealed_anew_all_opens_with_the_new_key_alone_and_once_is_enough():
    endpoint, old = await made()
    endpoint, new = endpoints.rotated(endpoint, AskedRotation(), BOX, NOW)
    ring, alone = SecretBox(f"{NEW_KEY},{OLD_KEY}"), SecretBox(NEW_KEY)
    anew = endpoints.resealed(endpoint, ring)
    assert alone.open(anew.url, anew.id, "url") == URL
    assert alone.open(anew.secret, anew.id, "secret") == new
    assert anew.old_secret is not None
    assert alone.open(anew.old_secret, anew.id, "secret") == old
    assert endpoints.resealed(anew, ring) is anew
    with pytest.raises(NoSecretKey):
        endpoints.resealed(endpoint, alone)


async def test_a_secret_that_is_brought_along_is_the_one_that_signs():
    mine = new_signing_secret()
    _, secret = await made(secret=mine)
    assert secret == mine

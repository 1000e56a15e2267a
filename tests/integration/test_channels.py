"""Every channel against a local server with that service's published rules: what is sent is taken, what is refused is understood."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email import message_from_bytes
from email.policy import default

import msgspec
import pytest

from alerts.channels import channel_of
from alerts.channels.contract import Address
from alerts.guard import Allowed
from alerts.mail import MailServer, Server
from alerts.people import endpoints
from alerts.people.delivery_log import in_words
from alerts.say import Say
from alerts.send import Sender
from groundswell.asked import AskedEndpoint
from groundswell.clock import SystemClock
from groundswell.decisions import Delivery
from groundswell.errors import BadSetting
from groundswell.secrets import SecretBox, new_key
from groundswell.settings import Settings
from tests.alert_events import event_bytes
from tests.delivery_road import FastClock, Road
from tests.services_chat import ChatServices, MailStub
from tests.tellings import SECRETS, address, replace_address, telling

SERVICES = ("feishu", "dingtalk", "wecom", "slack", "telegram", "discord", "teams", "pagerduty", "alertmanager")
PROMISE_WORDS = ("feishu", "dingtalk", "wecom", "slack", "telegram", "pagerduty")  # the answer's body must say yes
STATES = (Say.FIRING, Say.UPDATED, Say.REPEAT, Say.ESCALATED, Say.ACKNOWLEDGED, Say.RESOLVED, Say.TEST, Say.DISABLED)


class Street:
    """The services, and a sender that may reach them."""

    def __init__(self) -> None:
        self.shift_s = 0.0
        self.services = ChatServices(lambda: time.time() + self.shift_s)
        self.services.secrets = {name: SECRETS[name] for name in ("feishu", "dingtalk", "pagerduty", "alertmanager")}
        self.sender: Sender | None = None

    async def open(self) -> None:
        place = (await self.services.start()).removeprefix("http://")
        settings = Settings(deliver_allow=[place], deliver_http=True)
        self.sender = Sender(Allowed.of(settings), SystemClock(), 5.0)

    async def tell(self, channel, *tellings, place: Address | None = None):
        spec, clock = channel_of(channel), SystemClock()
        to = place or replace_address(address(channel, "zh"), url=self.services.url(channel))
        request = spec.request(to, "gw_1", tellings or (telling(),), None, clock.now_ms())
        return await self.sender.send("hook_desk", request, spec.verdict)

    def at(self, channel, **changes) -> Address:
        return replace_address(address(channel), **({"url": self.services.url(channel)} | changes))


@pytest.fixture
async def street():
    found = Street()
    await found.open()
    yield found
    await found.sender.close()
    await found.services.stop()


@pytest.mark.parametrize("channel", SERVICES)
async def test_each_service_takes_every_state(street, channel):
    for say in STATES:
        street.shift_s += 70  # past every rate limit
        outcome = await street.tell(channel, telling(say))
        assert outcome.verdict.outcome is Delivery.SENT, (say, outcome)
    assert len(street.services.posted[channel]) == len(STATES)


@pytest.mark.parametrize("channel", [one for one in SERVICES if channel_of(one).limits.many])
async def test_each_chat_takes_twenty_alerts_at_once(street, channel):
    outcome = await street.tell(channel, *(telling(sequence=i) for i in range(20)))
    assert outcome.verdict.outcome is Delivery.SENT
    assert "20 条预警" in str(street.services.posted[channel][0])


@pytest.mark.parametrize("channel", ["feishu", "dingtalk"])
async def test_a_clock_an_hour_off_is_told_as_a_refused_signature(street, channel):
    street.shift_s = 3_700
    outcome = await street.tell(channel)
    assert outcome.status == 200
    assert outcome.verdict.outcome is Delivery.RETRY
    assert outcome.verdict.reason.startswith("signature_refused")
    street.shift_s = 3_400
    assert (await street.tell(channel)).verdict.outcome is Delivery.SENT


@pytest.mark.parametrize("channel", ["feishu", "dingtalk"])
async def test_a_wrong_secret_is_told_and_may_be_mended(street, channel):
    outcome = await street.tell(channel, place=street.at(channel, secrets=("SECwrong",)))
    assert (outcome.verdict.outcome, outcome.verdict.reason.split()[0]) == (Delivery.RETRY, "signature_refused")
    assert street.services.posted[channel] == []


@pytest.mark.parametrize("channel", ["feishu", "dingtalk"])
async def test_a_robot_that_asks_for_a_keyword_finds_groundswell_in_every_message(street, channel):
    street.services.keyword = "Groundswell"
    assert (await street.tell(channel)).verdict.outcome is Delivery.SENT
    street.services.keyword = "监控"
    assert (await street.tell(channel)).verdict.reason.startswith("keyword_missing")


@pytest.mark.parametrize(
    ("channel", "most", "asked_s"),
    [
        ("feishu", 5, None),
        ("dingtalk", 20, 600),
        ("wecom", 20, 60),
        ("slack", 1, 1),
        ("telegram", 20, 31),
        ("discord", 5, 0.65),
    ],
)
async def test_too_many_messages_are_told_as_such_with_the_wait(street, channel, most, asked_s):
    fixed = time.time()
    street.services.now_s = lambda: fixed
    for _ in range(most):
        assert (await street.tell(channel)).verdict.outcome is Delivery.SENT
    outcome = await street.tell(channel)
    assert outcome.verdict.outcome is Delivery.RETRY
    assert outcome.verdict.reason.split()[0] == "rate_limited"
    assert outcome.verdict.asked_s == asked_s


def test_our_own_pace_keeps_below_each_services_limit():
    most_a_minute = {"feishu": 100, "dingtalk": 20, "wecom": 20, "slack": 60, "telegram": 20}
    for channel, most in most_a_minute.items():
        assert channel_of(channel).limits.per_minute < most
    assert channel_of("slack").limits.spacing_s >= 1
    assert channel_of("feishu").limits.spacing_s >= 0.2


@pytest.mark.parametrize("channel", SERVICES)
async def test_a_login_page_with_200_is_not_a_delivery(street, channel):
    street.services.answers = [(200, "text/html; charset=utf-8", b"<html><form>Log in to the proxy</form></html>")]
    outcome = await street.tell(channel)
    assert outcome.status == 200
    assert outcome.verdict.outcome is Delivery.RETRY
    assert outcome.verdict.reason


@pytest.mark.parametrize("channel", PROMISE_WORDS)
async def test_200_with_nothing_that_says_yes_is_not_a_delivery(street, channel):
    street.services.answers = [(200, "application/json", b"")]
    assert (await street.tell(channel)).verdict.outcome is Delivery.RETRY


async def test_a_telegram_group_that_moved_names_its_new_chat(street):
    outcome = await street.tell(
        "telegram", place=street.at("telegram", url=f"{street.services.root}/bot1:tok/sendMessage?chat_id=-7")
    )
    assert outcome.verdict.reason == "chat_moved -1007"


async def test_a_wrong_robot_token_or_key_may_be_mended(street):
    for channel, url in (
        ("wecom", f"{street.services.root}/cgi-bin/webhook/send?key=other"),
        ("telegram", f"{street.services.root}/bot2:tok/sendMessage?chat_id=-100"),
    ):
        assert (await street.tell(channel, place=street.at(channel, url=url))).verdict.outcome is Delivery.RETRY
    assert (
        await street.tell("alertmanager", place=street.at("alertmanager", secrets=("a:b",)))
    ).verdict.reason == "http_401"


async def test_what_discord_echoes_in_full_is_still_a_delivery(street):
    outcome = await street.tell("discord", *(telling(sequence=i) for i in range(20)))
    assert outcome.status == 200
    assert outcome.verdict.outcome is Delivery.SENT


# -- mail --------------------------------------------------------------------------------------------------------------


class Post:
    """A mail server of ours and a way to it."""

    def __init__(self, folder, **how) -> None:
        self.stub = MailStub(folder, **how)

    async def open(self, *, user: str = "", trust: bool = True, timeout_s: float = 5.0) -> MailServer:
        port = await self.stub.start()
        scheme = "smtps" if self.stub.implicit else "smtp"
        server = Server.of(f"{scheme}://{user}localhost:{port}")
        return MailServer(server, "alerts@bank.example", timeout_s, self.stub.trust if trust else None)


def mail(lang="zh", to="mailto:desk@bank.example,night@bank.example"):
    place = replace_address(address("email", lang), url=to)
    return channel_of("email").request(place, "gw_1", (telling(),), None, SystemClock().now_ms()).mail


async def handed_in(post, server, sent=None):
    try:
        return await server.send(sent or mail())
    finally:
        server.close()
        await post.stub.stop()


@pytest.mark.parametrize("implicit", [False, True])
async def test_a_mail_goes_out_over_tls_to_all_recipients(tmp_path, implicit):
    post = Post(tmp_path, implicit=implicit)
    outcome = await handed_in(post, await post.open())
    assert (outcome.verdict.outcome, outcome.status) == (Delivery.SENT, 250)
    ((sender, recipients, data),) = post.stub.mails
    assert (sender, recipients) == ("alerts@bank.example", ["desk@bank.example", "night@bank.example"])
    read = message_from_bytes(data, policy=default)
    assert read["From"] == "Groundswell <alerts@bank.example>"
    assert read["Subject"] == "【预警】海港钢铁（600001.SH）负面舆情达常态的 6.6 倍"
    assert "负面原创 41 条" in read.get_body(("plain",)).get_content()
    assert all(line.split()[0].upper() in ("EHLO", "STARTTLS") for line in post.stub.in_the_clear)


async def test_an_endpoint_of_three_addresses_is_one_mail_to_three(tmp_path):
    box = SecretBox(new_key())
    asked = AskedEndpoint(url="mailto:desk@bank.example, night@bank.example,chief@bank.example", name="risk")
    made, _ = await endpoints.made(asked, box, Allowed(), 0)
    post = Post(tmp_path)
    outcome = await handed_in(post, await post.open(), mail(to=box.open(made.url, made.id, "url")))
    assert outcome.verdict.outcome is Delivery.SENT
    ((_, recipients, data),) = post.stub.mails
    assert recipients == ["desk@bank.example", "night@bank.example", "chief@bank.example"]
    assert message_from_bytes(data, policy=default)["To"] == "desk@bank.example, night@bank.example, chief@bank.example"


async def test_without_starttls_nothing_is_said_in_the_clear(tmp_path):
    post = Post(tmp_path, starttls=False, login="me:pass")
    outcome = await handed_in(post, await post.open(user="me:pass@"))
    assert (outcome.verdict.outcome, outcome.verdict.reason) == (Delivery.RETRY, "tls_refused")
    assert not any(line.upper().startswith(("AUTH", "MAIL")) for line in post.stub.said)


async def test_a_certificate_nobody_vouches_for_is_refused(tmp_path):
    post = Post(tmp_path)
    outcome = await handed_in(post, await post.open(trust=False))
    assert outcome.verdict.reason == "tls_refused"
    assert post.stub.mails == []


@pytest.mark.parametrize(
    ("user", "outcome", "status"), [("me:pa%40ss@", Delivery.SENT, 250), ("me:no@", Delivery.RETRY, 535)]
)
async def test_a_login_is_used_and_a_wrong_one_may_be_mended(tmp_path, user, outcome, status):
    post = Post(tmp_path, login="me:pa@ss")
    found = await handed_in(post, await post.open(user=user))
    assert (found.verdict.outcome, found.status) == (outcome, status)


@pytest.mark.parametrize(
    ("command", "reply", "outcome"),
    [
        (".", "451 4.3.0 try later", Delivery.RETRY), (".", "552 5.3.4 too large", Delivery.REFUSED),
        ("MAIL", "421 busy", Delivery.RETRY), ("MAIL", "550 5.7.1 not you", Delivery.REFUSED),
    ],
)  # fmt: skip
async def test_a_servers_no_is_for_now_or_for_good(tmp_path, command, reply, outcome):
    post = Post(tmp_path)
    post.stub.replies = {command: [reply]}
    found = await handed_in(post, await post.open())
    assert (found.verdict.outcome, found.verdict.reason) == (outcome, f"smtp_{reply[:3]}")


async def test_one_unknown_recipient_does_not_stop_the_other(tmp_path):
    post = Post(tmp_path)
    post.stub.replies = {"RCPT": ["550 5.1.1 no such user"]}
    found = await handed_in(post, await post.open())
    assert (found.verdict.outcome, found.verdict.reason) == (Delivery.SENT, "recipients_refused 1")
    assert post.stub.mails[0][1] == ["night@bank.example"]
    again = Post(tmp_path)
    again.stub.replies = {"RCPT": ["550 no such user"] * 2}
    assert (await handed_in(again, await again.open())).verdict.outcome is Delivery.REFUSED


async def test_a_server_that_hangs_is_left_at_the_deadline_and_its_thread_ends(tmp_path):
    post = Post(tmp_path)
    post.stub.replies = {"MAIL": ["hang"]}
    server = await post.open(timeout_s=60.0)
    begun = time.monotonic()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await server.send(mail())
    await asyncio.to_thread(server._pool.shutdown, wait=True)
    assert time.monotonic() - begun < 5
    await post.stub.stop()


async def test_a_server_that_is_not_there_is_named(tmp_path):
    post = Post(tmp_path)
    server = await post.open()
    await post.stub.stop()
    assert (await server.send(mail())).verdict.reason == "unreachable"
    server.close()


@pytest.mark.parametrize("url", ["mail.bank.example", "http://mail.bank.example", "smtp://", "smtp://host:99999"])
def test_a_mistyped_mail_server_is_refused_without_its_password(url):
    with pytest.raises(BadSetting) as refused:
        Server.of(url.replace("//", "//me:s3cret@"))
    assert "s3cret" not in refused.value.line
    assert "GROUNDSWELL_SMTP=" in refused.value.line


def test_no_mail_server_is_no_mail():
    assert MailServer.of(Settings()) is None
    with pytest.raises(BadSetting, match="sender"):
        MailServer.of(Settings(smtp="smtp://mail.bank.example"))


# -- a message that is refused for how it is written -------------------------------------------------------------------

CHATS = ("feishu", "dingtalk", "wecom", "slack", "telegram", "discord", "teams")


@asynccontextmanager
async def chats_on(road: Road) -> AsyncIterator[ChatServices]:
    """An endpoint for each chat, at services that refuse all that is more than plain text. Time runs ten times as fast."""
    road.clock = FastClock(10)
    services = ChatServices(lambda: road.clock.now_ms() / 1000)
    place = (await services.start()).removeprefix("http://")
    road.closing.append(services.stop)
    road.settings = msgspec.structs.replace(road.settings, deliver_allow=[place])
    services.dislikes = set(CHATS)
    await road.people(*(road.endpoint(services.url(name), name, channel=name, lang="zh") for name in CHATS))
    road.start()
    yield services
    await road.end()


async def test_a_message_refused_as_written_goes_out_once_more_as_plain_text(road):
    async with chats_on(road) as services:
        await road.push(event_bytes())
        await road.until(lambda: all(services.posted[name] for name in CHATS))
        await road.until(lambda: _tried(road, 7))
        rows = {row.endpoint: row for row in await road.log()}
    for name in CHATS:
        (posted,) = services.posted[name]
        assert "海港钢铁" in str(posted)
        assert "41 条" in str(posted)
        assert (rows[name].outcome, rows[name].attempt) == ("sent", 1)
        assert rows[name].reason.startswith("as_plain_text ")
        assert "plain text" in in_words(rows[name])
    assert rows["slack"].reason == "as_plain_text refused_by_service invalid_blocks"
    assert rows["telegram"].answer.count("can't parse entities") == 1, "the log has what the service disliked"
    assert {(await road.fares(name)).state for name in CHATS} == {"healthy"}


async def test_what_is_refused_as_plain_text_too_is_given_up_and_the_next_goes_out(road):
    no = (400, "application/json", b'{"ok":false,"error_code":400,"description":"Bad Request: nothing pleases"}')
    async with chats_on(road) as services:
        await road.people(forget=tuple(name for name in CHATS if name != "telegram"))
        await road.until(road.leads)
        await asyncio.sleep(0.6)  # until the removed ones are not served any more
        services.answers = [no, no]
        await road.push(event_bytes(episode="ep_a"))
        await road.until(lambda: _tried(road, 1))
        services.dislikes.clear()
        await road.push(event_bytes(episode="ep_b"))
        await road.until(lambda: _tried(road, 2))
        first, second = await road.log("telegram")
    assert (first.event, first.outcome, first.status) == ("gw_a_1", "refused", 400)
    assert (second.event, second.outcome, second.reason) == ("gw_b_1", "sent", "")
    assert len(services.posted["telegram"]) == 1


async def _tried(road: Road, count: int) -> bool:
    return len(await road.log()) >= count

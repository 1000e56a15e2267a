"""The chat services, PagerDuty, Alertmanager and a mail server on this machine, each with the rules it publishes.

They check what a real one checks: signature and its time window, lengths in its own unit, rate, shape; and they say no the way it
does, with 200 and a number where that is its way. Nothing here is shared with the code that is judged.
"""

import asyncio
import base64
import contextlib
import datetime as dt
import hashlib
import hmac
import html.parser
import json
import re
import ssl
from collections import defaultdict, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

HOUR_S = 3_600


class ChatServices:
    """All HTTP services on one port. `posted[channel]` is what readers would have seen; `secrets` what robots know.

    `answers`: (status, content type, body) given to the next requests instead. `now_s` is the services' own clock. `dislikes`: the
    channels that refuse, in their own words, whatever is more than plain text.
    """

    def __init__(self, now_s: Callable[[], float]) -> None:
        self.now_s = now_s
        self.secrets: dict[str, str] = {}
        self.keyword = ""
        self.dislikes: set[str] = set()
        self.posted: dict[str, list[Any]] = defaultdict(list)
        self.answers: list[tuple[int, str, bytes]] = []
        self._recent: dict[str, deque[float]] = defaultdict(deque)
        self._runner: web.AppRunner | None = None
        self.root = ""

    async def start(self) -> str:
        app = web.Application(client_max_size=1 << 20, middlewares=[self._answered])
        app.router.add_post("/open-apis/bot/v2/hook/{token}", self._feishu)
        app.router.add_post("/robot/send", self._dingtalk)
        app.router.add_post("/cgi-bin/webhook/send", self._wecom)
        app.router.add_post("/services/{path:.*}", self._slack)
        app.router.add_post("/bot{token}/sendMessage", self._telegram)
        app.router.add_post("/api/webhooks/{id}/{token}", self._discord)
        app.router.add_post("/workflows/{path:.*}", self._teams)
        app.router.add_post("/v2/enqueue", self._pagerduty)
        app.router.add_post("/api/v2/alerts", self._alertmanager)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.root = f"http://{host}:{port}"
        return self.root

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    def url(self, channel: str) -> str:
        paths = {
            "feishu": "/open-apis/bot/v2/hook/tok", "dingtalk": "/robot/send?access_token=tok",
            "wecom": "/cgi-bin/webhook/send?key=tok", "slack": "/services/T0/B0/X",
            "telegram": "/bot1:tok/sendMessage?chat_id=-100", "discord": "/api/webhooks/1/tok",
            "teams": "/workflows/x/triggers/manual/paths/invoke?sig=s", "pagerduty": "/v2/enqueue",
            "alertmanager": "/api/v2/alerts",
        }  # fmt: skip
        return self.root + paths[channel]

    @web.middleware
    async def _answered(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if self.answers:
            status, kind, body = self.answers.pop(0)
            return web.Response(status=status, body=body, headers={"Content-Type": kind})
        return await handler(request)

    def _too_fast(self, place: str, most: int, per_s: float) -> bool:
        recent, now = self._recent[place], self.now_s()
        while recent and recent[0] <= now - per_s:
            recent.popleft()
        recent.append(now)
        return len(recent) > most

    async def _feishu(self, request: web.Request) -> web.Response:
        raw = await request.read()
        if len(raw) > 20 * 1024:
            return web.json_response({"code": 9499, "msg": "Bad Request: too large"}, status=400)
        body = json.loads(raw)
        if self._too_fast("feishu-minute", 100, 60) or self._too_fast("feishu", 5, 1):
            return web.json_response({"code": 11232, "msg": "frequency limited"})
        if secret := self.secrets.get("feishu"):
            at = str(body.get("timestamp", ""))
            right = base64.b64encode(hmac.new(f"{at}\n{secret}".encode(), digestmod=hashlib.sha256).digest()).decode()
            if not at.isdecimal() or abs(self.now_s() - int(at)) > HOUR_S or body.get("sign") != right:
                return web.json_response({"code": 19021, "msg": "sign match fail or timestamp is not within one hour"})
        if self.keyword and self.keyword not in raw.decode():
            return web.json_response({"code": 19024, "msg": "Key Words Not Found"})
        if body.get("msg_type") == "text":
            self.posted["feishu"].append(body["content"]["text"])
            return web.json_response({"code": 0, "msg": "success", "data": {}})
        if "feishu" in self.dislikes:
            return web.json_response({"code": 11246, "msg": "card content failed"}, status=400)
        if body.get("msg_type") != "interactive" or not body["card"]["header"]["title"]["content"]:
            return web.json_response({"code": 9499, "msg": "Bad Request"}, status=400)
        for element in body["card"]["elements"]:
            if element["tag"] not in ("div", "note", "action", "hr", "markdown"):
                return web.json_response({"code": 9499, "msg": "unknown element"}, status=400)
        self.posted["feishu"].append(body["card"])
        return web.json_response({"code": 0, "msg": "success", "data": {}})

    async def _dingtalk(self, request: web.Request) -> web.Response:
        raw = await request.read()
        if self._too_fast("dingtalk", 20, 60):
            return web.json_response({"errcode": 130101, "errmsg": "send too fast, exceed 20 times per minute"})
        if secret := self.secrets.get("dingtalk"):
            at, given = request.query.get("timestamp", ""), request.query.get("sign", "")
            right = base64.b64encode(hmac.digest(secret.encode(), f"{at}\n{secret}".encode(), "sha256")).decode()
            if not at.isdecimal() or abs(self.now_s() - int(at) / 1000) > HOUR_S or given != right:
                return web.json_response({"errcode": 310000, "errmsg": "description:sign not match"})
        if self.keyword and self.keyword not in raw.decode():
            return web.json_response({"errcode": 310000, "errmsg": "description:keywords not in content"})
        body = json.loads(raw)
        kind = body.get("msgtype")
        wrong = len(raw) > 20_000 or kind not in ("markdown", "text")
        if wrong or (kind == "markdown" and ("dingtalk" in self.dislikes or not body["markdown"]["title"])):
            return web.json_response({"errcode": 40035, "errmsg": "invalid parameter"})
        self.posted["dingtalk"].append(body)
        return web.json_response({"errcode": 0, "errmsg": "ok"})

    async def _wecom(self, request: web.Request) -> web.Response:
        body = json.loads(await request.read())
        if request.query.get("key") != "tok":
            return web.json_response({"errcode": 93000, "errmsg": "invalid webhook url"})
        if self._too_fast("wecom", 20, 60):
            return web.json_response({"errcode": 45009, "errmsg": "api freq out of limit"})
        kind, most = (body["msgtype"], {"markdown": 4_096, "text": 2_048}[body["msgtype"]])
        if len(body[kind]["content"].encode()) > most:
            return web.json_response({"errcode": 40058, "errmsg": f"{kind}.content exceed max length {most}"})
        if kind == "markdown" and "wecom" in self.dislikes:
            return web.json_response({"errcode": 40008, "errmsg": "invalid message type"})
        self.posted["wecom"].append(body)
        return web.json_response({"errcode": 0, "errmsg": "ok"})

    async def _slack(self, request: web.Request) -> web.Response:
        body = json.loads(await request.read())
        if self._too_fast("slack", 1, 1):
            return web.Response(status=429, text="rate_limited", headers={"Retry-After": "1"})
        blocks = body.get("blocks", [])
        if not body.get("text") and not blocks:
            return web.Response(status=400, text="no_text")
        most = {"header": 150, "section": 3_000}
        for block in blocks:
            text = block.get("text", {}).get("text", "")
            if block["type"] not in ("header", "section", "context") or len(text) > most.get(block["type"], 3_000):
                return web.Response(status=400, text="invalid_blocks")
            if block["type"] != "context" and not text:
                return web.Response(status=400, text="invalid_blocks")
        if len(blocks) > 50 or (blocks and "slack" in self.dislikes):
            return web.Response(status=400, text="invalid_blocks")
        self.posted["slack"].append(body)
        return web.Response(text="ok")

    async def _telegram(self, request: web.Request) -> web.Response:
        body = json.loads(await request.read())
        if request.match_info["token"] != "1:tok":
            return web.json_response({"ok": False, "error_code": 401, "description": "Unauthorized"}, status=401)
        if self._too_fast("telegram", 20, 60):
            answer = {"ok": False, "error_code": 429, "parameters": {"retry_after": 31}}
            return web.json_response(answer, status=429)
        if body["chat_id"] == "-7":
            answer = {"ok": False, "error_code": 400, "parameters": {"migrate_to_chat_id": -1007}}
            return web.json_response(answer, status=400)
        shown = _TelegramHtml()
        try:
            if "parse_mode" not in body:
                shown.text = body["text"]
            else:
                shown.feed("</b>" if "telegram" in self.dislikes else body["text"])
                shown.close()
        except ValueError as error:
            answer = {"ok": False, "error_code": 400, "description": f"Bad Request: can't parse entities: {error}"}
            return web.json_response(answer, status=400)
        if shown.open or not 0 < len(shown.text.encode("utf-16-le")) // 2 <= 4_096:
            answer = {"ok": False, "error_code": 400, "description": "Bad Request: message is too long"}
            return web.json_response(answer, status=400)
        self.posted["telegram"].append(shown.text)
        return web.json_response({"ok": True, "result": {"message_id": 1, "text": shown.text, "entities": shown.seen}})

    async def _discord(self, request: web.Request) -> web.Response:
        body = json.loads(await request.read())
        if self._too_fast("discord", 5, 2):
            return web.json_response({"message": "You are being rate limited.", "retry_after": 0.65}, status=429)
        sizes = [(len(body.get("content", "")), 2_000)]
        for embed in body.get("embeds", []):
            sizes += [(len(embed["title"]), 256), (len(embed["description"]), 4_096)]
            sizes.append((len(embed["title"] + embed["description"]), 6_000))
        if any(size > most for size, most in sizes) or ("embeds" in body and "discord" in self.dislikes):
            return web.json_response({"code": 50035, "message": "Invalid Form Body"}, status=400)
        self.posted["discord"].append(body)
        headers = {"X-RateLimit-Remaining": "4", "X-RateLimit-Reset-After": "2"}
        if request.query.get("wait") != "true":
            return web.Response(status=204, headers=headers)
        return web.json_response({"id": "1", **body}, headers=headers)

    async def _teams(self, request: web.Request) -> web.Response:
        raw = await request.read()
        (attached,) = json.loads(raw)["attachments"]
        if len(raw) > 28 * 1024:
            return web.Response(status=413)
        if attached["contentType"] != "application/vnd.microsoft.card.adaptive":
            return web.Response(status=400)
        if "teams" in self.dislikes and attached["content"]["version"] != "1.2":
            return web.Response(status=400)
        self.posted["teams"].append(attached["content"])
        return web.Response(status=202)

    async def _pagerduty(self, request: web.Request) -> web.Response:
        raw = await request.read()
        body = json.loads(raw)
        payload = body.get("payload", {})
        right = (
            len(raw) <= 512_000
            and body.get("routing_key") == self.secrets.get("pagerduty")
            and body.get("event_action") in ("trigger", "acknowledge", "resolve")
            and 0 < len(body.get("dedup_key", "")) <= 255
            and (body["event_action"] != "trigger" or 0 < len(payload.get("summary", "")) <= 1_024)
            and (
                body["event_action"] != "trigger" or payload.get("severity") in ("critical", "error", "warning", "info")
            )
            and (body["event_action"] != "trigger" or payload.get("source"))
        )
        if not right:
            return web.json_response({"status": "invalid event", "errors": ["…"]}, status=400)
        self.posted["pagerduty"].append(body)
        return web.json_response({"status": "success", "dedup_key": body["dedup_key"]}, status=202)

    async def _alertmanager(self, request: web.Request) -> web.Response:
        if secret := self.secrets.get("alertmanager"):
            right = "Basic " + base64.b64encode(secret.encode()).decode()
            if request.headers.get("Authorization") != right:
                return web.Response(status=401)
        for alert in json.loads(await request.read()):
            names = alert["labels"]
            if not names.get("alertname") or not all(re.fullmatch(r"[A-Za-z_]\w*", name) for name in names):
                return web.json_response("bad labels", status=400)
            starts, ends = (dt.datetime.fromisoformat(alert[name]) for name in ("startsAt", "endsAt"))
            if ends < starts:
                return web.json_response("start time must be before end time", status=400)
        self.posted["alertmanager"].append(json.loads(await request.read()))
        return web.Response(status=200)


class _TelegramHtml(html.parser.HTMLParser):
    """The markup Telegram reads: a few tags, closed in order; anything else is an error."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.text, self.open, self.seen = "", [], []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag not in ("b", "i", "u", "s", "a", "code", "pre", "blockquote"):
            raise ValueError(f"unsupported start tag {tag}")
        self.open.append(tag)
        self.seen.append({"type": tag, **dict(attrs)})

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            raise ValueError(f"unexpected end tag {tag}")

    def handle_data(self, data: str) -> None:
        self.text += data


class MailStub:
    """An SMTP server with TLS: STARTTLS or from the first byte. `mails` are (sender, recipients, bytes) that it accepted.

    `replies` overrides the reply to a command by its name ("RCPT", "DATA", "."), once each; "hang" answers nothing;
    `starttls` off: it offers none.
    """

    def __init__(self, folder: Path, *, implicit: bool = False, starttls: bool = True, login: str = "") -> None:
        self.implicit, self.starttls, self.login = implicit, starttls, login
        self.mails: list[tuple[str, list[str], bytes]] = []
        self.said: list[str] = []
        self.in_the_clear: list[str] = []
        self.replies: dict[str, list[str]] = {}
        self._tls, self.trust = _certificate(folder)
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def start(self) -> int:
        tls = self._tls if self.implicit else None
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=tls)
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            for writer in tuple(self._open):
                writer.close()
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        with contextlib.suppress(ConnectionError, ssl.SSLError, asyncio.IncompleteReadError):
            await self._converse(reader, writer)
        self._open.discard(writer)
        writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        secure, sender, recipients, known = self.implicit, "", [], not self.login

        async def say(line: str) -> None:
            writer.write(line.encode() + b"\r\n")
            await writer.drain()

        await say("220 stub ESMTP")
        while line := (await reader.readline()).decode().strip():
            self.said.append(line)
            if not secure:
                self.in_the_clear.append(line)
            word = line.split(" ")[0].split(":")[0].upper()
            if told := self.replies.get(word):
                reply = told.pop(0)
                if reply == "hang":
                    await reader.read()
                    return
                await say(reply)
                continue
            if word in ("EHLO", "HELO"):
                offers = ["STARTTLS"] if self.starttls and not secure else []
                offers += ["AUTH PLAIN"] if self.login else []
                await say("\r\n".join(["250-stub", *(f"250-{one}" for one in offers), "250 8BITMIME"]))
            elif word == "STARTTLS" and self.starttls:
                await say("220 go ahead")
                await writer.start_tls(self._tls)
                secure = True
            elif word == "AUTH":
                given = base64.b64decode(line.split(" ")[2]).decode().split("\0")
                known = ":".join(given[1:]) == self.login
                await say("235 ok" if known else "535 5.7.8 bad login")
            elif word in ("MAIL", "RCPT") and not (secure and known):
                await say("530 5.7.0 Must issue a STARTTLS command first, or log in")
            elif word == "MAIL":
                sender = re.findall(r"<(.*?)>", line)[0]
                await say("250 ok")
            elif word == "RCPT":
                recipients.append(unquote(re.findall(r"<(.*?)>", line)[0]))
                await say("250 ok")
            elif word == "DATA":
                await say("354 go on")
                data = await reader.readuntil(b"\r\n.\r\n")
                if told := self.replies.get("."):
                    await say(told.pop(0))
                    continue
                self.mails.append((sender, recipients, data.removesuffix(b".\r\n").replace(b"\r\n..", b"\r\n.")))
                await say("250 queued")
            elif word == "QUIT":
                await say("221 bye")
                return
            else:
                await say("250 ok" if word in ("RSET", "NOOP") else "502 no")


def _certificate(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's context for 127.0.0.1 and localhost, and a client's that trusts it alone."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "stub")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    both = folder / "stub.pem"
    both.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + made.public_bytes(serialization.Encoding.PEM)
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(both)
    return server, ssl.create_default_context(cadata=made.public_bytes(serialization.Encoding.PEM).decode())

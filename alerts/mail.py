"""Hands a mail to the operator's SMTP server: always over TLS with its certificate checked, in a few threads, with a deadline.

smtplib blocks, so it runs in threads; whoever stops waiting closes the socket under it, and the thread ends. send.py calls this.
"""

import asyncio
import re
import smtplib
import socket
import ssl
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Self
from urllib.parse import unquote, urlsplit

from alerts.channels.contract import Verdict
from alerts.channels.email import verdict
from alerts.send import Outcome
from groundswell.decisions import Delivery
from groundswell.errors import BadSetting
from groundswell.settings import Settings

THREADS = 4  # mails under way; others wait for one of them, within their deadline
PORTS = {"smtp": 587, "smtps": 465}
REPLY_BYTES = 1_000
_ADDRESS = re.compile(r"[!-~]{1,64}@[A-Za-z0-9.-]{1,255}")


@dataclass(frozen=True)
class Server:
    """Where mail is handed in: smtp begins in the clear and must upgrade (STARTTLS), smtps is TLS from the first byte."""

    scheme: str
    host: str
    port: int
    user: str
    password: str

    @classmethod
    def of(cls, url: str) -> Self:
        """From smtp://user:password@host:587. Raises BadSetting, which does not repeat the password."""
        remedy = "Write GROUNDSWELL_SMTP=smtp://user:password@host:587 (STARTTLS) or smtps://user:password@host:465."
        try:
            parts = urlsplit(url)
            port = parts.port or PORTS[parts.scheme]
        except (ValueError, KeyError) as error:
            raise BadSetting("GROUNDSWELL_SMTP is not the address of a mail server.", remedy=remedy) from error
        if not parts.hostname:
            raise BadSetting("GROUNDSWELL_SMTP names no host.", remedy=remedy)
        return cls(parts.scheme, parts.hostname, port, unquote(parts.username or ""), unquote(parts.password or ""))


class MailServer:
    """Sends mails one connection each. Close it when done."""

    def __init__(self, server: Server, sender: str, timeout_s: float, tls: ssl.SSLContext | None = None) -> None:
        """`sender` is the From address; `timeout_s` bounds each wait for the server. Raises BadSetting."""
        if not _ADDRESS.fullmatch(sender):
            raise BadSetting(
                "The sender of mails is no address.", remedy="Set GROUNDSWELL_SMTP_FROM=alerts@bank.example."
            )
        self._server, self._sender, self._timeout_s = server, sender, timeout_s
        self._tls = tls or ssl.create_default_context()
        self._pool = ThreadPoolExecutor(THREADS, "mail")
        self._free = asyncio.Semaphore(THREADS)

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """None when no mail server is set. Raises BadSetting."""
        if not settings.smtp:
            return None
        server = Server.of(settings.smtp)
        return cls(server, settings.smtp_from or server.user, settings.deliver_timeout_s)

    async def send(self, mail: EmailMessage) -> Outcome:
        """One try; whatever the server does is a verdict. The caller sets the deadline by cancelling."""
        del mail["From"]
        mail["From"] = f"Groundswell <{self._sender}>"
        async with self._free:
            connection = _Connection(self._server, self._timeout_s, self._tls)
            recipients = [str(one.addr_spec) for one in mail["To"].addresses]
            work = (self._sender, recipients, mail.as_bytes())
            try:
                return await asyncio.get_running_loop().run_in_executor(self._pool, connection.hand_in, *work)
            finally:
                connection.cut()

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


class _Connection:
    """One conversation with the server, that another thread may cut off."""

    def __init__(self, server: Server, timeout_s: float, tls: ssl.SSLContext) -> None:
        self._server, self._timeout_s, self._tls = server, timeout_s, tls
        self._smtp: smtplib.SMTP | None = None
        self._over = False

    def cut(self) -> None:
        """End it now, wherever it is."""
        self._over = True
        found = getattr(self._smtp, "sock", None)
        if found is not None:
            try:
                found.shutdown(socket.SHUT_RDWR)
            except OSError:  # it ended by itself
                return

    def hand_in(self, sender: str, recipients: Sequence[str], data: bytes) -> Outcome:
        try:
            refused = self._converse(sender, recipients, data)
        except smtplib.SMTPResponseException as error:
            return _outcome(error.smtp_code, error.smtp_error)
        except smtplib.SMTPRecipientsRefused as error:
            code, reply = max(error.recipients.values())
            return _outcome(code, reply)
        except (ssl.SSLError, smtplib.SMTPNotSupportedError):
            return _away("tls_refused")
        except smtplib.SMTPServerDisconnected:
            return _away("broken_answer smtp")
        except TimeoutError:
            return _away("timed_out")
        except socket.gaierror:
            return _away("name_unknown")
        except OSError:
            return _away("unreachable")
        reason = f"recipients_refused {len(refused)}" if refused else ""
        return Outcome(Verdict(Delivery.SENT, reason), 250)

    def _converse(self, sender: str, recipients: Sequence[str], data: bytes) -> dict[str, tuple[int, bytes]]:
        domain = sender.rpartition("@")[2]  # said instead of this machine's name, which would be looked up
        place = (self._server.host, self._server.port)
        if self._server.scheme == "smtps":
            self._smtp = smtplib.SMTP_SSL(*place, domain, timeout=self._timeout_s, context=self._tls)
        else:
            self._smtp = smtplib.SMTP(*place, domain, timeout=self._timeout_s)
        with self._smtp as smtp:
            if self._over:
                raise smtplib.SMTPServerDisconnected
            if self._server.scheme == "smtp":
                smtp.starttls(context=self._tls)
            if self._server.user:
                smtp.login(self._server.user, self._server.password)
            return smtp.sendmail(sender, list(recipients), data)


def _outcome(code: int, reply: bytes | str) -> Outcome:
    head = (reply.encode() if isinstance(reply, str) else reply)[:REPLY_BYTES]
    return Outcome(verdict(code, {}, head, 0), code, 0, head)


def _away(reason: str) -> Outcome:
    return Outcome(Verdict(Delivery.RETRY, reason))

"""Mails, handed to the mail server that the operator names. It is their own machine, so no guard judges the address.

Passwords and codes go over TLS only: `smtps://` speaks it from the first byte, `smtp://` asks for it by STARTTLS and goes
on without only where the operator allows that, or on the hub's own machine.
"""

import asyncio
import contextlib
import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.utils import format_datetime, parseaddr
from pathlib import Path
from urllib.parse import unquote, urlsplit

import aiosmtplib

from datacollect.kernel.clock import Clock
from datacollect.kernel.errors import StartupError
from datacollect.messaging.addresses import is_mailbox
from datacollect.messaging.port import Message, NotSent, Receipt

_PORTS = {"smtp": 587, "smtps": 465}
_HERE = frozenset({"localhost", "127.0.0.1", "::1"})
_GOODBYE_SECONDS = 2
_POLICY = SMTP_POLICY.clone(cte_type="7bit")


@dataclass(frozen=True, slots=True)
class SmtpOptions:
    host: str
    port: int
    speaks_tls: bool
    """From the first byte on."""
    needs_tls: bool
    sender: str
    """Who mails are from, as it is shown."""
    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)

    @property
    def sender_address(self) -> str:
        return parseaddr(self.sender)[1]

    @property
    def domain(self) -> str:
        return self.sender_address.rpartition("@")[2]


def read_smtp(url: str, *, sender: str | None, allow_plain: bool) -> SmtpOptions:
    """Raises `StartupError` for what cannot work. The URL holds a password and is not quoted."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise StartupError("SMTP_URL must look like smtp://user:password@host:587") from None
    if parts.scheme not in _PORTS or not parts.hostname or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise StartupError("SMTP_URL must look like smtp://user:password@host:587, or smtps://… for TLS at once")
    if (parts.username is None) != (parts.password is None):
        raise StartupError("SMTP_URL must have a user name and a password, or neither")
    if not sender or not is_mailbox(parseaddr(sender)[1]) or not sender.isprintable():
        raise StartupError("SMTP_FROM must be set to the address that mails are from")
    return SmtpOptions(
        host=parts.hostname,
        port=port or _PORTS[parts.scheme],
        speaks_tls=parts.scheme == "smtps",
        needs_tls=not (allow_plain or parts.hostname in _HERE),
        sender=sender,
        user=None if parts.username is None else unquote(parts.username),
        password=None if parts.password is None else unquote(parts.password),
    )


def trusted_certificates(file: Path | None) -> ssl.SSLContext:
    """Those of the system, and those of the file. Raises `StartupError` if it cannot be read."""
    context = ssl.create_default_context()
    if file is not None:
        try:
            context.load_verify_locations(cafile=file)
        except OSError:
            raise StartupError(f"SMTP_CA_FILE {file} cannot be read as certificates (PEM)") from None
    return context


class SmtpCourier:
    """Sends mails. Implements `Courier`; one connection per mail, which few programs send many of."""

    def __init__(self, options: SmtpOptions, clock: Clock, tls: ssl.SSLContext) -> None:
        self._options = options
        self._clock = clock
        self._tls = tls

    async def send(self, message: Message, *, seconds: float) -> Receipt:
        handover = _Handover(self._client(seconds), message.address, self._mail(message))
        try:
            async with asyncio.timeout(seconds):
                await self._hand_over(handover)
        except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
            raise _not_sent(error, unsure=handover.is_under_way) from None
        finally:
            handover.client.close()
        return Receipt()

    def _client(self, seconds: float) -> aiosmtplib.SMTP:
        options = self._options
        return aiosmtplib.SMTP(
            hostname=options.host,
            port=options.port,
            use_tls=options.speaks_tls,
            start_tls=False,
            tls_context=self._tls,
            timeout=seconds,
            # Asking the system what the machine is called may take as long as it likes.
            local_hostname=options.domain,
        )

    async def _hand_over(self, handover: "_Handover") -> None:
        client, options = handover.client, self._options
        await client.connect()
        await client.ehlo()
        if not options.speaks_tls:
            await self._begin_tls(client)
        if options.user is not None:
            await client.login(options.user, options.password or "")
        await client.mail(options.sender_address)
        await client.rcpt(handover.address)
        handover.is_under_way = True
        await client.data(handover.mail)
        handover.is_under_way = False
        # It has it. That a server does not say goodbye is no reason to send it again.
        with contextlib.suppress(aiosmtplib.SMTPException, OSError, TimeoutError):
            async with asyncio.timeout(_GOODBYE_SECONDS):
                await client.quit()

    async def _begin_tls(self, client: aiosmtplib.SMTP) -> None:
        if client.supports_extension("starttls"):
            await client.starttls()
            await client.ehlo()
        elif self._options.needs_tls:
            raise _TlsNotOffered("no STARTTLS")

    def _mail(self, message: Message) -> bytes:
        """Raises `NotSent` for what is no address: one that is two would send a code to a stranger."""
        if not is_mailbox(message.address):
            raise NotSent("ADDRESS_INVALID", retryable=False)
        try:
            return self._written(message, Address(addr_spec=message.address))
        except (ValueError, MessageError):
            raise NotSent("ADDRESS_INVALID", retryable=False) from None

    def _written(self, message: Message, to: Address) -> bytes:
        mail = EmailMessage(policy=_POLICY)
        name, address = parseaddr(self._options.sender)
        mail["From"] = Address(name, addr_spec=address)
        mail["To"] = to
        mail["Subject"] = " ".join(message.subject.split())
        mail["Date"] = format_datetime(datetime.fromtimestamp(self._clock.now() // 1000, UTC))
        # The same each time: servers and readers of mail know by it what they have already.
        mail["Message-ID"] = f"<{message.id}@{self._options.domain}>"
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(message.text)
        return mail.as_bytes()


@dataclass(slots=True)
class _Handover:
    client: aiosmtplib.SMTP
    address: str
    mail: bytes
    is_under_way: bool = False
    """The mail itself is being sent, and nobody has said what became of it."""


class _TlsNotOffered(aiosmtplib.SMTPException):
    pass


def _not_sent(error: Exception, *, unsure: bool) -> NotSent:
    """What servers say is looked at for its number only: they like to quote addresses."""
    match error:
        case _TlsNotOffered():
            return NotSent("SMTP_TLS_NOT_OFFERED", retryable=True)
        case aiosmtplib.SMTPAuthenticationError():
            return NotSent("SMTP_LOGIN_REFUSED", retryable=_is_temporary(error.code))
        case aiosmtplib.SMTPRecipientRefused():
            is_temporary = _is_temporary(error.code)
            return NotSent("SMTP_TRY_LATER" if is_temporary else "SMTP_RECIPIENT_REFUSED", retryable=is_temporary)
        case aiosmtplib.SMTPResponseException() if error.code < 0:
            # What it said is no answer of a mail server.
            return NotSent("SMTP_BROKE_OFF", retryable=True, unsure=unsure)
        case aiosmtplib.SMTPResponseException():
            is_temporary = _is_temporary(error.code)
            return NotSent("SMTP_TRY_LATER" if is_temporary else "SMTP_REFUSED", retryable=is_temporary)
        case ssl.SSLError():
            return NotSent("SMTP_TLS_FAILED", retryable=True)
        case TimeoutError():
            return NotSent("SMTP_TOO_SLOW", retryable=True, unsure=unsure)
        case aiosmtplib.SMTPConnectError():
            is_tls = isinstance(error.__cause__, ssl.SSLError)
            return NotSent("SMTP_TLS_FAILED" if is_tls else "SMTP_UNREACHABLE", retryable=True)
        case OSError():
            return NotSent("SMTP_BROKE_OFF", retryable=True, unsure=unsure)
    # No way to sign in that both know, say.
    return NotSent("SMTP_REFUSED", retryable=False, unsure=unsure)


def _is_temporary(code: int) -> bool:
    return 400 <= code < 500

"""Mail servers on this machine: a real one, and some that break off where it hurts."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

USER, PASSWORD = "hub@mail.test", "p@ss/word:7"


@dataclass
class MailServer:
    """What came in, and what is to be answered. Implements aiosmtpd's handler."""

    host: str
    port: int = 0
    replies: dict[str, list[str]] = field(default_factory=dict)
    """By command (`RCPT`, `DATA`): given in turn, and then all is well again."""
    mails: list[EmailMessage] = field(default_factory=list)
    recipients: list[list[str]] = field(default_factory=list)
    encrypted: list[bool] = field(default_factory=list)
    connections: int = 0

    async def handle_RCPT(  # noqa: N802 - the library's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: Any
    ) -> str:
        if reply := self._reply("RCPT"):
            return reply
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        if reply := self._reply("DATA"):
            return reply
        assert isinstance(envelope.content, bytes)
        mail = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(mail, EmailMessage)
        self.mails.append(mail)
        self.recipients.append(list(envelope.rcpt_tos))
        self.encrypted.append(session.ssl is not None)
        return "250 OK"

    def _reply(self, command: str) -> str | None:
        waiting = self.replies.get(command)
        return waiting.pop(0) if waiting else None


def _judged(server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
    assert isinstance(data, LoginPassword)
    return AuthResult(success=(data.login, data.password) == (USER.encode(), PASSWORD.encode()), handled=False)


@contextlib.asynccontextmanager
async def mail_server(
    *,
    host: str = "127.0.0.1",
    starttls: ssl.SSLContext | None = None,
    tls: ssl.SSLContext | None = None,
    wants_login: bool = False,
) -> AsyncIterator[MailServer]:
    served = MailServer(host)
    loop = asyncio.get_running_loop()

    def serve() -> SMTP:
        served.connections += 1
        return SMTP(
            served,
            hostname="mail.test",
            tls_context=starttls,
            require_starttls=starttls is not None,
            auth_required=wants_login,
            auth_require_tls=starttls is not None,
            authenticator=_judged if wants_login else None,
            loop=loop,
        )

    server = await loop.create_server(serve, host, 0, ssl=tls)
    served.port = server.sockets[0].getsockname()[1]
    try:
        yield served
    finally:
        server.close()


@contextlib.asynccontextmanager
async def broken_mail_server(script: Mapping[str, str | None], *, host: str = "127.0.0.1") -> AsyncIterator["Broken"]:
    """Answers each command by its first word (`.` for the end of a mail); None hangs up. An absent one is not answered."""
    broken = Broken(dict(script))
    tasks: set[asyncio.Task[None]] = set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        with contextlib.closing(writer), contextlib.suppress(ConnectionError, asyncio.CancelledError):
            await broken.talk(reader, writer)

    server = await asyncio.start_server(talk, host, 0)
    broken.port = server.sockets[0].getsockname()[1]
    try:
        yield broken
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


WELL = {
    "HELLO": "220 broken.test",
    "EHLO": "250 broken.test",
    "MAIL": "250 OK",
    "RCPT": "250 OK",
    "DATA": "354 Go on",
    ".": "250 OK",
    "RSET": "250 OK",
    "QUIT": "221 Bye",
}


@dataclass
class Broken:
    script: dict[str, str | None]
    port: int = 0
    commands: list[str] = field(default_factory=list)
    taken: int = 0
    """Mails that came in whole."""

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not await self._say(writer, "HELLO"):
            return
        while line := await self._line(reader):
            command = line.partition(" ")[0].upper()
            self.commands.append(command)
            if not await self._say(writer, command):
                return
            if command == "DATA":
                while await self._line(reader) != ".":
                    continue
                self.taken += 1
                if not await self._say(writer, "."):
                    return

    async def _line(self, reader: asyncio.StreamReader) -> str:
        line = await reader.readline()
        if not line:
            raise ConnectionResetError
        return line.decode().strip("\r\n")

    async def _say(self, writer: asyncio.StreamWriter, command: str) -> bool:
        if command not in self.script:
            await asyncio.Event().wait()
        reply = self.script[command]
        if reply is None:
            return False
        writer.write(f"{reply}\r\n".encode())
        await writer.drain()
        return True

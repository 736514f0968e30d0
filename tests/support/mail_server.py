"""A real SMTP server in the test's own event loop, which can be told to refuse or fall silent."""

import asyncio
import email
import email.policy
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.support.eventually import eventually


@dataclass(frozen=True)
class Received:
    sender: str
    recipients: list[str]
    content: bytes
    was_encrypted: bool
    is_authenticated: bool

    @property
    def message(self) -> EmailMessage:
        message = email.message_from_bytes(self.content, policy=email.policy.SMTPUTF8)
        assert isinstance(message, EmailMessage)
        return message

    @property
    def text(self) -> str:
        """The text that a reader sees."""
        body: str = self.message.get_content()
        return body.replace("\r\n", "\n")

    @property
    def token(self) -> str:
        """The token of its only link."""
        (found,) = re.findall(
            r"#(?:verify_email|reset_password|email_change)=([\w-]+)$", self.text, re.MULTILINE
        )
        assert isinstance(found, str)
        return found


@dataclass
class MailServer:
    """Controls the server, and records what it received."""

    received: list[Received] = field(default_factory=list)
    passwords: list[bytes] = field(default_factory=list)
    asked: int = 0
    refusal: str | None = None
    port: int = 0
    goes_on: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.goes_on.set()

    def fall_silent(self) -> None:
        """Reply to no recipient until ``goes_on`` is set."""
        self.goes_on.clear()

    @property
    def url(self) -> str:
        """Its address without TLS or password."""
        return f"smtp://localhost:{self.port}"

    async def next_mail(self, subject: str, to: str | None = None) -> Received:
        """Wait for the first mail about ``subject`` (to that address) and remove it."""

        def look() -> list[Received]:
            found = [mail for mail in self.received if subject in mail.message["Subject"]]
            return [mail for mail in found if to in (None, *mail.recipients)]

        found = (await eventually(look))[0]
        self.received.remove(found)
        return found

    async def link(self, subject: str, to: str | None = None) -> str:
        """The token of the link in the next mail about ``subject``."""
        return (await self.next_mail(subject, to)).token

    async def handle_RCPT(  # noqa: N802 - as the library wants it
        self, _: SMTP, __: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Accept the recipient, or reply as the test requires."""
        self.asked += 1
        await self.goes_on.wait()
        if self.refusal:
            return self.refusal
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 OK"

    async def handle_DATA(  # noqa: N802 - as the library wants it
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        assert envelope.mail_from is not None
        assert isinstance(envelope.content, bytes)
        self.received.append(
            Received(
                envelope.mail_from,
                [str(recipient) for recipient in envelope.rcpt_tos],
                envelope.content,
                was_encrypted=is_encrypted(server),
                is_authenticated=bool(session.authenticated),
            )
        )
        return "250 OK"

    def authenticate(self, _: SMTP, __: Session, ___: Envelope, ____: str, data: Any) -> AuthResult:
        """Accept anyone with the password ``p@ss/word``."""
        assert isinstance(data, LoginPassword)
        self.passwords.append(data.password)
        is_right = data == LoginPassword(b"us:er", b"p@ss/word")
        return AuthResult(success=is_right, handled=False)


def is_encrypted(connection: SMTP) -> bool:
    """Whether the connection uses TLS."""
    transport = connection.transport
    return transport is not None and transport.get_extra_info("sslcontext") is not None


@asynccontextmanager
async def mail_server(
    *,
    port: int = 0,
    starttls: ssl.SSLContext | None = None,
    tls: ssl.SSLContext | None = None,
    has_utf8: bool = True,
    has_users: bool = False,
) -> AsyncIterator[MailServer]:
    """Run a server on loopback: with STARTTLS, TLS from the start, SMTPUTF8, or authentication."""
    loop = asyncio.get_running_loop()
    seen = MailServer()
    connections: list[SMTP] = []

    def connection() -> SMTP:
        made = SMTP(
            seen,
            hostname="mail.test",
            enable_SMTPUTF8=has_utf8,
            tls_context=starttls,
            authenticator=seen.authenticate if has_users else None,
            # The server accepts a login without TLS; a client must not try one.
            auth_require_tls=False,
            loop=loop,
        )
        connections.append(made)
        return made

    server = await loop.create_server(connection, "127.0.0.1", port, ssl=tls)
    seen.port = server.sockets[0].getsockname()[1]
    try:
        yield seen
    finally:
        seen.goes_on.set()
        server.close()
        for made in connections:
            if isinstance(made.transport, asyncio.WriteTransport):
                made.transport.abort()
        await server.wait_closed()
        for made in connections:
            handler = made._handler_coroutine
            if handler is not None:
                handler.cancel()  # after a failed handshake it would wait for five minutes
                await asyncio.wait([handler])

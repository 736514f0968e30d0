"""Deliver a mail to an SMTP server, or to a folder on a developer's machine.

Guarantees: credentials are sent only over an encrypted connection to a server with a valid
certificate. A server that does not respond is given up in bounded time. A mail in the folder is
complete or absent, and only its owner can read it.

Not here: retries (``sender``).
"""

import asyncio
import re
import secrets
import ssl
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol

import aiosmtplib

from auth_service.mail.message import Message
from auth_service.mail_addresses import SmtpServer

STEP_SECONDS_MAX: Final = 20.0
"""For one command: a working server responds sooner, even one that looks up the sender."""

SENDING_SECONDS_MAX: Final = 60.0
"""For a whole mail: a server that trickles its responses blocks no mail for longer."""

GOODBYE_SECONDS_MAX: Final = 2.0
"""For the response to QUIT, on which nothing depends: the server already has the mail."""

FILES_MAX: Final = 1_000
"""Mails stored in a folder: more than anybody reads in development; the oldest are deleted."""

_FILE: Final = re.compile(r"[0-9]{8}T[0-9]{12}Z-[0-9a-f]{8}\.eml(\.part)?")


class NotDelivered(Exception):
    """The mail was not accepted, but may be later; the message names no address."""


class Refused(Exception):
    """The mail will never be accepted; the message names no address."""


class Transport(Protocol):
    """A way to deliver mails."""

    async def deliver(self, message: Message) -> None:
        """Deliver ``message``; raises ``NotDelivered`` or ``Refused``."""


class SmtpTransport:
    """Delivers each mail to an SMTP server (RFC 5321), over a connection of its own.

    Certificates are always verified, with the authorities of OpenSSL (``SSL_CERT_FILE``).
    """

    def __init__(self, server: SmtpServer) -> None:
        self._server = server
        self._tls = ssl.create_default_context()

    async def deliver(self, message: Message) -> None:
        """Deliver ``message`` to the server.

        Raises:
            NotDelivered: the server is unavailable, too slow, or refuses temporarily.
            Refused: the server refuses this recipient or this mail permanently.
        """
        client = self._client(message)
        try:
            async with asyncio.timeout(SENDING_SECONDS_MAX):
                await client.connect()
                await client.sendmail(
                    message.sender,
                    [message.recipient],
                    message.content,
                    mail_options=["SMTPUTF8"] if message.needs_utf8 else [],
                )
            with suppress(aiosmtplib.SMTPException, OSError):
                await client.quit(timeout=GOODBYE_SECONDS_MAX)
        except aiosmtplib.SMTPRecipientsRefused as error:
            raise _error_for(error.recipients[0], type(error)) from None
        except aiosmtplib.SMTPDataError as error:
            raise _error_for(error, type(error)) from None
        except aiosmtplib.SMTPNotSupported as error:
            if message.needs_utf8:
                raise Refused("the server does not accept non-ASCII addresses") from None
            raise NotDelivered(type(error).__name__) from None
        except aiosmtplib.SMTPResponseException as error:
            raise NotDelivered(f"{type(error).__name__} {error.code}") from None
        except (aiosmtplib.SMTPException, OSError) as error:  # time-outs are OSErrors
            raise NotDelivered(type(error).__name__) from None
        except ValueError:  # an address that is not safe in a command
            raise Refused("the address is not safe in a command") from None
        finally:
            client.close()

    def _client(self, message: Message) -> aiosmtplib.SMTP:
        server = self._server
        # True: required; None: if the server offers it.
        start_tls = None if server.username is None else True
        return aiosmtplib.SMTP(
            hostname=server.host,
            port=server.port,
            username=server.username,
            password=server.password,
            use_tls=server.is_tls,
            start_tls=False if server.is_tls else start_tls,
            tls_context=self._tls,
            timeout=STEP_SECONDS_MAX,
            # Not this machine's name, which takes a look-up and should stay private.
            local_hostname=_ascii_domain(message.sender),
        )


class FolderTransport:
    """Writes each mail into a folder, as ``<time>-<random>.eml`` (RFC 5322)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def deliver(self, message: Message) -> None:
        """Write ``message`` to a file; raises ``NotDelivered``."""
        try:
            await asyncio.to_thread(self._write, message.content)
        except OSError as error:
            raise NotDelivered(type(error).__name__) from None

    def _write(self, content: bytes) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}Z-{secrets.token_hex(4)}.eml"
        partial = self._folder / f"{name}.part"
        partial.touch(mode=0o600, exist_ok=False)
        partial.write_bytes(content)
        partial.rename(self._folder / name)
        ours = sorted(path for path in self._folder.iterdir() if _FILE.fullmatch(path.name))
        for oldest in ours[:-FILES_MAX]:
            oldest.unlink(missing_ok=True)  # another process may delete it, too


def _error_for(
    reply: aiosmtplib.SMTPResponseException, kind: type[Exception]
) -> NotDelivered | Refused:
    """Map a reply code to an error: 5xx is permanent (RFC 5321 4.2.1)."""
    reason = f"{kind.__name__} {reply.code}"
    return Refused(reason) if 500 <= reply.code <= 599 else NotDelivered(reason)


def _ascii_domain(address: str) -> str:
    domain = address.rpartition("@")[2]
    return domain if domain.isascii() else "localhost"

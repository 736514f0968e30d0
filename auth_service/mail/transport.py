"""Hand a mail over: to an SMTP server, or to a folder on the developer's machine.

Guarantees: names and passwords go over an encrypted connection only, to a server whose certificate
is right; what does not answer is given up in bounded time; a mail in the folder is there as a whole
or not at all, and readable by its owner alone.

Not here: when to try again (``sender``).
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
"""For one command: a server that is there answers in less, even one that looks the sender up."""

SENDING_SECONDS_MAX: Final = 60.0
"""For a whole mail: a server that dribbles its answers holds a place in the queue for no longer."""

GOODBYE_SECONDS_MAX: Final = 2.0
"""For the answer to QUIT, on which nothing depends: the server has the mail already."""

FILES_MAX: Final = 1_000
"""Mails kept in a folder: more than anybody reads in development; the oldest go first."""

_FILE: Final = re.compile(r"[0-9]{8}T[0-9]{12}Z-[0-9a-f]{8}\.eml(\.part)?")


class NotDelivered(Exception):
    """The mail was not taken, but may be later; the message names no address."""


class Refused(Exception):
    """The mail will never be taken; the message names no address."""


class Transport(Protocol):
    """Where mails go."""

    async def deliver(self, message: Message) -> None:
        """Have ``message`` taken; raises ``NotDelivered`` or ``Refused``."""


class SmtpTransport:
    """Hands each mail to an SMTP server (RFC 5321), over a connection of its own.

    A certificate is always checked, by the authorities that OpenSSL knows (``SSL_CERT_FILE``).
    """

    def __init__(self, server: SmtpServer) -> None:
        self._server = server
        self._tls = ssl.create_default_context()

    async def deliver(self, message: Message) -> None:
        """Have the server take ``message``.

        Raises:
            NotDelivered: it is away, too slow, or refuses for now.
            Refused: it refuses this recipient, or this mail, for good.
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
            raise _judged(error.recipients[0], type(error)) from None
        except aiosmtplib.SMTPDataError as error:
            raise _judged(error, type(error)) from None
        except aiosmtplib.SMTPNotSupported as error:
            if message.needs_utf8:
                raise Refused("the server takes no address in other letters") from None
            raise NotDelivered(type(error).__name__) from None
        except aiosmtplib.SMTPResponseException as error:
            raise NotDelivered(f"{type(error).__name__} {error.code}") from None
        except (aiosmtplib.SMTPException, OSError) as error:  # time-outs are OSErrors
            raise NotDelivered(type(error).__name__) from None
        except ValueError:  # an address that would not be safe in a command
            raise Refused("the address is not safe in a command") from None
        finally:
            client.close()

    def _client(self, message: Message) -> aiosmtplib.SMTP:
        server = self._server
        # True: without fail; None: when the server offers it.
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
            # Not this machine's name: that takes a look-up, and is nobody's business.
            local_hostname=_ascii_domain(message.sender),
        )


class FolderTransport:
    """Writes each mail into a folder, as ``<time>-<random>.eml`` (RFC 5322)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def deliver(self, message: Message) -> None:
        """Write ``message``; raises ``NotDelivered`` when there is no way to."""
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
            oldest.unlink(missing_ok=True)  # another process tidies up too


def _judged(
    answer: aiosmtplib.SMTPResponseException, kind: type[Exception]
) -> NotDelivered | Refused:
    """What a reply code means: 5xx is for good (RFC 5321 4.2.1)."""
    reason = f"{kind.__name__} {answer.code}"
    return Refused(reason) if 500 <= answer.code <= 599 else NotDelivered(reason)


def _ascii_domain(address: str) -> str:
    domain = address.rpartition("@")[2]
    return domain if domain.isascii() else "localhost"

"""Parse e-mail addresses, and the URL of the mail server. Pure."""

import re
from dataclasses import dataclass, field
from email.headerregistry import Address
from email.policy import SMTP
from typing import Final
from urllib.parse import unquote, urlsplit

from email_validator import EmailNotValidError, validate_email

_PORTS: Final = {"smtp": 587, "smtps": 465}
"""Ports on which a server accepts mails from clients (RFC 6409, RFC 8314)."""

_NO_ADDRESS: Final = "must be one e-mail address, such as Name <name@example.org>"

_PLAIN: Final = re.compile(r"[\w+-]+(?:\.[\w+-]+)*@[a-z0-9-]+(?:\.[a-z0-9-]+)+", re.ASCII)
"""What nearly every address looks like, and every parser reads alike."""

_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


@dataclass(frozen=True, slots=True)
class SmtpServer:
    """A server that accepts mails, and the credentials for it.

    With ``is_tls`` the connection is encrypted from its start, otherwise by STARTTLS: always if
    there is a password, else if the server offers it.
    """

    host: str
    port: int
    is_tls: bool
    username: str | None = None
    password: str | None = field(default=None, repr=False)


def smtp_server(url: str) -> SmtpServer:
    """Parse an ``smtp://`` or ``smtps://`` URL; name and password are percent-encoded.

    Raises:
        ValueError: the URL is invalid; the message does not repeat it.
    """
    try:
        if _CONTROLS.search(url) or " " in url:
            raise ValueError
        parts = urlsplit(url)
        port = _PORTS[parts.scheme] if parts.port is None else parts.port
        name, password = (
            None if part is None else unquote(part, errors="strict")
            for part in (parts.username, parts.password)
        )
    except (ValueError, KeyError):  # an invalid port, an open bracket, another scheme
        is_usable = False
    else:
        rest = (parts.path.removeprefix("/"), parts.query, parts.fragment)
        # A / ? # or @ in a password that is not encoded ends up in another part.
        is_usable = bool(parts.hostname) and port != 0 and not any(rest)
        is_usable = is_usable and bool(name) == bool(password) and "@" not in (parts.password or "")
    if not is_usable:
        raise ValueError(
            "must be the URL of a mail server, smtp://user:password@host:587 or smtps://…; "
            "percent-encode all but letters and digits in name and password"
        )
    assert parts.hostname is not None  # checked above
    return SmtpServer(parts.hostname, port, parts.scheme == "smtps", name or None, password or None)


def sender_address(text: str) -> Address:
    """Parse the sender: one address, with or without a name; raises ``ValueError``."""
    address, has_defects = _one_address(text)
    if has_defects:
        raise ValueError(_NO_ADDRESS)
    return address


def is_bare_address(text: str) -> bool:
    """Whether ``text`` is one e-mail address and nothing else, so it cannot inject a header."""
    if _PLAIN.fullmatch(text):  # the library's parser takes a tenth of a sign-up's own time
        return True
    try:
        # Non-ASCII letters count as a defect, but may be valid.
        return _one_address(text)[0].addr_spec == text
    except ValueError:
        return False


def mailbox(email: str) -> str:
    """The mailbox of which ``email`` most likely is a sub-address: without its tag (RFC 5233).

    For limits only: some servers give ``a+b`` and ``a`` to two people.
    """
    local, _, domain = email.rpartition("@")
    return f"{local.partition('+')[0] or local}@{domain}"


def deliverable(email: str) -> str:
    """``email`` in the form for mail servers: the domain in its ASCII form (IDNA).

    Then only the part before the @ can need a server with SMTPUTF8 (RFC 6531).
    """
    if _PLAIN.fullmatch(email):
        return email
    try:
        return validate_email(email, check_deliverability=False).ascii_email or email
    except EmailNotValidError:  # accepted by earlier rules, or not a public domain
        return email


def _one_address(text: str) -> tuple[Address, bool]:
    """The only address in ``text``, and whether it has defects; raises ``ValueError``."""
    try:
        header = None if _CONTROLS.search(text) else SMTP.header_factory("From", text)
    except Exception:  # the standard library's parser fails in many ways on invalid ones
        header = None
    if header is None or len(header.addresses) != 1:
        raise ValueError(_NO_ADDRESS)
    address: Address = header.addresses[0]
    if not address.username or not address.domain:
        raise ValueError(_NO_ADDRESS)
    return address, bool(header.defects)

"""The addresses of a broker, as one setting: AMQP URLs separated by blanks.

Each is a node of the same cluster; a client uses the first that accepts it. With ``amqps://`` the
node's certificate is verified, with its name. ``cafile`` names the file of the authority (by
default those that the machine trusts), ``certfile`` and ``keyfile`` the client's own certificate,
and ``no_verify_ssl=1`` switches the verification off.
"""

import ssl
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from service_kit.process.tls import Parameters, client_context

TLS: Final = Parameters("cafile", "certfile", "keyfile", "…_AMQP_URL")

_OF_TLS: Final = (TLS.authority, TLS.certificate, TLS.key, "no_verify_ssl")
_KNOWN: Final = {*_OF_TLS, "heartbeat", "auth", "timeout", "name"}
"""Parameters that the client library knows, without its other ways to give an authority."""

_ADDRESS = "must be the address of a RabbitMQ virtual host (amqp://… or amqps://…)"

_SEPARATE = "separate addresses by blanks, with user and virtual host in each, and no comma"

_BLANK = "a blank that is part of an address is written %20"


def split_addresses(amqp_urls: str) -> tuple[str, ...]:
    """Split the setting into its addresses."""
    return tuple(amqp_urls.split())


def checked(amqp_urls: str) -> str:
    """Return the setting with one blank between addresses.

    Raises:
        ValueError: one of them is no address; the message says which, and does not repeat it.
    """
    found = split_addresses(amqp_urls)
    for number, address in enumerate(found, 1):
        if wrong := _what_is_wrong(address):
            if len(found) > 1:
                wrong = f"address {number} of {len(found)} {wrong}; {_BLANK}"
            raise ValueError(wrong)
    if not found:
        raise ValueError(_ADDRESS)
    return " ".join(found)


def _what_is_wrong(address: str) -> str | None:
    if not address.startswith(("amqp://", "amqps://")):
        return _ADDRESS
    try:
        parts = urlsplit(address)
        if "," in parts.netloc.rpartition("@")[2] or "://" in parts.path:
            return f"must name one host: {_SEPARATE}"
        is_usable = parts.port != 0
    except ValueError:  # no number for a port, an open bracket
        is_usable = False
    return _what_is_wrong_with_parameters(address) if is_usable else _ADDRESS


def _what_is_wrong_with_parameters(address: str) -> str | None:
    given = _parameters(address)
    for name in given:
        if name not in _KNOWN:
            known = ", ".join(sorted(_KNOWN))
            return f"has the parameter {name!r}, which is not supported; these are: {known}"
        if name in _OF_TLS and not address.startswith("amqps://"):
            return f"has the parameter {name!r}, which needs amqps://"
    try:
        tls_context(address)
    except ValueError as error:
        return str(error)
    return None


def tls_context(address: str) -> ssl.SSLContext | None:
    """Make the context for an ``amqps://`` address; None for ``amqp://``.

    Files are read each time, so a renewed certificate counts from the next connection on.

    Raises:
        ValueError: a file cannot be used; the message names the parameter.
    """
    if not address.startswith("amqps://"):
        return None
    given = _parameters(address)
    return client_context(given, TLS, verifies=given.get("no_verify_ssl", "0") == "0")


def _parameters(address: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(address).query, keep_blank_values=True))

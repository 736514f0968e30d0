"""Types of settings: a value is checked when a process starts, and refused with a sentence.

A message says what the value must be and never repeats it; ``settings.load`` adds the variable.
"""

import ipaddress
import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_settings import NoDecode

from service_kit.process import broker_addresses
from service_kit.process.rates import Rate, rate

_ORIGIN = re.compile(r"https?://([a-z0-9.-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?", re.ASCII)


def _listed(value: object) -> object:
    """Split a comma-separated list."""
    if not isinstance(value, str):
        return value
    return tuple(item.strip() for item in value.split(",") if item.strip())


def _are_origins(origins: tuple[str, ...]) -> tuple[str, ...]:
    for origin in origins:
        if not _ORIGIN.fullmatch(origin) or _port_is_wrong(origin):
            raise ValueError(
                "must be origins as browsers send them, each by itself, in lower case and without "
                "a path (https://blog.example,http://localhost:8002)"
            )
    return origins


def _are_queues(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        # AMQP's limit of a name; an empty one would mean the queue that was declared last.
        if not 1 <= len(name.encode()) <= 255 or not name.isprintable():
            raise ValueError("must be names of queues, separated by commas (blog.users)")
    return names


def _port_is_wrong(origin: str) -> bool:
    try:
        port = urlsplit(origin).port
    except ValueError:  # over 65535, or brackets around what is no address
        return True
    # Browsers leave the usual port out, so that an origin with it never matches.
    return port == 0 or (urlsplit(origin).scheme, port) in (("http", 80), ("https", 443))


def _are_networks(networks: tuple[str, ...]) -> tuple[str, ...]:
    for network in networks:
        try:
            found = ipaddress.ip_network(network)
        except ValueError:
            raise ValueError(
                "must be addresses or networks (10.1.2.3,192.168.0.0/16); a network has no bit "
                "set beyond its prefix"
            ) from None
        if found.prefixlen == 0:
            raise ValueError("would trust X-Forwarded-For from any client")
    return networks


def _is_http(url: str) -> str:
    try:
        parts = urlsplit(url)
        is_usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # no number for a port, an open bracket
        is_usable = False
    if not is_usable or not url.isprintable() or " " in url:
        raise ValueError("must be an http:// or https:// URL")
    return url


_PUBLIC = re.compile(
    r"https?://([a-z0-9.-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?(/[a-z0-9._~!$&'()*+,;=:@%/-]*)?",
    re.ASCII | re.IGNORECASE,
)


def public_url(url: str) -> str:
    """Check a URL that browsers use, and remove a slash at its end.

    Raises:
        ValueError: it is not a plain ``http(s)://host[:port][/path]``: no user, no query, and
            nothing that a page's policy would read as a rule of its own.
    """
    try:
        is_usable = _PUBLIC.fullmatch(url) is not None and urlsplit(url).port != 0
    except ValueError:  # over 65535, or brackets around what is no address
        is_usable = False
    if not is_usable:
        raise ValueError(
            "must be an http:// or https:// URL for browsers, without user, query or fragment"
            " (https://auth.example)"
        )
    return url.rstrip("/")


_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def _on_loopback(url: str) -> str:
    """Check a URL that only this machine's browsers can reach."""
    parts = urlsplit(public_url(url))
    if parts.scheme != "http" or parts.hostname not in _LOOPBACK or parts.path:
        raise ValueError(f"must be an http:// URL of this machine alone ({', '.join(_LOOPBACK)})")
    return url.rstrip("/")


Port = Annotated[int, Field(ge=1, le=65535)]
"""A TCP port to listen on."""

Issuer = Annotated[str, Field(min_length=1, max_length=512)]
"""The issuer of tokens and events, by the name that clients know, usually its public address."""

Audience = Annotated[str, Field(min_length=1, max_length=512)]
"""The services that a token is for."""

AmqpUrls = Annotated[str, AfterValidator(broker_addresses.checked)]
"""The addresses of a virtual host on the nodes of a RabbitMQ cluster, separated by blanks."""

HttpUrl = Annotated[str, AfterValidator(_is_http)]
"""A URL to fetch from; pydantic's own type would add a slash to some."""

LoopbackUrl = Annotated[str, AfterValidator(_on_loopback)]
"""A URL on this machine, which browsers elsewhere cannot reach."""

PublicUrl = Annotated[str, AfterValidator(public_url)]
"""Where browsers and clients find a service, without a slash at its end."""

Origins = Annotated[
    tuple[str, ...], NoDecode, BeforeValidator(_listed), AfterValidator(_are_origins)
]
"""Origins (RFC 6454) whose pages may call, separated by commas; none by default, never all."""

QueueNames = Annotated[
    tuple[str, ...], NoDecode, BeforeValidator(_listed), AfterValidator(_are_queues)
]
"""Names of queues on the broker, separated by commas."""

TrustedProxies = Annotated[
    tuple[str, ...], NoDecode, BeforeValidator(_listed), AfterValidator(_are_networks)
]
"""Addresses and networks whose ``X-Forwarded-For`` is trusted, separated by commas."""

RateSetting = Annotated[Rate, NoDecode, BeforeValidator(rate)]
"""``QUOTA/SECONDS``: so many in that time, all at once or spread over it."""

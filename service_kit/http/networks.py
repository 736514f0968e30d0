"""Determine the network of a request: the unit of limits by address.

An address stands for its IPv4 address or its IPv6 /64, the least that one customer of a provider
has (RFC 6177). An IPv6 address that carries an IPv4 address counts as that one.

Not here: which proxies are trusted about the address (the server, by the trusted proxies).
"""

import ipaddress
from typing import Annotated, Final

from fastapi import Depends
from starlette.requests import HTTPConnection

_TRANSLATED: Final = ipaddress.ip_network("64:ff9b::/96")
"""Addresses by which a translator shows IPv4 clients to an IPv6-only server (RFC 6052)."""


def network(address: str) -> str:
    """The IPv4 address or IPv6 /64 of ``address``; any other text stays as it is."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    carried = _carried(found)
    return str(carried if carried else ipaddress.ip_network((found, 64), strict=False))


def _carried(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that ``address`` carries; None for a native IPv6 address."""
    if address.ipv4_mapped:  # how a socket for both families shows IPv4
        return address.ipv4_mapped
    if address.sixtofour:
        return address.sixtofour
    if address.teredo:
        return address.teredo[1]
    if address in _TRANSLATED:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return None


async def request_network(request: HTTPConnection) -> str:
    """The network of a request's client; empty if the server does not know the address."""
    return network(request.client.host if request.client else "")


Network = Annotated[str, Depends(request_network)]
"""A route parameter: the client's network, behind trusted proxies."""

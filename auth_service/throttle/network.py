"""Determine the network of a request, the unit of limits by address.

An IPv6 provider gives each customer between a /64 and a /48 (RFC 6177). A limit by single addresses
would limit nobody, and one by /64 alone would give 65,536 limits to one customer, so both are
charged. An IPv6 address that carries an IPv4 address counts as that one.

Not here: which proxies are trusted about the address (the server, by ``AUTH_TRUSTED_PROXIES``).
"""

import ipaddress
from typing import Annotated, Final

from fastapi import Depends
from starlette.requests import HTTPConnection

from auth_service.throttle.model import Charge
from service_kit.process.rates import Rate

SITE_FACTOR: Final = 4
"""A /48 has this many times the quota of a /64: enough for the households of a street, and no more
than four IPv4 addresses have."""

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


def network_charges(name: str, network: str, rate: Rate) -> tuple[Charge, ...]:
    """One unit of a limit by network, for ``network`` and for the site that it belongs to.

    Parameters:
        name: of the limit; that of a /48 is called ``NAME_site``.
        network: as returned by ``network``.
        rate: of an IPv4 address or IPv6 /64.
    """
    charge = Charge(name, network, rate)
    try:
        site = ipaddress.IPv6Network(network).supernet(new_prefix=48)
    except ValueError:  # IPv4, or not an address
        return (charge,)
    return charge, Charge(f"{name}_site", str(site), site_rate(rate))


def site_rate(rate: Rate) -> Rate:
    """The rate of a /48, of a limit of which a /64 has ``rate``."""
    return Rate(rate.quota * SITE_FACTOR, rate.seconds)


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

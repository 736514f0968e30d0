"""From which network a request came: the unit that address limits count.

An IPv6 provider hands each customer at least a /64, so that single addresses would limit nobody.
Whom to believe about the address is the server's business (``AUTH_TRUSTED_PROXIES``).
"""

import ipaddress
from typing import Annotated

from fastapi import Depends, Request


def network(address: str) -> str:
    """The IPv4 address or IPv6 /64 that ``address`` is in; what is no address stays as it is."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped:  # how a socket for both families shows IPv4: all of them in one /64
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found, 64), strict=False))


async def _network(request: Request) -> str:
    return network(request.client.host if request.client else "")


Network = Annotated[str, Depends(_network)]
"""A route's parameter of this type is the client's network, behind proxies that are trusted."""

"""Charge the network of a request, the unit of limits by address.

An IPv6 provider gives each customer between a /64 and a /48 (RFC 6177). A limit by single addresses
would limit nobody, and one by /64 alone would give 65,536 limits to one customer, so both are
charged.

Not here: which network an address belongs to (``service_kit.http.networks``).
"""

import ipaddress
from typing import Final

from auth_service.throttle.model import Charge
from service_kit.process.rates import Rate

SITE_FACTOR: Final = 4
"""A /48 has this many times the quota of a /64: enough for the households of a street, and no more
than four IPv4 addresses have."""


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

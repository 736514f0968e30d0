"""How many mails go to one address, and how many one network may cause.

Guarantees: a mail of whatever kind spends from both limits before it is handed over, by the keyed
hash of the address that it really goes to; a notice that finds them spent has a share of its own,
which only notices of the same kind to the same address use up. So nobody can fill a mailbox, and
nobody can keep a notice from its reader by filling the limit first.

A mail beyond the limits is dropped, and its sender is told nothing: what they did is done, and an
answer would tell them about the address.
"""

from collections.abc import Sequence

from auth_service.mail.purpose import NOTICES, Purpose
from auth_service.settings import ApiSettings
from auth_service.throttle.model import Charge
from auth_service.throttle.network import by_network, site_rate
from auth_service.throttle.throttle import Throttle, TooManyRequests
from contracts.rate_limits import Rate


def hashed(throttle: Throttle, network: str, limit: Rate) -> tuple[str, ...]:
    """Keyed hashes of a network and, for IPv6, of the site that it belongs to."""
    return tuple(
        throttle.key(charge.name, charge.who).hex()
        for charge in by_network("mail_network", network, limit)
    )


async def may_be_sent(
    throttle: Throttle,
    settings: ApiSettings,
    purpose: Purpose,
    *,
    address: str,
    networks: Sequence[str],
) -> bool:
    """Spend one mail to ``address``; False if no limit has anything left for it.

    Parameters:
        networks: as ``hashed`` made them; none for a mail that a command caused.
    """
    try:
        await throttle.spend(
            Charge("mail_address", address, settings.limit_mail),
            *_by_hashes(networks, settings.limit_mail_network),
        )
    except TooManyRequests:
        if purpose not in NOTICES:
            return False
        try:
            await throttle.spend(
                Charge(f"mail_{purpose.value}", address, settings.limit_mail_notices)
            )
        except TooManyRequests:
            return False
    return True


def _by_hashes(networks: Sequence[str], limit: Rate) -> list[Charge]:
    limits = (("mail_cause", limit), ("mail_cause_site", site_rate(limit)))
    return [
        Charge(name, network, rate) for network, (name, rate) in zip(networks, limits, strict=False)
    ]

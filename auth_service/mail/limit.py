"""Limit the mails that go to one address, and the mails that one network causes.

Guarantees: every mail spends from both limits before it is sent, by the keyed hash of the address
that it really goes to. A notice that finds them spent has a share of its own, which only notices of
the same kind to the same address use up. Sub-addresses of a mailbox share a limit. So nobody can
flood a mailbox, and nobody can suppress a notice by using up the limit first. Nor can they suppress
the link that resets a password: mails that strangers cause by naming the address as their own take
only a part of the limit.

A mail beyond the limits is dropped without telling the person who caused it: their request has been
carried out, and the response would tell them about the address.
"""

from collections.abc import Sequence
from typing import Final

from auth_service.mail.letters import NOTICES, Purpose
from auth_service.mail_addresses import mailbox
from auth_service.settings import ApiSettings
from auth_service.throttle.model import Charge
from auth_service.throttle.network import network_charges, site_rate
from auth_service.throttle.throttle import Throttle, TooManyRequests
from service_kit.process.rates import Rate

MAILBOX_FACTOR: Final = 4
"""A mailbox has this many times the quota of an address: for people who use a few tags, and for
servers where + is an ordinary letter."""


def share_for_strangers(limit: Rate) -> Rate:
    """The part of a limit for mails to an address that anybody can name as their own.

    Less than half: a stranger who uses it up in two ways leaves some for the address's holder.
    """
    return Rate(max((limit.quota - 1) // 2, 1), limit.seconds)


def hash_networks(throttle: Throttle, network: str, limit: Rate) -> tuple[str, ...]:
    """Keyed hashes of a network and, for IPv6, of its site."""
    return tuple(
        throttle.key(charge.name, charge.who).hex()
        for charge in network_charges("mail_network", network, limit)
    )


async def spend_mail(
    throttle: Throttle,
    settings: ApiSettings,
    purpose: Purpose,
    *,
    address: str,
    networks: Sequence[str],
) -> bool:
    """Spend one mail to ``address``; return False if it exceeds the limits.

    Parameters:
        networks: made by ``hash_networks``; empty for a mail that a command caused.
    """
    try:
        await throttle.spend(
            *_by_address(purpose, address, settings.limit_mail),
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


def _by_address(purpose: Purpose, address: str, limit: Rate) -> list[Charge]:
    charges = [Charge("mail_address", address, limit)]
    if purpose is not Purpose.RESET_PASSWORD:  # it lets the address's holder into the account
        wider = Rate(limit.quota * MAILBOX_FACTOR, limit.seconds)
        charges.append(Charge("mail_mailbox", mailbox(address), wider))
    if purpose is Purpose.CONFIRM_EMAIL:
        charges.append(Charge("mail_named", address, share_for_strangers(limit)))
    return charges


def _by_hashes(networks: Sequence[str], limit: Rate) -> list[Charge]:
    limits = (("mail_cause", limit), ("mail_cause_site", site_rate(limit)))
    return [
        Charge(name, network, rate) for network, (name, rate) in zip(networks, limits, strict=False)
    ]

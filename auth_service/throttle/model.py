"""Rates, what is left of them, and how long to wait. Pure.

A rate is counted by the generic cell rate algorithm (GCRA): each unit that is spent comes back
after ``seconds / quota``, and nothing is left when as much is out as comes back in ``seconds``. One
instant is all that has to be kept of it: when everything will have come back.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from service_kit.http.rate_limits import rate_limit_headers
from service_kit.process.rates import SECOND_US, Rate


@dataclass(frozen=True, slots=True)
class Charge:
    """One unit of ``rate``, spent by ``who``.

    Parameters:
        name: of the limit, as answers show it and operators know it, such as ``signin``.
        who: whose limit it is: an address's network, an account, a service.
        rate: as the settings have it.
    """

    name: str
    who: str
    rate: Rate


@dataclass(frozen=True, slots=True)
class Balance:
    """What a charge met: whether it fits, and how long what is out needs to come back.

    ``out_us`` includes the charge itself if it was spent.
    """

    charge: Charge
    fits: bool
    out_us: int

    @property
    def remaining(self) -> int:
        """Units that could be spent at this moment."""
        rate = self.charge.rate
        return max(rate.window_us - self.out_us, 0) // rate.unit_us

    @property
    def reset_seconds(self) -> float:
        """Until there is one unit more."""
        rate = self.charge.rate
        missing_us = (self.remaining + 1) * rate.unit_us
        return max(missing_us - (rate.window_us - self.out_us), 0) / SECOND_US


def headers(balances: Sequence[Balance]) -> dict[str, str]:
    """The header fields that tell of the tightest limit; with ``Retry-After`` if one is spent."""
    refused = [balance for balance in balances if not balance.fits]
    tightest = min(refused or balances, key=lambda b: (b.remaining, -b.reset_seconds))
    return rate_limit_headers(
        tightest.charge.name,
        quota=tightest.charge.rate.quota,
        window_seconds=tightest.charge.rate.seconds,
        remaining=0 if refused else tightest.remaining,
        reset_seconds=tightest.reset_seconds,
        retry_after_seconds=tightest.reset_seconds if refused else None,
    )


def delays(free: int, seconds_max: int) -> list[int | None]:
    """How long each failure in a row blocks: ``free`` - 1 not at all, then 1, 2, 4 … seconds.

    The last one is ``seconds_max``, which holds for all that follow.
    """
    doubling = [1 << n for n in range((seconds_max - 1).bit_length())]
    return [*[None] * (free - 1), *doubling, seconds_max]

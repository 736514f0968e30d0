"""Charges, balances and waiting times of rate limits. Pure.

A rate follows the generic cell rate algorithm (GCRA). Each spent unit returns after ``seconds /
quota``, and at most ``quota`` units can be out at once. One time is stored: when all of them will
have returned.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from service_kit.http.rate_limits import rate_limit_headers
from service_kit.process.rates import SECOND_US, Rate


@dataclass(frozen=True, slots=True)
class Charge:
    """One unit of ``rate``, spent by ``who``.

    Parameters:
        name: of the limit, as in responses and settings, such as ``signin``.
        who: whose limit it is: a network, an account or a service.
        rate: from the settings.
    """

    name: str
    who: str
    rate: Rate


@dataclass(frozen=True, slots=True)
class Balance:
    """The result of a charge: whether it fits, and how long spent units need to return.

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
        """Seconds until there is one more unit."""
        rate = self.charge.rate
        missing_us = (self.remaining + 1) * rate.unit_us
        return max(missing_us - (rate.window_us - self.out_us), 0) / SECOND_US


def headers(balances: Sequence[Balance]) -> dict[str, str]:
    """The headers of the tightest limit, with ``Retry-After`` if one is spent."""
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


def delays(seconds_max: int) -> list[int]:
    """How long each failure in a row blocks, from the first that does: 1, 2, 4 … seconds.

    The last value is ``seconds_max`` and applies to all later failures.
    """
    return [*(1 << n for n in range((seconds_max - 1).bit_length())), seconds_max]

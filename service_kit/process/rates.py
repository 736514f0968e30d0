"""Rates as settings write them: ``QUOTA/SECONDS``. Pure."""

from dataclasses import dataclass
from typing import Final

SECOND_US: Final = 1_000_000
"""Microseconds, which is what PostgreSQL counts time in."""


@dataclass(frozen=True, slots=True)
class Rate:
    """``quota`` in ``seconds``, at once or spread over them."""

    quota: int
    seconds: int

    def __str__(self) -> str:
        return f"{self.quota}/{self.seconds}"

    @property
    def unit_us(self) -> int:
        """Microseconds until one unit has come back; rounded down, so that the quota fits."""
        return max(self.window_us // self.quota, 1)

    @property
    def window_us(self) -> int:
        """Microseconds until the whole quota has come back."""
        return self.seconds * SECOND_US


def rate(value: object) -> Rate:
    """The rate that a setting such as ``30/60`` names; raises ``ValueError`` for any other text."""
    if isinstance(value, Rate):
        return value
    quota, separator, seconds = str(value).partition("/")
    numbers = (quota.strip(), seconds.strip())
    if not separator or not all(n.isascii() and n.isdigit() and 0 < len(n) < 10 for n in numbers):
        raise ValueError("must be QUOTA/SECONDS, such as 30/60")
    if not all(int(n) for n in numbers):
        raise ValueError("must be QUOTA/SECONDS, both above zero")
    return Rate(int(numbers[0]), int(numbers[1]))

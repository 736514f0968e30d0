"""Whether the floor of a restore can be meant. Pure."""

from typing import Final

from contracts.events import VERSION_MAX

DAY_MICROSECONDS: Final = 86_400 * 1_000_000
"""Clocks that are kept differ by far less."""


class InvalidFloor(ValueError):
    """No version could be above it."""


def floor_warning(floor: int, *, now: int) -> str | None:
    """Why the floor may be wrong, or None when nothing speaks against it.

    Parameters:
        floor: the highest version that any replica holds.
        now: microseconds of PostgreSQL's clock, which is where versions come from.

    Raises:
        InvalidFloor: it is no version, or there is none above it.
    """
    if not 0 <= floor < VERSION_MAX:
        raise InvalidFloor(f"a floor is a version, from 0 to {VERSION_MAX - 1}")
    if floor <= now + DAY_MICROSECONDS:
        return None
    days = (floor - now) / DAY_MICROSECONDS
    return (
        f"the floor is {days:,.1f} days ahead of the database's clock; either this clock is wrong,"
        " or a replica holds a version that nobody gave (blog-service reconcile calls it ahead)."
        " Every user's version would be above it for good"
    )

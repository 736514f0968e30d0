"""Check the floor that an operator enters after a restore. Pure."""

from typing import Final

from contracts.events import VERSION_MAX

DAY_MICROSECONDS: Final = 86_400 * 1_000_000
"""Synchronised clocks differ by far less than a day."""


class InvalidFloor(ValueError):
    """The floor is not a version, or no version is above it."""


def floor_warning(floor: int, *, now: int) -> str | None:
    """Explain why the floor is probably wrong, or return None if it is plausible.

    Parameters:
        floor: the highest version of any replica.
        now: PostgreSQL's clock in microseconds, from which versions are made.

    Raises:
        InvalidFloor: the floor is not a version, or no version is above it.
    """
    if not 0 <= floor < VERSION_MAX:
        raise InvalidFloor(f"the floor must be a version from 0 to {VERSION_MAX - 1}")
    if floor <= now + DAY_MICROSECONDS:
        return None
    days = (floor - now) / DAY_MICROSECONDS
    return (
        f"the floor is {days:,.1f} days ahead of the database's clock: either this clock is wrong,"
        " or a replica has a version that the source never issued (blog-service reconcile: ahead)."
        " Every user's version would permanently be above it"
    )

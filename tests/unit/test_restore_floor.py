"""Which floors of a restore can be meant."""

import pytest

from auth_service.restore.model import DAY_MICROSECONDS, InvalidFloor, floor_warning
from contracts.events import VERSION_MAX

NOW = 1_790_000_000_000_000


@pytest.mark.parametrize("floor", [0, 1, NOW, NOW + DAY_MICROSECONDS])
def test_of_the_past_or_nearly_now(floor: int) -> None:
    """A replica that is empty, old, or whose clock is a little ahead."""
    assert floor_warning(floor, now=NOW) is None


@pytest.mark.parametrize("floor", [NOW + DAY_MICROSECONDS + 1, VERSION_MAX - 1])
def test_days_ahead_of_the_clock(floor: int) -> None:
    """It is possible, and suspicious."""
    assert "days ahead" in (floor_warning(floor, now=NOW) or "")


@pytest.mark.parametrize("floor", [-1, VERSION_MAX, 2**63])
def test_no_version_or_none_above_it(floor: int) -> None:
    """Refused."""
    with pytest.raises(InvalidFloor, match="from 0 to 9007199254740990"):
        floor_warning(floor, now=NOW)

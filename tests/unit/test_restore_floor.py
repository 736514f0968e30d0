"""Which floors of a restore are plausible."""

import pytest

from auth_service.restore.model import DAY_MICROSECONDS, InvalidFloor, floor_warning
from contracts.events import VERSION_MAX

NOW = 1_790_000_000_000_000


@pytest.mark.parametrize("floor", [0, 1, NOW, NOW + DAY_MICROSECONDS])
def test_a_floor_up_to_about_now_is_plausible(floor: int) -> None:
    assert floor_warning(floor, now=NOW) is None


@pytest.mark.parametrize("floor", [NOW + DAY_MICROSECONDS + 1, VERSION_MAX - 1])
def test_a_floor_days_ahead_of_the_clock_is_suspicious(floor: int) -> None:
    assert "days ahead" in (floor_warning(floor, now=NOW) or "")


@pytest.mark.parametrize("floor", [-1, VERSION_MAX, 2**63])
def test_an_impossible_floor_is_refused(floor: int) -> None:
    with pytest.raises(InvalidFloor, match="from 0 to 9007199254740990"):
        floor_warning(floor, now=NOW)

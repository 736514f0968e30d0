"""Which floors of a restore are plausible."""

from auth_service.restore.model import DAY_MICROSECONDS, InvalidFloor, floor_warning
from contracts.events import VERSION_MAX
from tests.support.refusals import refusal

NOW = 1_790_000_000_000_000


def test_a_floor_is_plausible_up_to_about_now_and_refused_if_it_is_impossible() -> None:
    for floor in (0, 1, NOW, NOW + DAY_MICROSECONDS):
        assert floor_warning(floor, now=NOW) is None, floor
    for floor in (NOW + DAY_MICROSECONDS + 1, VERSION_MAX - 1):
        assert "days ahead" in (floor_warning(floor, now=NOW) or ""), floor
    for floor in (-1, VERSION_MAX, 2**63):
        refused = refusal(InvalidFloor, floor_warning, floor, now=NOW)
        assert "from 0 to 9007199254740990" in str(refused)

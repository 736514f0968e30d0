"""Which events are urgent."""

from datetime import timedelta

from auth_service.outbox.urgent import is_urgent
from contracts.events import Beat, Data, RevokedKey
from tests.support.builders import NOON, a_state, a_tombstone

SECOND = timedelta(seconds=1)

DATA: dict[str, tuple[Data, bool]] = {
    "a new user": (a_state(), False),
    "a deletion": (a_tombstone(), True),
    "a disabled user": (a_state(status="disabled"), True),
    "sessions ended": (a_state(tokens_valid_after=NOON + SECOND, updated_at=NOON), True),
    "sessions ended before": (a_state(tokens_valid_after=NOON, updated_at=NOON + SECOND), False),
    "a heartbeat": (Beat(number=1), False),
    "a revoked key": (RevokedKey(kid="k", revoked_at=NOON), True),
}


def test_what_ends_access_is_urgent() -> None:
    for name, (data, expected) in DATA.items():
        assert is_urgent(data) is expected, name
